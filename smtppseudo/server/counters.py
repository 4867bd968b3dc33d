"""Counters: sums since the start of the server."""

from typing import get_args

from smtppseudo.config.settings import STAGES
from smtppseudo.events import CloseReason, TurnedAwayReason
from smtppseudo.smtp.session import SmtpSession


class Counters:
    """Sums since the start of the server. Those of a session are added when it closes. `day` is the local date."""

    def __init__(self) -> None:
        self.connected = 0
        self.turned_away: dict[TurnedAwayReason, int] = dict.fromkeys(get_args(TurnedAwayReason), 0)
        self.closed: dict[CloseReason, int] = dict.fromkeys(get_args(CloseReason), 0)
        self.mails_refused = dict.fromkeys(STAGES, 0)
        self.mails_refused_today = 0  # since the last local midnight
        self._day = ""
        self.commands = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.wasted_s = 0.0
        self.delayed_s = 0.0
        self.undelayed = 0
        self.not_logged = 0
        self.faults = 0

    def add_closed(self, session: SmtpSession, now: float, day: str) -> None:
        """Add the sums of a closed session."""
        reason, said = session.close_reason, session.said
        if reason is not None:
            self.closed[reason] += 1
        if said is not None:
            self.commands += said.commands
            if said.mails_refused:
                if day != self._day:
                    self._day, self.mails_refused_today = day, 0
                self.mails_refused[session.stage] += said.mails_refused
                self.mails_refused_today += said.mails_refused
        self.received_bytes += session.received_bytes
        self.sent_bytes += session.sent_bytes
        self.wasted_s += now - session.started_at
        self.delayed_s += session.delayed_s

    def as_dict(self, day: str) -> dict[str, object]:
        """Return the sums as monitors receive them."""
        return {name: value for name, value in vars(self).items() if name != "_day"} | {
            "turned_away": dict(self.turned_away),
            "closed": dict(self.closed),
            "mails_refused": dict(self.mails_refused),
            "mails_refused_today": self.mails_refused_today if day == self._day else 0,
            "wasted_s": round(self.wasted_s, 3),
            "delayed_s": round(self.delayed_s, 3),
        }
