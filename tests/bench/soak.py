"""Half a million sessions of mixed kinds, with a monitor that reads all, and the tarpit where the server has one.

    python -m tests.bench.soak [--sessions N]

Afterwards the server's memory and descriptors are as before, its counters are the visitors' own, and each line of the
log is the event that the monitor saw. Prints a table; exit status 1 if one of these does not hold. Linux only.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from smtppseudo.config.settings import KEYS
from smtppseudo.log.records import parse, render_record
from tests.bench.probes import rss_kib
from tests.bench.visitors import REFUSED_FROM, Tally, visit_all
from tests.clients import connect, wait_until
from tests.monitors import Monitors, Peer
from tests.running import Running, Servers

SESSIONS: Final = 500_000
WARM_UP: Final = 0.1
"""So much of the sessions comes before memory is looked at for the first time."""

DRIFT: Final = 0.05
FEWEST_FOR_DRIFT: Final = 20_000
SETTLE_LIMIT_S: Final = 60.0
AT_ONCE: Final = 300
AT_ONCE_TARPITTED: Final = 1_500

SETTINGS: Final[dict[str, Any]] = {
    "slots": 4_000,
    "slots_per_client": 1,
    "limit_exempt": ["127.0.1.0/24"],
    "reject_at": "message",
    "idle_timeout_s": 3_600,
    "session_timeout_s": 86_400,
    "quiet_timeout_s": 0,
    "log_max_bytes_per_day": 0,
}
TARPIT: Final[dict[str, Any]] = {"greet_delay_s": 0.1, "reply_delay_s": 0.1, "stutter_bytes_per_s": 1_000}
OF_CLOSED: Final = ("quit", "peer", "reset", "errors")


class Check(NamedTuple):
    """One thing that must hold: what it is, what was seen, what was to be seen."""

    name: str
    seen: str
    wanted: str
    good: bool


class Watcher:
    """A monitor that writes all that it hears to a file, as fast as it comes, and looks at it only later."""

    def __init__(self, peer: Peer, path: Path) -> None:
        self.first_seq = peer.snapshot["seq"] + 1
        self._path = path
        self._sock = peer.sock
        self._sock.settimeout(None)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def frames(self) -> Iterator[dict[str, Any]]:
        """Wait for the server's end, then yield all frames in order."""
        self._thread.join()
        with self._path.open("rb") as file:
            for line in file:
                yield json.loads(line)

    def _read(self) -> None:
        with self._path.open("wb") as file:
            while data := self._sock.recv(1 << 20):
                file.write(data)


def soak(directory: Path, sessions: int, seed: int = 1) -> list[Check]:
    """Play so many sessions on a server of its own; return what was looked at afterwards."""
    servers, monitors = Servers(directory), Monitors()
    tarpit = {name: value for name, value in TARPIT.items() if name in KEYS}
    at_once = AT_ONCE_TARPITTED if tarpit else AT_ONCE
    try:
        server = servers.start(SETTINGS | tarpit)
        peer = monitors.log_in(server)
        peer.send("subscribe")
        watcher = Watcher(peer, directory / "frames")
        with contextlib.closing(connect("127.0.0.1", server.port, REFUSED_FROM)) as holder:
            holder.expect("220")
            descriptors = open_descriptors(server)
            warm_up = int(sessions * WARM_UP)
            tally = visit_all(server.port, warm_up, at_once, seed)
            wait_until(lambda: open_descriptors(server) == descriptors, "the end of the warm-up", SETTLE_LIMIT_S)
            before_kib = rss_kib(server.pid)
            tally += visit_all(server.port, sessions - warm_up, at_once, seed + 100)
            with contextlib.suppress(AssertionError):  # it is among the checks
                wait_until(lambda: open_descriptors(server) == descriptors, "the end", SETTLE_LIMIT_S)
            checks = [
                equal("descriptors", open_descriptors(server), descriptors),
                *of_memory(before_kib, rss_kib(server.pid), sessions),
                *of_counters(counters_of(server, monitors), tally),
            ]
        server.stop()
        return [*checks, *of_log(server, watcher, tally)]
    finally:
        servers.stop_all()
        monitors.close()


