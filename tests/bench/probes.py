"""The CPU time, memory, system calls and instructions of a server, and the load generator."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.servers import BenchError, Tools, stop

LOAD_TIMEOUT_S = 300.0
HOLD_LIMIT_S = 60

TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)
SUMMARY_ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(?P<calls>\d+)\s+(?:\d+\s+)?(?P<name>[a-z]\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Load:
    """The results of one run of the load generator; latencies are those of whole sessions, in milliseconds."""

    sessions: int
    failures: int
    wall_s: float
    sessions_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass
class Trace:
    """System calls by name, filled when the trace ends."""

    calls: dict[str, int] = field(default_factory=dict)


def _load_of(line: str) -> Load:
    try:
        figures = json.loads(line)
    except ValueError as error:
        raise BenchError(f"the load generator printed {line!r}") from error
    return Load(**{name: figures[name] for name in Load.__dataclass_fields__})


def run_load(tools: Tools, port: int, scenario: str, concurrency: int, sessions: int) -> Load:
    """Run `sessions` sessions, `concurrency` at a time; BenchError after five minutes."""
    command = [str(tools.load), "127.0.0.1", str(port), scenario, str(concurrency), str(sessions)]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{scenario} at {concurrency} takes over {LOAD_TIMEOUT_S:.0f} s") from error
    if finished.returncode not in {0, 1}:
        raise BenchError(finished.stderr.strip())
    return _load_of(finished.stdout)


@contextlib.contextmanager
def holding(tools: Tools, port: int, connections: int) -> Iterator[Load]:
    """Hold silent connections that got their 220 open during the block, at most a minute."""
    command = [str(tools.load), "127.0.0.1", str(port), "hold", str(connections), str(HOLD_LIMIT_S)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield _load_of(process.stdout.readline().decode())
    finally:
        process.stdin.close()
        process.stdout.close()
        stop(process)


def family(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    members = [pid]
    for member in members:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            members.extend(int(child) for child in children.read_text().split())
    return members


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its children, of all threads that still run."""
    threads = [path for member in family(pid) for path in Path(f"/proc/{member}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e9


def other_cpu_s(pids: list[int]) -> float:
    """Return the CPU seconds of all programs of this machine, except these processes, this one and its children."""
    ticks = [int(number) for number in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
    idle, waiting = ticks[3:5]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4]) - sum(map(cpu_s, pids))


def rss_kib(pid: int) -> int:
    """Return the resident memory of a process and its children, in KiB."""
    status = [Path(f"/proc/{member}/status").read_text() for member in family(pid)]
    return sum(int(found[1]) for text in status if (found := re.search(r"VmRSS:\s+(\d+) kB", text)))


def can_trace() -> bool:
    """Whether strace is installed."""
    return shutil.which("strace") is not None


@contextlib.contextmanager
def traced(pid: int, summary: Path) -> Iterator[Trace]:
    """Count the system calls of a process during the block; `summary` is strace's own file.

    A traced server is several times slower than its clients, so it finds more work at each turn of its
    loop than it does in freedom.
    """
    command = ["strace", "-c", "-f", "-p", str(pid), "-o", str(summary)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    trace = Trace()
    try:
        said = tracer.stderr.readline()
        if "attached" not in said:
            raise BenchError(f"strace cannot attach: {said.strip()}")
        yield trace
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        tracer.stderr.close()
    for row in SUMMARY_ROW.finditer(summary.read_text()):
        if row["name"] != "total":
            trace.calls[row["name"]] = int(row["calls"])


def can_count() -> bool:
    """Whether valgrind is installed."""
    return shutil.which("valgrind") is not None


def under_callgrind(command: list[str], result: Path) -> list[str]:
    """Return the command line that runs a program under callgrind, which counts nothing yet."""
    return ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={result}", *command]


@contextlib.contextmanager
def counting(pid: int) -> Iterator[None]:
    """Make callgrind count the instructions of its process during the block."""
    _tell_callgrind(pid, "on")
    yield
    _tell_callgrind(pid, "off")


def _tell_callgrind(pid: int, switch: str) -> None:
    command = ["vgdb", f"--pid={pid}", "instrumentation", switch]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if told.returncode != 0:
        raise BenchError(f"callgrind cannot be switched {switch}: {told.stderr.strip()}")


def instructions(result: Path) -> int:
    """Return the instructions that callgrind has counted, from its result."""
    return sum(int(total) for total in TOTALS.findall(result.read_text()))
