"""Half a million sessions of mixed kinds in the tarpit, with a monitor that reads everything.

    python -m tests.bench.soak [--sessions N]

Afterwards the server's memory and descriptors must be as before, its counters must equal those of the callers, and
each line of the log must be an event that the monitor got. Prints a table; exit status 1 if a check fails. Linux only.
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
from smtppseudo.log.records import render_record
from tests.bench.callers import TURNED_AWAY_FROM, Tally, play_all
from tests.bench.probes import rss_kib
from tests.clients import connect, wait_until
from tests.monitors import Monitors, Peer
from tests.records import parse
from tests.running import Running, Servers

SESSIONS: Final = 500_000
WARM_UP: Final = 0.1
"""The share of the sessions before memory is measured for the first time."""

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
    """A check: its name, the value seen, and the value expected."""

    name: str
    seen: str
    wanted: str
    good: bool


class Watcher:
    """A monitor that writes everything to a file as it arrives, and reads the file later."""

    def __init__(self, peer: Peer, path: Path) -> None:
        self.first_seq = peer.snapshot["seq"] + 1
        self._path = path
        self._sock = peer.sock
        self._sock.settimeout(None)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def frames(self) -> Iterator[dict[str, Any]]:
        """Wait for the end of the server, then yield all frames in order."""
        self._thread.join()
        with self._path.open("rb") as file:
            for line in file:
                yield json.loads(line)

    def _read(self) -> None:
        with self._path.open("wb") as file:
            while data := self._sock.recv(1 << 20):
                file.write(data)


def soak(directory: Path, sessions: int, seed: int = 1) -> list[Check]:
    """Play the sessions on a new server; return the checks."""
    servers, monitors = Servers(directory), Monitors()
    tarpit = {name: value for name, value in TARPIT.items() if name in KEYS}
    at_once = AT_ONCE_TARPITTED if tarpit else AT_ONCE
    try:
        server = servers.start(SETTINGS | tarpit)
        peer = monitors.log_in(server)
        peer.send("subscribe")
        watcher = Watcher(peer, directory / "frames")
        with contextlib.closing(connect("127.0.0.1", server.port, TURNED_AWAY_FROM)) as holder:
            holder.expect("220")
            descriptors = open_descriptors(server)
            warm_up = int(sessions * WARM_UP)
            tally = play_all(server.port, warm_up, at_once, seed)
            wait_until(lambda: open_descriptors(server) == descriptors, "the end of the warm-up", SETTLE_LIMIT_S)
            before_kib = rss_kib(server.pid)
            tally += play_all(server.port, sessions - warm_up, at_once, seed + 100)
            with contextlib.suppress(AssertionError):  # a check reports it
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
    """Return the counters of the server, and the number of lost log lines."""
    with monitors.log_in(server) as monitor:
        status = monitor.ok("status")
    return {**status["counters"], "lost_log_lines": status["lost_log_lines"]}


def equal(name: str, seen: int, wanted: int) -> Check:
    """Return a check of two numbers."""
    return Check(name, f"{seen:,}", f"{wanted:,}", seen == wanted)


def of_memory(before_kib: int, after_kib: int, sessions: int) -> list[Check]:
    """Compare the memory after the warm-up with the end, if there were enough sessions between."""
    drift = after_kib / before_kib - 1
    wanted = f"under {DRIFT:.0%} more than {before_kib:,}"
    good = drift < DRIFT or sessions < FEWEST_FOR_DRIFT
    return [Check("resident KiB", f"{after_kib:,} ({drift:+.1%})", wanted, good)]


def of_counters(counters: dict[str, Any], tally: Tally) -> list[Check]:
    """Compare the counters of the server with those of the callers; one connection is still open."""
    ended = sum(tally[reason] for reason in OF_CLOSED)
    return [
        equal("connected", counters["connected"], ended + 1),
        equal("turned away", counters["turned_away"]["client"], tally["turned_away"]),
        *(equal(f"closed: {reason}", counters["closed"][reason], tally[reason]) for reason in OF_CLOSED),
        equal("closed in any way", sum(counters["closed"].values()), ended),
        equal("commands", counters["commands"], tally["commands"]),
        equal("received bytes", counters["received_bytes"], tally["received_bytes"]),
        equal("sent bytes", counters["sent_bytes"], tally["sent_bytes"]),
        equal("faults", counters["faults"], 0),
        equal("lost log lines", counters["lost_log_lines"], 0),
    ]


def of_log(server: Running, watcher: Watcher, tally: Tally) -> list[Check]:
    """Compare the log with the frames of the monitor, line by line."""
    kinds: Counter[str] = Counter()
    different = dropped = streamed = turned_away = 0
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
        turned_away += record.get("count", 0)
        different += render_record(record) != line
    rest = [parse(line) for line in lines]  # events after the monitor was disconnected
    ended = sum(tally[reason] for reason in OF_CLOSED)
    return [
        equal("connected events", kinds["connected"], ended + 1),
        equal("closed events", kinds["closed"], ended + 1),
        equal("turned away, by events", turned_away, tally["turned_away"]),
        equal("errors", kinds["error"], 0),
        equal("events dropped for the monitor", dropped, 0),
        equal(f"differ from their line, of {streamed:,} events", different, 0),
        equal("lines without an event", sum("logout" not in str(stamped) for stamped in rest), 0),
    ]


def log_lines(log_dir: Path) -> Iterator[str]:
    """Yield the lines of a directory's logs in order."""
    for path in sorted(log_dir.glob("*.log")):
        with path.open(encoding="ascii") as file:
            yield from file


def table(checks: list[Check]) -> str:
    """Return the checks as a Markdown table."""
    rows = [("", "seen", "wanted", ""), *((c.name, c.seen, c.wanted, "good" if c.good else "WRONG") for c in checks)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run the soak and print the checks."""
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
