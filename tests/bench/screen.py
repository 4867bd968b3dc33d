"""Measure the monitor screen under a flood of events, as a process in a terminal of its own.

    python -m tests.bench.screen [--per-second 20000] [--seconds 30] [--slots 25] [--servers 1]

Printed: the time from start to the first picture; from a key press until it is on the screen, while nothing
happens and under the flood; memory; processor time; and, of one server, whether the events seen and those not shown
add up. Of several servers with so many events a second each, the list is shown.
"""

import argparse
import fcntl
import os
import pty
import random
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.flood import WORD

CHECKOUT = Path(__file__).resolve().parent.parent.parent
SIZE = (60, 200)
KEY = b"~"  # nothing else on the screen has it
BACKSPACE = b"\x7f"
CURSOR = b"48;2;47;95;152"  # the background of the cursor's line in the dark theme
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_SUMS = (re.compile(rb"Events seen\s+([\d,]+)"), re.compile(rb"Not shown\s+([\d,]+)"))


class Terminal:
    """A process in a terminal of its own. `seen` is its output since `forget`."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.began = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(command[0], command, environment)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self.seen = b""

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._fd, keys)

    def forget(self) -> None:
        """Forget the output."""
        self.seen = b""

    def look(self, seconds: float, until: bytes | None = None) -> bool:
        """Read for some seconds, or until `until` appears; return whether it did."""
        give_up_at = time.perf_counter() + seconds
        while (left := give_up_at - time.perf_counter()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                try:
                    self.seen += os.read(self._fd, 1 << 16)
                except OSError:
                    return False
            if until is not None and until in self.seen:
                return True
            self.seen = self.seen[-100_000:]
        return False

    def rss_mib(self) -> float:
        """Return the resident memory."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        return int(found[1]) / 1024 if found else 0.0

    def cpu_s(self) -> float:
        """Return the CPU time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def end(self) -> float:
        """Quit with the key; return how long that took."""
        begun = time.perf_counter()
        self.press(b"\x11")
        self.look(10)
        os.waitpid(self.pid, 0)
        return time.perf_counter() - begun


def latencies_ms(terminal: Terminal, seconds: float) -> list[float]:
    """Press a key again and again; return how long each took to appear."""
    found: list[float] = []
    give_up_at = time.perf_counter() + seconds
    while time.perf_counter() < give_up_at:
        terminal.forget()
        begun = time.perf_counter()
        terminal.press(KEY)
        seen = terminal.look(5, KEY)
        found.append((time.perf_counter() - begun) * 1000 if seen else 5_000)
        terminal.press(BACKSPACE)
        terminal.look(random.uniform(0.1, 0.3))
    return found


def report(name: str, found: list[float]) -> None:
    """Print the median, the 95th percentile and the worst."""
    p95 = statistics.quantiles(found, n=20)[-1]
    print(f"{name}: median {statistics.median(found):.0f}, p95 {p95:.0f}, most {max(found):.0f} ms, of {len(found)}")


def list_latencies_ms(terminal: Terminal, seconds: float) -> list[float]:
    """Move the cursor in the list of servers; return how long each move took to appear, as a line of another colour."""
    found: list[float] = []
    give_up_at = time.perf_counter() + seconds
    while time.perf_counter() < give_up_at:
        for key in (b"\x1b[B", b"\x1b[A"):
            terminal.look(random.uniform(0.1, 0.3))
            terminal.forget()
            begun = time.perf_counter()
            terminal.press(key)
            seen = terminal.look(5, CURSOR)
            found.append((time.perf_counter() - begun) * 1000 if seen else 5_000)
    return found


def measure_list(terminal: Terminal, options: argparse.Namespace) -> None:
    """Measure the list of servers, once all are online."""
    online = f"{options.servers} of {options.servers} servers online".encode()
    while online not in _ESCAPES.sub(b"", terminal.seen):
        for _ in range(2):
            terminal.press(b"t")  # another theme draws everything; back to the dark one
            terminal.look(0.5)
    print(f"all online after {time.perf_counter() - terminal.began:.1f} s")
    terminal.look(3)
    measure_flood(terminal, options, list_latencies_ms)
    print(f"quit in {terminal.end():.2f} s")


def measure_flood(
    terminal: Terminal, options: argparse.Namespace, latencies: Callable[[Terminal, float], list[float]]
) -> None:
    """Measure keys, processor and memory while events come."""
    before_s, begun = terminal.cpu_s(), time.perf_counter()
    report(f"a key, {options.servers} x {options.per_second:,} events/s", latencies(terminal, options.seconds))
    share = (terminal.cpu_s() - before_s) / (time.perf_counter() - begun)
    print(f"processor {share:.0%} of a core, memory {terminal.rss_mib():.0f} MiB")


def measure(options: argparse.Namespace, directory: Path) -> None:
    """Measure everything."""
    words = [str(options.slots), "--per-second", str(options.per_second), "--seconds", str(options.seconds)]
    words += ["--servers", str(options.servers)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "XDG_CONFIG_HOME": str(directory / "config")}
    environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "tests.bench.flood", str(directory), "--slots", *words]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flood:
        assert flood.stdin is not None
        assert flood.stdout is not None
        ports = flood.stdout.readline().decode().split()
        arguments = ["-m", "smtppseudo", "monitor", *[f"127.0.0.1:{port}" for port in ports]]
        if options.servers > 1:
            directory.joinpath("word").touch(0o600)
            directory.joinpath("word").write_text(WORD)
            arguments += ["--magic-file", str(directory / "word")]
        else:
            arguments += ["--state-dir", str(directory / "0" / "state")]
        terminal = Terminal([sys.executable, *arguments], environment)
        terminal.look(10, b"Setup" if options.servers == 1 else b"connecting")
        first_s = time.perf_counter() - terminal.began
        terminal.look(10, b"Online")
        print(f"start to first picture {first_s:.2f} s, to a server {time.perf_counter() - terminal.began:.2f} s")
        if options.servers > 1:
            measure_list(terminal, options)
            return
        terminal.look(0.5)
        terminal.press(b"/")
        terminal.look(0.5)
        report("a key, nothing happening", latencies_ms(terminal, 1.5))
        measure_flood(terminal, options, latencies_ms)
        terminal.forget()
        terminal.look(8)  # the last events, and the sums that are drawn for them
        text = _ESCAPES.sub(b"", terminal.seen)
        flood.stdin.write(b"\n")
        flood.stdin.flush()
        made = int(flood.stdout.read().split()[-1])
        seen, not_shown = (int(pattern.findall(text)[-1].replace(b",", b"")) for pattern in _SUMS)
        verdict = "right" if seen + not_shown == made else "WRONG"
        print(f"events made {made:,} = seen {seen:,} + not shown {not_shown:,}: {verdict}")
        terminal.press(b"\x1b")
        print(f"quit in {terminal.end():.2f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-second", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--slots", type=int, default=25)
    parser.add_argument("--servers", type=int, default=1)
    with tempfile.TemporaryDirectory() as directory:
        measure(parser.parse_args(), Path(directory))


if __name__ == "__main__":
    main()
