"""The reception: gives each caller on the SMTP port a slot and a session, or turns it away."""

from collections.abc import Sequence
from math import inf
from socket import socket
from typing import TYPE_CHECKING, Any, Final

from smtppseudo.config.settings import Settings
from smtppseudo.events import CloseReason, Connected, Handshake, TurnedAwayReason, escape_text, slot_and_ip
from smtppseudo.loop.connection import Connection
from smtppseudo.loop.listener import close_with_reply
from smtppseudo.loop.paced import PacedConnection
from smtppseudo.loop.reactor import Reactor, Timer
from smtppseudo.net.addresses import is_loopback, plain_address
from smtppseudo.net.errnos import reason_of
from smtppseudo.server.counters import Counters
from smtppseudo.server.recorder import Recorder
from smtppseudo.smtp.blocked import BlockTable
from smtppseudo.smtp.client_limits import ClientLimit, FailedHandshakes, Networks
from smtppseudo.smtp.dialogue import Dialogue, SmtpState
from smtppseudo.smtp.said import Said
from smtppseudo.smtp.session import SmtpSession
from smtppseudo.smtp.slots import SlotTable
from smtppseudo.smtp.tarpit import TarpitSession, session_type
from smtppseudo.smtp.turned_away import Summed, TurnedAwaySummary

if TYPE_CHECKING:
    from smtppseudo.loop.listener import OnAccept
    from smtppseudo.loop.proxies import ProxyGate
    from smtppseudo.net.tls import Tls

_new: Final = tuple.__new__  # see SmtpSession._command
_FAILURE_CHARS: Final = 100
_RELEASE_OVER_S: Final = 1.0  # the delayed replies are sent over this time, so that they do not hold up the loop


