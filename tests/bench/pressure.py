"""Attack a server at full size: how long other callers wait for their 220, the cost, and the time to recover.

    python -m tests.bench.pressure [--quick]

Prints Markdown. Linux only; needs 20,000 open files for the server and as many for the attackers.
"""

import argparse
import contextlib
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.attackers import KINDS, ONE_SOURCE, attacking
from tests.bench.probes import cpu_s, rss_kib
from tests.clients import wait_until
from tests.monitors import monitor_port
from tests.running import Running, Servers, limited_to

SECONDS = 8
OTHERS_EVERY_S = 0.02
PIPELINED_BYTES = 100 << 20
LINE_BYTES = 1 << 30
HOLDING: dict[str, Any] = {"slots": 11_000, "slots_per_client": 0, "quiet_timeout_s": 0}
EVICTING: dict[str, Any] = {"slots": 2_000, "quiet_timeout_s": 0}
LIMITED: dict[str, Any] = {"limit_exempt": [], "quiet_timeout_s": 0}
FULL: dict[str, Any] = {**LIMITED, "slots": 25}
FULL_AND_LARGE: dict[str, Any] = {**LIMITED, "slots": 10_000}
SMALL_LOG: dict[str, Any] = {**LIMITED, "log_max_bytes_per_day": 64 << 20}
TARPIT: dict[str, Any] = {**HOLDING, "slots": 14_000, "tarpit": True, "greet_delay_s": 0}


@dataclass
class Others:
    """Callers during an attack: how long each waited for its first byte, and how many got no 220."""

    waits_ms: list[float] = field(default_factory=list)
    refused: int = 0

    def call(self, port: int) -> None:
        """Connect, receive the first byte, and close."""
        with socket.socket() as sock:
            sock.settimeout(20)
            sock.bind((f"127.0.222.{len(self.waits_ms) % 250 + 1}", 0))
            begun = time.perf_counter()
            sock.connect(("127.0.0.1", port))
            first = sock.recv(1)
            self.waits_ms.append((time.perf_counter() - begun) * 1000)
            self.refused += first != b"2"

    def at(self, share: float) -> float:
        """Return the wait at a percentile."""
        return sorted(self.waits_ms)[int(share * (len(self.waits_ms) - 1))]


@contextlib.contextmanager
def others_calling(port: int) -> Iterator[Others]:
    """Make calls during the block."""
    others, enough = Others(), threading.Event()

    def play() -> None:
        while not enough.wait(OTHERS_EVERY_S):
            others.call(port)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield others
    finally:
        enough.set()
        thread.join()


def in_use(server: Running) -> int:
    """Count the open sockets of a server."""
    return sum(1 for fd in Path(f"/proc/{server.pid}/fd").iterdir() if "socket:" in _link(fd))