def open_descriptors(server: Running) -> int:
    """Count the descriptors that a server has open."""
    return sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())


def counters_of(server: Running, monitors: Monitors) -> dict[str, Any]:
    """Ask for the sums of the run, and how many log lines were lost."""
    with monitors.log_in(server) as monitor:
        status = monitor.ok("status")
    return {**status["counters"], "lost_log_lines": status["lost_log_lines"]}


def equal(name: str, seen: int, wanted: int) -> Check:
    """Return a check of two numbers."""
    return Check(name, f"{seen:,}", f"{wanted:,}", seen == wanted)


def of_memory(before_kib: int, after_kib: int, sessions: int) -> list[Check]:
    """Compare the memory after the warm-up with that at the end, where there was enough between."""
    drift = after_kib / before_kib - 1
    wanted = f"under {DRIFT:.0%} more than {before_kib:,}"
    good = drift < DRIFT or sessions < FEWEST_FOR_DRIFT
    return [Check("resident KiB", f"{after_kib:,} ({drift:+.1%})", wanted, good)]


def of_counters(counters: dict[str, Any], tally: Tally) -> list[Check]:
    """Compare the server's sums with the visitors'; one connection is still held."""
    ended = sum(tally[reason] for reason in OF_CLOSED)
    return [
        equal("connected", counters["connected"], ended + 1),
        equal("refused", counters["turned_away"]["client"], tally["refused"]),
        *(equal(f"closed: {reason}", counters["closed"][reason], tally[reason]) for reason in OF_CLOSED),
        equal("closed in any way", sum(counters["closed"].values()), ended),
        equal("commands", counters["commands"], tally["commands"]),
        equal("received bytes", counters["received_bytes"], tally["received_bytes"]),
        equal("sent bytes", counters["sent_bytes"], tally["sent_bytes"]),
        equal("faults", counters["faults"], 0),
        equal("lost log lines", counters["lost_log_lines"], 0),
    ]


def of_log(server: Running, watcher: Watcher, tally: Tally) -> list[Check]:
    """Compare the log with what the monitor saw, line by line."""
    kinds: Counter[str] = Counter()
    different = dropped = streamed = refused = 0
    lines = log_lines(server.log_dir)
    for _ in range(watcher.first_seq - 1):
        next(lines)
    for frame in watcher.frames():
        if frame["type"] == "dropped":
            dropped += frame["count"]
        if frame["type"] != "event":
            continue
        streamed += 1
        record = {name: value for name, value in frame.items() if name not in ("type", "seq")}
        line = next(lines, "")
        kinds[record["event"]] += 1
        refused += record.get("count", 0)
        different += render_record(record) != line
    rest = [parse(line) for line in lines]  # what came after the monitor's own end
    ended = sum(tally[reason] for reason in OF_CLOSED)
    return [
        equal("connected events", kinds["connected"], ended + 1),
        equal("closed events", kinds["closed"], ended + 1),
        equal("refused, by events", refused, tally["refused"]),
        equal("errors", kinds["error"], 0),
        equal("events dropped on the way", dropped, 0),
        equal(f"of {streamed:,} events, other than their line", different, 0),
        equal("lines that no event was seen of", sum("logout" not in str(stamped) for stamped in rest), 0),
    ]


def log_lines(log_dir: Path) -> Iterator[str]:
    """Yield the lines of a directory's logs in order."""
    for path in sorted(log_dir.glob("*.log")):
        with path.open(encoding="ascii") as file:
            yield from file


def table(checks: list[Check]) -> str:
    """Lay the checks out."""
    rows = [("", "seen", "wanted", ""), *((c.name, c.seen, c.wanted, "good" if c.good else "WRONG") for c in checks)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def main() -> int:
    """Soak a server and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak")
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    options = parser.parse_args()
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        checks = soak(Path(name), options.sessions)
    tarpit = "on" if set(TARPIT) <= set(KEYS) else "not there"
    print(f"{options.sessions:,} sessions, tarpit {tarpit}, {time.monotonic() - began_at:,.0f} s\n")
    print(table(checks))
    return 0 if all(check.good for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
