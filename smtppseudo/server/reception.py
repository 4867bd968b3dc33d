"""The reception: gives each newcomer on the SMTP port a slot and a session, or turns it away."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from smtppseudo.config.settings import Settings
from smtppseudo.events import CloseReason, Connected, TurnedAwayReason
from smtppseudo.loop.connection import Connection
from smtppseudo.loop.listener import turn_away
from smtppseudo.loop.reactor import Alarm, Reactor
from smtppseudo.server.counters import Counters
from smtppseudo.server.recorder import Recorder
from smtppseudo.smtp.client_limits import ClientLimit
from smtppseudo.smtp.dialogue import Dialogue
from smtppseudo.smtp.session import SmtpSession
from smtppseudo.smtp.slots import Admit, Evict, SlotTable
from smtppseudo.smtp.tarpit import TarpitSession, session_type
from smtppseudo.smtp.turned_away import Summed, TurnedAwaySummary

if TYPE_CHECKING:
    from smtppseudo.net.tls import Tls

_SECOND_S: Final = 1.0
_HURRY_S: Final = 1.0  # over which those who were to wait get the rest, lest all are sent to at once


class Reception:
    """Owns the slots and the SMTP connections.

    A session keeps the dialogue it began with when `apply` brings another. `tls` is what STARTTLS leads to.
    """

    def __init__(self, settings: Settings, reactor: Reactor, recorder: Recorder, tls: "Tls | None" = None) -> None:
        self.reactor = reactor
        self.backlog_bytes = 0
        self.slots: SlotTable[SmtpSession] = SlotTable(settings.slots, settings.evict_after_s)
        self.counters = Counters()
        self.record = recorder.record_session
        self._recorder = recorder
        self._connections: list[Connection | None] = []  # by slot
        self._session_id = 0
        self._turned_away = TurnedAwaySummary()
        self._refusals_alarm = Alarm(self._say_refusals, self.report_fault)
        self._last_accept = 0.0
        self._quiet_alarm = Alarm(self._check_quiet, self.report_fault)
        self.apply(settings, tls)

    def apply(self, settings: Settings, tls: "Tls | None" = None) -> None:
        """Take settings for the sessions to come."""
        self.tls = tls
        self._dialogue = Dialogue(settings, None if tls is None else lambda: tls.has_room)
        self._make_session = session_type(self._dialogue)
        self._limit = ClientLimit(settings.slots_per_client, settings.limit_exempt)
        for session in self.slots:
            if self._connections[session.slot - 1] is not None:
                self._limit.enter(session.ip)
        self._quiet_timeout_s = settings.quiet_timeout_s
        self.reactor.wheel.cancel(self._quiet_alarm)
        if self._quiet_timeout_s and self.slots.in_use:
            self.reactor.wheel.schedule(self._quiet_alarm, self._last_accept + self._quiet_timeout_s)
        self._greeting_date = ""
        self._recorder.log_data_events = settings.log_data_events

    def accept(self, sock: socket.socket, ip: str, port: int, local_port: int, now: float) -> bool:
        """Take a newcomer in, or turn it away; say whether the next can be seen to at once.

        Who takes the last slot lets the others wait: those in the slots are heard first, and may leave.
        """
        self._last_accept = now
        if not self._limit.admits(ip):
            self._turn_away(sock, ip, "client", now)
            return True
        verdict = self.slots.admit(now)
        if isinstance(verdict, Evict):
            self.end(verdict.occupant.slot, "evicted", now)
            verdict = self.slots.admit(now)
        if not isinstance(verdict, Admit):
            self._turn_away(sock, ip, "slots", now)
            return True
        self._session_id += 1
        slot = verdict.slot
        session = self._make_session(self._dialogue, self._session_id, slot, ip, port, self._greeting(ip), now)
        connection = Connection(sock, session, self)
        self.slots.enter(session)
        self._limit.enter(ip)
        if slot > len(self._connections):
            self._connections.append(connection)
        else:
            self._connections[slot - 1] = connection
        self.counters.connected += 1
        self.record(session, (Connected(local_port),))
        if isinstance(session, TarpitSession):
            self._spare_slots(session, now)
        if self._quiet_timeout_s and not self._quiet_alarm.due_tick:
            self.reactor.wheel.schedule(self._quiet_alarm, now + self._quiet_timeout_s)
        connection.begin(now)
        return self.slots.in_use < self.slots.count

    def released(self, connection: Connection, now: float) -> None:
        """Free the slot of a connection that is closed."""
        session: SmtpSession = connection.machine  # type: ignore[assignment]
        self._connections[session.slot - 1] = None
        self.slots.release(session)
        self._limit.release(session.ip)
        self.counters.add_closed(session, now)

    def report_fault(self, error: Exception) -> None:
        """Put a bug of ours on record."""
        self.counters.faults += 1
        self._recorder.error(describe_fault(error))

    def local_ip(self, slot: int) -> str:
        """Return which of our addresses the peer in a slot called; empty where it has gone."""
        connection = self._connections[slot - 1]
        return connection.local_ip() if connection is not None else ""

    def end(self, slot: int, reason: CloseReason, now: float) -> bool:
        """End the session in a slot; false if there is none."""
        connection = self._connections[slot - 1] if 0 < slot <= len(self._connections) else None
        if connection is None:
            return False
        connection.end(reason, now)
        return True

    def end_all(self, reason: CloseReason, now: float) -> None:
        """End every session."""
        for slot in range(1, len(self._connections) + 1):
            self.end(slot, reason, now)

    def close(self, reason: CloseReason, now: float) -> None:
        """End every session and say what is still to be said of refusals."""
        self.end_all(reason, now)
        for alarm in (self._quiet_alarm, self._refusals_alarm):
            self.reactor.wheel.cancel(alarm)
        self._record_turned_away(self._turned_away.rest())

    def _spare_slots(self, newcomer: TarpitSession, now: float) -> None:
        """Hold nobody while slots run short: not the newcomer, and from then on none of those who are there."""
        was_short = self.slots.is_short
        if not self.slots.update_shortage():
            return
        held = [newcomer] if was_short else [each for each in self.slots if isinstance(each, TarpitSession)]
        for number, session in enumerate(held, 1):
            connection = self._connections[session.slot - 1]
            if connection is not None:
                session.stop_delaying()
                connection.reschedule(now + _HURRY_S * number / len(held))
                self.counters.undelayed += 1

    def _greeting(self, ip: str) -> bytes:
        date = self.reactor.clock.greeting_date
        if date is not self._greeting_date or self._dialogue.greets_by_ip:
            self._greeting_date = date
            self._greeting_bytes = self._dialogue.greeting(ip, date)
        return self._greeting_bytes

    def _turn_away(self, sock: socket.socket, ip: str, reason: TurnedAwayReason, now: float) -> None:
        turn_away(sock, self._dialogue.too_many_connections)
        self.counters.turned_away[reason] += 1
        self._record_turned_away(self._turned_away.note(ip, reason))
        if not self._refusals_alarm.due_tick:
            self.reactor.wheel.schedule(self._refusals_alarm, now + _SECOND_S)

    def _say_refusals(self, now: float) -> None:
        self._record_turned_away(self._turned_away.second_passed())
        if not self._turned_away.is_empty:
            self.reactor.wheel.schedule(self._refusals_alarm, now + _SECOND_S)

    def _record_turned_away(self, refusals: Sequence[Summed]) -> None:
        for ip, refused in refusals:
            self._recorder.record(refused, ip)

    def _check_quiet(self, now: float) -> None:
        if not self._quiet_timeout_s:
            return  # it was set to 0 in this very turn
        due_at = self._last_accept + self._quiet_timeout_s
        if now < due_at:
            self.reactor.wheel.schedule(self._quiet_alarm, due_at)
        else:
            self.end_all("quiet", now)


def describe_fault(error: Exception) -> str:
    """Say what went wrong where, in one line without what a peer sent."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {place.tb_frame.f_code.co_qualname}:{place.tb_lineno}" if place else ""
    return f"bug: {type(error).__name__}{where}"
