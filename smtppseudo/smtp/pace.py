"""The pace: how long a caller waits for what it is told."""

from typing import Final, NamedTuple

from smtppseudo.config.settings import Settings


class Pace(NamedTuple):
    """How slowly is answered: after a delay, then so many bytes in a second. 0 = off, for each."""

    greet_delay_s: float
    reply_delay_s: float
    stutter_bytes_per_s: int

    @classmethod
    def of(cls, settings: Settings) -> "Pace":
        """Take what is set."""
        return cls(settings.greet_delay_s, settings.reply_delay_s, settings.stutter_bytes_per_s)

    @property
    def holds_replies(self) -> bool:
        """Whether a reply takes its time, not the greeting alone."""
        return self.reply_delay_s > 0 or self.stutter_bytes_per_s > 0


AT_ONCE: Final = Pace(0, 0, 0)
