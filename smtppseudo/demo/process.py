"""The server's process: started on free ports of this machine, ended with the `with` block or with us."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import smtppseudo
from smtppseudo.demo.crowd import ADDRESS
from smtppseudo.demo.place import Place

START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 3.0
MODULE: Final = "smtppseudo.cli.demo_server"
"""What is run: `serve` that ends when its standard input does."""

# What is in the file, and not on the command line, a monitor may change.
_SETTINGS: Final = """\
greeting = "{hostname} ESMTP"
hostname = "mail.example.org"
log_max_bytes_per_day = 67_108_864
log_min_free_bytes = 0
"""
_LISTENS: Final = re.compile(r"(SMTP|monitors) on \S+ port ([0-9]+)\s*")


class NotStartedError(Exception):
    """The server ended instead of listening; the text is what it said, and `status` its exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ServerProcess:
    """A server that listens on `port` and, for monitors, on `monitor_port`, while the `with` block lasts.

    Its standard input is a pipe that ends with us, however we end; then the server ends, too, and removes its
    directory. Raises NotStartedError.
    """

    def __init__(self, place: Place, slots: int) -> None:
        self.state_dir = place.path / "state"
        self._stderr = place.path / "stderr"
        config = place.path / "smtppseudo.toml"
        config.write_text(_SETTINGS)
        addresses = ["--listen", ADDRESS, "--port", "0", "--monitor-listen", ADDRESS, "--monitor-port", "0"]
        places = ["--config", str(config), "--state-dir", str(self.state_dir), "--log-dir", str(place.path / "log")]
        user = ["--run-as", "root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        # -P: what happens to lie in the current directory is not to be loaded.
        words = [sys.executable, "-P", "-m", MODULE, str(place.path), *addresses, *places, *user, "--slots", str(slots)]
        with self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - all words are ours
                words,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=(place.lock_fd,) if os.name == "posix" else (),
                start_new_session=True,  # what is typed on the terminal, Ctrl-C included, is for us
                text=True,
            )
        try:
            self.port, self.monitor_port = self._wait_for_ports(self._process.stdout)
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def last_words(self) -> str:
        """Return the last line of what it complained of, or nothing."""
        lines = self._stderr.read_text(errors="backslashreplace").splitlines()
        return lines[-1].removeprefix("smtppseudo: ") if lines else ""

    def _wait_for_ports(self, stdout: IO[str] | None) -> tuple[int, int]:
        give_up = threading.Timer(START_TIMEOUT_S, self._process.kill)
        give_up.start()
        try:
            ports = dict(_LISTENS.findall(stdout.readline() + stdout.readline()) if stdout else ())
        finally:
            give_up.cancel()
        try:
            return int(ports["SMTP"]), int(ports["monitors"])
        except KeyError:
            status = self._process.wait()
            raise NotStartedError(self.last_words() or f"no answer within {START_TIMEOUT_S:g} s", status) from None

    def _end(self) -> None:
        """Let it end as it should; kill it if it does not."""
        try:
            self._process.communicate(timeout=STOP_TIMEOUT_S)  # closes its standard input
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _environment() -> dict[str, str]:
    """Return our environment, so changed that the server is of the same package as we are."""
    paths = [str(Path(smtppseudo.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
