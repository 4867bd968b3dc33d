"""The pace: how slowly a caller gets its replies."""

from typing import Final, NamedTuple


class Pace(NamedTuple):
    """The delay in seconds before a reply begins, and its speed in bytes per second; 0 = off, for each."""

    greet_delay_s: float
    reply_delay_s: float
    stutter_bytes_per_s: int

    @property
    def holds_replies(self) -> bool:
        """Whether replies are slow, not only the greeting."""
        return self.reply_delay_s > 0 or self.stutter_bytes_per_s > 0


AT_ONCE: Final = Pace(0, 0, 0)
