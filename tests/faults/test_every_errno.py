"""Every system call fails with each of its errnos, at several moments of a standard run.

The server must survive, lose at most one session or the log lines of one turn, report that, and continue.
`SMTPPSEUDO_TEST_FAULTS=all` tests every moment instead of a sample.
"""

import errno
import gc
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from smtppseudo.events import Closed, Connected, Error
from smtppseudo.server.certificates import Certificates
from tests.certificates import Certificate
from tests.faults.layer import SHORT, Fault, Layer
from tests.faults.standard_run import InFaults, StandardRun
from tests.monitors import Monitors
from tests.records import parse
from tests.running import events

MOMENTS = 3

_OF_A_PATH = "EACCES EIO ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR ESTALE"
_OF_A_CHANGE = "EDQUOT ENOSPC EPERM EROFS"
_OF_THE_NETWORK = "ECONNRESET EHOSTUNREACH ENETDOWN ENETUNREACH ENOBUFS ENOMEM ETIMEDOUT"
ERRNOS = {
    "accept": "EAGAIN ECONNABORTED EHOSTDOWN EHOSTUNREACH EMFILE ENETDOWN ENETUNREACH ENFILE ENOBUFS ENOMEM ENONET"
    " ENOPROTOOPT EOPNOTSUPP EPERM EPROTO ETIMEDOUT",
    "recv": f"EAGAIN ECONNREFUSED {_OF_THE_NETWORK}",
    "send": f"SHORT EAGAIN EPIPE {_OF_THE_NETWORK}",
    "shutdown": "ENOBUFS ENOTCONN",
    "listen": "EADDRINUSE",
    "setsockopt": "EINVAL ENOBUFS ENOMEM ENOPROTOOPT",
    "getsockopt": "EINVAL ENOBUFS",
    "close of a socket": "EIO",
    "epoll_ctl ADD": "ENOMEM ENOSPC",
    "epoll_ctl MOD": "ENOMEM",
    "epoll_ctl DEL": "ENOMEM",
    "open": f"EFBIG EINVAL EISDIR EMFILE ENFILE ENXIO EOVERFLOW ETXTBSY {_OF_A_PATH} {_OF_A_CHANGE}",
    "fopen": f"EISDIR EMFILE ENFILE EPERM {_OF_A_PATH}",
    "read": "EIO EISDIR",
    "lseek": "EOVERFLOW ESPIPE",
    "write": "SHORT EAGAIN EDQUOT EFBIG EIO ENOSPC EPERM ESTALE",
    "fsync": "EDQUOT EINVAL EIO ENOSPC EROFS",
    "fstat": "EIO ENOMEM EOVERFLOW ESTALE",
    "stat": f"EOVERFLOW {_OF_A_PATH}",
    "fstatvfs": "EIO ENOMEM ENOSYS EOVERFLOW",
    "close": "EDQUOT EIO ENOSPC",
    "mkdir": f"EEXIST EMLINK {_OF_A_PATH} {_OF_A_CHANGE}",
    "unlink": f"EBUSY EISDIR EPERM EROFS {_OF_A_PATH}",
    "rename": f"EBUSY EEXIST EXDEV {_OF_A_PATH} {_OF_A_CHANGE}",
    "readdir": f"EMFILE ENFILE {_OF_A_PATH}",
}
"""From the man pages of section 2, ip(7) and tcp(7). Without EINTR: Python repeats the call (PEP 475)."""

CASES = [(call, name) for call, names in ERRNOS.items() for name in names.split()]

TARPIT: Mapping[str, Any] = {"greet_delay_s": 0.1, "reply_delay_s": 0.1, "stutter_bytes_per_s": 1000}
IN_TARPIT = [
    *(("recv", name) for name in ("EAGAIN", "ECONNRESET", "ETIMEDOUT")),
    *(("send", name) for name in ("SHORT", "EAGAIN", "EPIPE", "ENOBUFS")),
    *(("epoll_ctl ADD", "ENOSPC"), ("epoll_ctl MOD", "ENOMEM"), ("epoll_ctl DEL", "ENOMEM"), ("shutdown", "ENOTCONN")),
]


class Played:
    """A standard run with or without a fault, and its results."""

    def __init__(self, directory: Path, fault: Fault | None, settings: Mapping[str, Any]) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            self.layer = Layer(fault)
            self.layer.install(monkeypatch)
            # A certificate that cannot be read is a mistake in the settings: the server does not start.
            monkeypatch.setattr(Certificates, "load", self.layer.without(Certificates.load))
            descriptors = count_descriptors()
            monitors = Monitors()
            self.server = InFaults(directory, self.layer, settings)
            self.run = StandardRun(self.server, monitors)
            self.run.play()
            self.layer.at_rest = True
            self.run.serve_once_more()
            self.layer.at_rest = False
            self.settings = self.server.server.settings
            self.failed_before_the_end = self.layer.has_failed
            self.server.stop()
            monitors.close()
            gc.collect()
            self.leaked = count_descriptors() - descriptors
        self.lines = [line for path in sorted(self.server.log_dir.glob("*.log")) for line in whole_lines(path)]
        self.records = [parse(line) for line in self.lines if is_record(line)]