class Reception:
    """Owns the slots and the SMTP connections. STARTTLS uses `tls`.

    `on_accept` is the accept handler for the listeners: `admit`, because the peer is the caller. With proxies it reads
    the caller's address from a header first. A session keeps the dialogue that it began with when `apply` brings
    another. Callers in `blocked` (None if nobody is blocked) are closed without a reply.
    """

    def __init__(self, settings: Settings, reactor: Reactor, recorder: Recorder, tls: "Tls | None" = None) -> None:
        self.reactor = reactor
        self.backlog_bytes = 0
        self.slots = SlotTable(settings.slots, settings.evict_after_s, self._is_idle)
        self.counters = Counters()
        self.record = recorder.record_session
        self._recorder = recorder
        self._shares = recorder.shares
        self._connections: list[Connection[SmtpSession] | None] = [None] * settings.slots
        self._session_id = 0
        self._turned_away = TurnedAwaySummary()
        self.blocked: BlockTable | None = None
        self.forget_failed_handshakes()
        self._summary_timer = Timer(reactor, self._summarize_turned_away)
        self._proxy_gate: ProxyGate | None = None
        self._last_admission = 0.0
        self._quiet_timer = Timer(reactor, self._check_quiet)
        self.apply(settings, tls)

    def apply(self, settings: Settings, tls: "Tls | None" = None) -> None:
        """Use these settings for new sessions."""
        self.tls = tls
        self._dialogue = Dialogue(settings, None if tls is None else lambda: tls.has_room)
        self._dialogue_in_clear = Dialogue(settings) if tls is not None else self._dialogue
        self._session_type = session_type(self._dialogue)
        is_paced = self._session_type is TarpitSession
        self._connection_type: type[Connection[Any]] = PacedConnection if is_paced else Connection
        self._limit = ClientLimit(settings.slots_per_client, settings.limit_exempt)
        self._shares.is_exempt = self._limit.exempt.__contains__
        for session in self.slots:
            if self._connections[session.slot - 1] is not None:
                self._limit.enter(session.ip)
        self.on_accept: OnAccept = self.admit
        if settings.proxies:
            from smtppseudo.loop.proxies import ProxyGate  # noqa: PLC0415 - most servers have no proxy

            if self._proxy_gate is None:
                self._proxy_gate = ProxyGate(self.reactor, self.admit, self._count_turned_away, self.slots.count)
            self._proxy_gate.proxies = Networks(settings.proxies)
            self.on_accept = self._proxy_gate.accept
        self._quiet_timeout_s = settings.quiet_timeout_s
        self.reactor.wheel.cancel(self._quiet_timer)
        if self._quiet_timeout_s and self.slots.in_use:
            self.reactor.wheel.schedule(self._quiet_timer, self._last_admission + self._quiet_timeout_s)
        self._greeting_date = ""
        self._recorder.log_data_events = settings.log_data_events
        self._logs_local_ip = settings.log_local_ip

    def admit(
        self, sock: socket, ip: str, port: int, local_port: int, now: float, data: bytes = b"", is_watched: bool = False
    ) -> bool:
        """Start a session with a caller whose address is known, or turn the caller away.

        `data` is what the caller has sent so far. `is_watched`: the reactor watches the socket already. Return False
        when the last slot is taken: the other callers wait for the next turn, in which sessions may end.
        """
        if self.blocked is not None and self.blocked.find(ip, self.reactor.clock.second):
            return self._turn_away(sock, ip, "blocked", now, is_watched=is_watched)
        self._last_admission = now
        if not self._limit.admits(ip):
            return self._turn_away(sock, ip, "client", now, is_watched=is_watched)
        slots = self.slots
        slot = slots.free_slot() or self._evict(now, ip)
        if not slot:
            return self._turn_away(sock, ip, "slots", now, is_watched=is_watched)
        self._session_id = session_id = self._session_id + 1
        offers_tls = self.tls is None or self._failed_handshakes.offers_tls(ip, now)
        dialogue = self._dialogue if offers_tls else self._dialogue_in_clear
        session = self._session_type(dialogue, session_id, slot, ip, port, self._greeting(ip), now)
        connection: Connection[SmtpSession] = self._connection_type(sock, session, self)
        slots.enter(session)
        self._limit.enter(ip)
        self._connections[slot - 1] = connection
        self.counters.connected += 1
        try:
            if self._shares.above:
                self._log_in_short(session, ip)
            self.record(session, (_new(Connected, (local_port, self.local_ip(slot) if self._logs_local_ip else "")),))
            if data:
                self.record(session, session.receive_early(data, now))
            if isinstance(connection, PacedConnection):
                self._stop_delaying_if_short(connection, now)
            if self._quiet_timeout_s and not self._quiet_timer.due_tick:
                self.reactor.wheel.schedule(self._quiet_timer, now + self._quiet_timeout_s)
            connection.begin(now, is_watched=is_watched)
        except Exception as error:  # noqa: BLE001 - a bug costs this session, and must not cost its slot
            connection.fault(error)
        return slots.in_use < slots.count

    def _log_in_short(self, session: SmtpSession, ip: str) -> None:
        """Log a session in short, or not at all, if its source has used its share of the day's log."""
        clock = self.reactor.clock
        if source := self._shares.source_above(ip, clock.day):
            is_hidden = not self._shares.begin_session(source, clock.second // 3600)
            session.said = Said(-inf, is_hidden=is_hidden)
            self.counters.not_logged += is_hidden

    def _evict(self, now: float, ip: str) -> int | None:
        """End a session whose slot is needed for a caller, if one may be evicted; return the slot that is free then."""
        occupant = self.slots.occupant_to_evict(now, ip)
        if occupant is not None:
            self.end(occupant.slot, "evicted", now)
        return self.slots.free_slot()

    def on_handshake(self, machine: SmtpSession, parameters: tuple[str, str], error: OSError | None) -> None:
        """Record how a TLS handshake ended. A client that fails twice is not offered STARTTLS for an hour."""
        failure = "" if error is None else escape_text(reason_of(error))[:_FAILURE_CHARS]
        self.record(machine, (Handshake(*parameters, failure),))
        ip = machine.ip
        if not (is_loopback(ip) or ip in self._limit.exempt):
            self._failed_handshakes.record(ip, self.reactor.clock.now, has_failed=error is not None)

    def forget_failed_handshakes(self) -> None:
        """Offer STARTTLS to all clients again: the certificate has changed."""
        self._failed_handshakes = FailedHandshakes()

    def released(self, connection: Connection[SmtpSession], now: float) -> None:
        """Free the slot of a closed connection."""
        session = connection.machine
        slot, ip = slot_and_ip(session.origin)
        self._connections[slot - 1] = None
        self.slots.release(slot)
        self._limit.release(ip)
        self.counters.add_closed(session, now, self.reactor.clock.day)

    def local_ip(self, slot: int) -> str:
        """Return the local address that the peer in a slot connected to; empty if it has left."""
        connection = self._connections[slot - 1]
        try:
            return plain_address(connection.sock.getsockname()) if connection is not None else ""
        except OSError:
            return ""

    def end(self, slot: int, reason: CloseReason, now: float) -> bool:
        """End the session in a slot. Return False if there is none."""
        connection = self._connections[slot - 1] if 0 < slot <= len(self._connections) else None
        if connection is not None:
            connection.end(reason, now)
        return connection is not None

    def end_all(self, reason: CloseReason, now: float) -> None:
        """End every session, and close the connections that wait for a proxy's header."""
        if self._proxy_gate is not None:
            self._proxy_gate.close_waiting()
        for slot in range(1, len(self._connections) + 1):
            self.end(slot, reason, now)

    def close(self, reason: CloseReason, now: float) -> None:
        """End every session, and record the callers turned away that are not recorded yet."""
        self.end_all(reason, now)
        self._record_turned_away(self._turned_away.rest())

    def _is_idle(self, session: SmtpSession) -> bool:
        """Return whether a session waits for its caller, or is over, and has waited since `idle_since`."""
        connection = self._connections[session.slot - 1]
        if connection is None or connection.machine is not session:
            return False  # it has left
        return connection.is_waiting and session.state is not SmtpState.DATA

    def _stop_delaying_if_short(self, newest: PacedConnection, now: float) -> None:
        """While free slots are short, delay no new session; when they become short, release the delayed ones too."""
        was_short = self.slots.is_short
        if not self.slots.update_shortage():
            return
        candidates = [newest] if was_short else self._connections
        paced = [each for each in candidates if isinstance(each, PacedConnection) and each.machine.is_delayed]
        for number, connection in enumerate(paced, 1):
            connection.stop_delaying(now + _RELEASE_OVER_S * number / len(paced))
        self.counters.undelayed += len(paced)

    def _greeting(self, ip: str) -> bytes:
        date = self.reactor.clock.greeting_date
        if date is not self._greeting_date or self._dialogue.greets_by_ip:
            self._greeting_date = date
            self._greeting_bytes = self._dialogue.greeting(ip, date)
        return self._greeting_bytes

    def _turn_away(self, sock: socket, ip: str, reason: TurnedAwayReason, now: float, *, is_watched: bool) -> bool:
        """Close the connection of a caller; return True, as `admit` does then."""
        if is_watched:
            self.reactor.unwatch_own(sock.fileno())
        close_with_reply(sock, b"" if reason == "blocked" else self._dialogue.too_many_connections)
        self._count_turned_away(ip, reason, now)
        return True

    def _count_turned_away(self, ip: str, reason: TurnedAwayReason, now: float) -> None:
        self.counters.turned_away[reason] += 1
        if self._shares.source_above(ip, self.reactor.clock.day):
            ip = ""  # summed up with others
        self._record_turned_away(self._turned_away.note(ip, reason))
        if not self._summary_timer.due_tick:
            self.reactor.wheel.schedule(self._summary_timer, now + 1)

    def _summarize_turned_away(self, now: float) -> None:
        self._record_turned_away(self._turned_away.second_passed())
        if not self._turned_away.is_empty:
            self.reactor.wheel.schedule(self._summary_timer, now + 1)

    def _record_turned_away(self, sums: Sequence[Summed]) -> None:
        for ip, event in sums:
            self._recorder.record(event, ip)

    def _check_quiet(self, now: float) -> None:
        if not self._quiet_timeout_s:
            return  # switched off in this turn
        due_at = self._last_admission + self._quiet_timeout_s
        if now >= due_at:
            for session in self.slots.idle_occupants(now):
                self.end(session.slot, "quiet", now)
            due_at = now + self.slots.evict_after_s
        if self.slots.in_use:
            self.reactor.wheel.schedule(self._quiet_timer, due_at)
