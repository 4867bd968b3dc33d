"""The metrics file: the server's sums for Prometheus, for node_exporter's textfile collector."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from smtppseudo import __version__
from smtppseudo.files import Replacement
from smtppseudo.loop.reactor import Alarm, Reactor
from smtppseudo.monitor.status import Status, render_prometheus

WRITE_EVERY_S: Final = 15.0
_MODE: Final = 0o644  # whoever collects it is another user


class MetricsFile:
    """Writes what `status` gives to `path`, at once and every 15 s: aside, then in its place, so never half of it.

    It is not brought to the disk: after a crash of the machine it is of no interest. `on_trouble` hears when writing
    begins to fail, `on_fault` of bugs.
    """

    def __init__(
        self,
        path: Path,
        reactor: Reactor,
        status: Callable[[], Mapping[str, object]],
        on_trouble: Callable[[str], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._status = status
        self._on_trouble = on_trouble
        self._started_at = reactor.clock.stamp
        self._said = ""
        self._alarm = Alarm(self._write_and_go_on, on_fault)

    def begin(self) -> None:
        """Write it, and go on writing."""
        self._write_and_go_on(self._reactor.clock.now)

    def close(self) -> None:
        """Write it a last time: it stays, and says that the server is offline."""
        self._reactor.wheel.cancel(self._alarm)
        self._write()

    def _write_and_go_on(self, now: float) -> None:
        self._reactor.wheel.schedule(self._alarm, now + WRITE_EVERY_S)
        self._write()

    def _write(self) -> None:
        text = render_prometheus(Status.from_fields(self._status()), __version__, self._started_at)
        try:
            with Replacement(self._path, _MODE) as file:
                file.write(text)
                file.commit(sync=False)
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._said:
                self._said = reason
                self._on_trouble(f"{self._path}: {reason}; the metrics are not kept until writing works again")
        else:
            self._said = ""
