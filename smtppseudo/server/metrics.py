"""The metrics file: the server's counters for Prometheus, read by node_exporter's textfile collector."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from smtppseudo import __version__
from smtppseudo.config.settings import Warn
from smtppseudo.files import replace
from smtppseudo.loop.reactor import Reactor, Timer
from smtppseudo.monitor.status import Source, Status, render_prometheus

WRITE_EVERY_S: Final = 15.0


class MetricsFile:
    """Replaces `path` with the present `status` at once and every 15 s; warns when writing begins to fail."""

    def __init__(
        self, path: Path, reactor: Reactor, status: Callable[[], Mapping[str, object]], server_name: str, warn: Warn
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._status = status
        self._server_name = server_name
        self._warn = warn
        self._started_at = datetime.fromisoformat(reactor.clock.stamp)
        self._reported = ""
        self._timer = Timer(reactor, self.write)

    def write(self, now: float) -> None:
        """Write the file now, and again every 15 s."""
        self._reactor.wheel.schedule(self._timer, now + WRITE_EVERY_S)
        status = Status.from_fields(self._status())
        text = render_prometheus([Source(status, __version__, self._started_at, self._server_name)])
        try:
            # The collector is another user. After a crash of the machine nobody needs the file.
            replace(self._path, text, 0o644, sync=False)
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._reported:
                self._reported = reason
                self._warn(f"{self._path}: {reason}; the metrics file is out of date until writing works again")
        else:
            self._reported = ""