def count_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the layer replaces what pathlib uses


def whole_lines(path: Path) -> list[str]:
    *lines, rest = path.read_text("ascii").split("\n")
    assert rest == "", "the last line of a file has no end"
    return lines


def is_record(line: str) -> bool:
    try:
        parse(line)
    except ValueError:
        return False
    return True


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Counter[str]:
    """Count each call in a standard run."""
    return without_a_fault(tmp_path_factory.mktemp("without"), certificate.settings())


@pytest.fixture(scope="module")
def moments_in_tarpit(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Counter[str]:
    """The same for a run with delayed replies."""
    return without_a_fault(tmp_path_factory.mktemp("tarpit"), {**TARPIT, **certificate.settings()})


def without_a_fault(directory: Path, settings: Mapping[str, Any]) -> Counter[str]:
    """Count the calls of a run in which nothing is lost."""
    played = Played(directory, None, settings)
    assert played.run.lost == []
    assert len(played.records) == len(played.lines) == played.server.server.recorder.seq
    return played.layer.counts


def sample(count: int) -> list[int]:
    """Return after how many calls the fault happens: the first, the last, and some between."""
    most = count if os.environ.get("SMTPPSEUDO_TEST_FAULTS") == "all" else MOMENTS
    return sorted({at * (count - 1) // max(1, most - 1) for at in range(most)})


def test_the_table_names_every_call(moments: Counter[str]) -> None:
    assert set(moments) == set(ERRNOS)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
@pytest.mark.parametrize(("call", "name"), CASES, ids=[f"{call}-{name}" for call, name in CASES])
def test_survived(moments: Counter[str], certificate: Certificate, tmp_path: Path, call: str, name: str) -> None:
    survives(tmp_path, call, name, moments[call], certificate.settings())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
@pytest.mark.parametrize(("call", "name"), IN_TARPIT, ids=[f"{call}-{name}" for call, name in IN_TARPIT])
def test_survived_in_the_tarpit(
    moments_in_tarpit: Counter[str], certificate: Certificate, tmp_path: Path, call: str, name: str
) -> None:
    survives(tmp_path, call, name, moments_in_tarpit[call], {**TARPIT, **certificate.settings()})


def survives(directory: Path, call: str, name: str, count: int, settings: Mapping[str, Any]) -> None:
    """Play the run with a fault at several moments, and check the results."""
    number = SHORT if name == "SHORT" else getattr(errno, name)
    for after in sample(count):
        fault = Fault(call, number, after)
        check(Played(directory / str(after), fault, settings), str(fault))


def check(played: Played, fault: str) -> None:
    """Check that at most one session was lost, that the loss was reported, and that all sums are right."""
    run, server = played.run, played.server.server
    assert played.layer.has_failed, fault
    assert played.leaked == 0, fault
    assert len(run.lost) <= 1, (fault, run.lost)
    assert played.settings.greeting == kept_greeting(played), fault
    assert run.greeting in (played.settings.greeting, "unknown"), fault
    counters = server.reception.counters
    assert counters.faults == 0, (fault, played.lines)
    assert sum(counters.closed.values()) == counters.connected, fault
    assert server.reception.slots.in_use == 0, fault
    lost_lines = server.recorder.log.account.lost_lines
    assert len(played.records) + lost_lines == server.recorder.seq, (fault, played.lines)
    told = sum(error.lost for error in events(played.records, Error))
    assert told == lost_lines or (told == 0 and not played.failed_before_the_end), (fault, played.lines)
    if lost_lines == 0:
        assert len(played.lines) == len(played.records), fault
        assert len(events(played.records, Connected)) == len(events(played.records, Closed)) == counters.connected
    check_reports(played, fault)


def kept_greeting(played: Played) -> str:
    """Return the greeting that the next start would use."""
    path = Path(played.settings.state_dir) / "settings.json"
    kept: str = json.loads(path.read_text())["greeting"] if path.exists() else "Welcome!"
    return kept


def check_reports(played: Played, fault: str) -> None:
    """Check that the loss was reported with its reason: in the log, on stderr, or to the monitor."""
    assert played.layer.fault is not None
    reason = os.strerror(played.layer.fault.errno)
    words = "\n".join([*played.server.said, *played.run.refusals, *played.lines])
    if played.server.server.recorder.log.account.lost_lines:
        # pathlib treats a failing `stat` as "no directory", and raises the error of mkdir.
        reasons = {reason, os.strerror(errno.EEXIST)} if played.layer.fault.call == "stat" else {reason}
        assert any(f": {why}; log lines are lost until writing works again" in words for why in reasons), (fault, words)
    if played.run.lost:
        closed = [event.reason for event in events(played.records, Closed)]
        assert reason in words or {"reset", "fault"} & set(closed), (fault, played.run.lost, words)