def _link(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except OSError:
        return ""


def row(name: str, server: Running, others: Others, peak_kib: int, before: tuple[int, float]) -> str:
    """Wait until all sessions of the attack have ended; return the row of the table."""
    sockets, begun = before
    wait_until(lambda: in_use(server) <= sockets, "the end of all sessions", limit_s=240, poll_s=0.1)
    recovery_s = time.monotonic() - begun
    cpu_before = cpu_s(server.pid)
    time.sleep(2)
    columns = [
        f"{len(others.waits_ms)}",
        f"{others.refused}",
        f"{others.at(0.5):.1f}",
        f"{others.at(0.99):.1f}",
        f"{peak_kib / 1024:.1f}",
        f"{recovery_s:.1f}",
        f"{50 * (cpu_s(server.pid) - cpu_before):.1f}",
    ]
    return f"| {name} | {' | '.join(columns)} |"


def attack(servers: Servers, kind: str, count: int, settings: dict[str, Any], sources: str, name: str) -> str:
    """Attack a new server in one way."""
    server = servers.start(settings)
    sockets = in_use(server)
    with others_calling(server.port) as others:
        with attacking(kind, server.port, count, sources):
            if settings in (EVICTING, FULL, FULL_AND_LARGE):
                time.sleep(6)  # a session must be idle for 5 s before it can be evicted
                others.waits_ms, others.refused = [], 0
            peak_kib = watch_memory(server)
        ended = time.monotonic()
    return row(name, server, others, peak_kib, (sockets, ended))


def fill_log(servers: Servers, name: str) -> str:
    """Have a server log long lines of one address, five sessions at a time; count how many others are in its log."""
    server = servers.start(SMALL_LOG)
    sockets = in_use(server)
    with others_calling(server.port) as others:
        with attacking("fill-log", server.port, 5):
            peak_kib = watch_memory(server)
        ended = time.monotonic()
    line = row(name, server, others, peak_kib, (sockets, ended))
    lines = server.log_text.splitlines(keepends=True)
    of_one = sum(len(each) for each in lines if f" ip={ONE_SOURCE} " in each)
    logged = sum(" connected " in each and " ip=127.0.222." in each for each in lines)
    return line.replace(name, f"{name}: {of_one / 2**20:.1f} MiB of it, and {logged} of the others, are logged")


def bad_frames(servers: Servers, per_second: int, name: str) -> str:
    """Attack the monitor port of a server with the usual limit of open files."""
    server = servers.start({"quiet_timeout_s": 0}, prefix=limited_to("RLIMIT_NOFILE", 1_024))
    sockets = in_use(server)
    with others_calling(server.port) as others:
        with attacking("bad-frame", monitor_port(server), per_second, "many"):
            peak_kib = watch_memory(server)
        ended = time.monotonic()
    return row(name, server, others, peak_kib, (sockets, ended))


def watch_memory(server: Running) -> int:
    """Wait during the attack; return the peak memory of the server, in KiB."""
    peak = 0
    for _ in range(SECONDS * 10):
        time.sleep(0.1)
        peak = max(peak, rss_kib(server.pid))
    return peak


def flood(servers: Servers, data: bytes, total: int, name: str) -> str:
    """Send `total` bytes to a server, over as many connections as that needs."""
    server = servers.start({"quiet_timeout_s": 0})
    with server.connect() as client:
        client.expect("220")
        client.send("NOOP")
        client.expect("250")
    time.sleep(0.2)
    sockets, before_kib = in_use(server), rss_kib(server.pid)
    peak = threading.Event()
    most = [before_kib]

    def look() -> None:
        while not peak.wait(0.05):
            most[0] = max(most[0], rss_kib(server.pid))

    looker = threading.Thread(target=look)
    looker.start()
    with others_calling(server.port) as others:
        sent = 0
        while sent < total:
            sent += send_until_closed(server.port, data, total - sent)
        ended = time.monotonic()
    peak.set()
    looker.join()
    return row(f"{name} (+{most[0] - before_kib} KiB)", server, others, most[0], (sockets, ended))


def send_until_closed(port: int, data: bytes, most: int) -> int:
    """Send over one connection until it is closed, or `most` bytes are sent; return how many were."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(20)
        try:
            while sent < most:
                sent += sock.send(data)
        except OSError:
            pass
    return sent


HEAD = """\
| attack | others | refused | 220 in ms, median | ms, p99 | MiB at most | gone after s | % of a core then |
| --- | --: | --: | --: | --: | --: | --: | --: |"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pressure", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the attackers: to see that it works")
    parser.add_argument("--only", default="", metavar="TEXT", help="only attacks whose name holds this")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    count = 10_000 // part
    plan = [(kind, count, HOLDING, "one", f"{kind}, {count:,} from one address") for kind in KINDS]
    plan += [(kind, count, LIMITED, "one", f"{kind}, {count:,} from one address, 5 slots each") for kind in KINDS]
    plan += [(kind, count, TARPIT, "one", f"{kind}, {count:,} in a tarpit") for kind in KINDS]
    plan += [("idle", 5_000, EVICTING, "many", "idle, from 5,000 addresses, for 2,000 slots")]
    for settings in (FULL, FULL_AND_LARGE):
        slots = settings["slots"]
        plan.append(("noop", slots, settings, "five", f"noop, for {slots:,} slots, from {slots // 5:,} addresses"))
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="smtppseudo-bench-") as temporary:
        for number, (kind, callers, settings, sources, name) in enumerate(plan):
            if options.only in name:
                servers = Servers(Path(temporary) / str(number))
                try:
                    print(attack(servers, kind, callers, settings, sources, name), flush=True)
                finally:
                    servers.stop_all()
        name = f"bad frames on the monitor port, {1_000 // part:,} connections a second"
        if options.only in name:
            servers = Servers(Path(temporary) / "frames")
            try:
                print(bad_frames(servers, 1_000 // part, name), flush=True)
            finally:
                servers.stop_all()
        name = "long lines from one address, five sessions at a time, with 64 MiB of log a day"
        if options.only in name:
            servers = Servers(Path(temporary) / "log")
            try:
                print(fill_log(servers, name), flush=True)
            finally:
                servers.stop_all()
        for name, data, total in (
            ("1 GiB without line end", b"x" * 65_536, LINE_BYTES // part),
            ("100 MB of pipelined NOOP", b"NOOP\r\n" * 10_922, PIPELINED_BYTES // part),
        ):
            if options.only in name:
                servers = Servers(Path(temporary) / name[:3])
                try:
                    print(flood(servers, data, total, name), flush=True)
                finally:
                    servers.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
