"""The demo's server process and its temporary directory. Both end with the `with` block, or with this process.

If both processes are killed, a later run removes the directory.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Final, Self

import smtppseudo
from smtppseudo.demo.traffic import ADDRESS
from smtppseudo.files import is_root

if sys.platform != "win32":
    import fcntl

_PREFIX: Final = "smtppseudo-demo-"
_LOCK: Final = "lock"
START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 3.0
MODULE: Final = "smtppseudo.cli.demo_server"  # `serve`, which ends when its standard input ends

# In a file: a monitor cannot change a setting of the command line.
_SETTINGS: Final = """\
greeting = "{hostname} ESMTP"
hostname = "mail.example.org"
log_max_bytes_per_day = 67_108_864
log_min_free_bytes = 0
"""
_LISTENS: Final = re.compile(r"(SMTP|monitors) on \S+ port ([0-9]+)\s*")


class DemoDirectory:
    """A directory with mode 0700, for the duration of the `with` block.

    While `lock_fd` or an inherited copy of it is open, later runs do not remove the directory.
    """

    def __init__(self) -> None:
        remove_leftovers()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self.lock_fd = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            if _lock(self.lock_fd) and (self.path / _LOCK).exists():
                return
            os.close(self.lock_fd)  # another run has removed the directory before it was locked

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock_fd)


def remove_leftovers() -> None:
    """Remove the directories of killed runs: those of this user that no process has locked."""
    if sys.platform == "win32":
        return  # without locks, a directory in use looks the same
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            # All users can write to the parent directory: check the owner, and follow no link.
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock_fd = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if _lock(lock_fd):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock_fd)


def _lock(lock_fd: int) -> bool:
    """Try to lock the file; return whether that was done."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class NotStartedError(Exception):
    """The server did not start; the arguments are its error message and its exit status."""


class ServerProcess:
    """A server on `port` and, for monitors, on `monitor_port`, during the `with` block.

    Its standard input is a pipe from this process. When the pipe closes, even because this process was killed, the
    server ends and removes its directory. Raises NotStartedError.
    """

    def __init__(self, directory: DemoDirectory, slots: int) -> None:
        self.state_dir = directory.path / "state"
        self._stderr = directory.path / "stderr"
        config = directory.path / "smtppseudo.toml"
        config.write_text(_SETTINGS)
        # -P: import nothing from the current directory
        argv = [sys.executable, "-P", "-m", MODULE, str(directory.path), *(["--run-as", "root"] if is_root() else [])]
        argv += ["--slots", str(slots), "--config", str(config), "--state-dir", str(self.state_dir)]
        argv += ["--log-dir", str(directory.path / "log")]
        argv += ["--listen", ADDRESS, "--port", "0", "--monitor-listen", ADDRESS, "--monitor-port", "0"]
        # The server imports this package, too.
        paths = [str(Path(smtppseudo.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        with self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - no argument comes from outside
                argv,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=(directory.lock_fd,) if os.name == "posix" else (),
                start_new_session=True,  # Ctrl-C on the terminal is for this process
                text=True,
            )
        try:
            self.port, self.monitor_port = self._wait_for_ports(self._process.stdout)
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def last_error(self) -> str:
        """Return the last line of its standard error, or an empty text."""
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
            raise NotStartedError(self.last_error() or f"no reply within {START_TIMEOUT_S:g} s", status) from None

    def _end(self) -> None:
        """Let the server end; kill it if it does not."""
        try:
            self._process.communicate(timeout=STOP_TIMEOUT_S)  # closes its standard input
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
