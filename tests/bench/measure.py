"""Compare this server's cost with that of others, on loopback, and print the figures as Markdown.

Parts:
- rounds: CPU time, sessions per second and latency, at several numbers of sessions at a time. The servers take turns
  (A B C D A B C D ...) while all of them run, so that other load on the machine affects all. Only the ratios, which
  pair the turns of one round, can be compared from day to day: the least of them, and the median. A round in which
  other programs take more than a fifth of a core is repeated.
- memory: KiB for each held connection; growth, without and with a monitor that reads every event; the start.
- counts: of one reject session of this server: instructions in user space (by callgrind) and system calls (by strace).
  Unlike times they hardly depend on other load.

Every session says other names in HELO and MAIL. Servers in Python run on a distribution's Python if there is one.
A server whose name holds a slash is a directory with another package smtppseudo: an older one, or a compiled one.
Linux only; needs a C compiler, and for the comparison aiosmtpd and Postfix's smtp-sink; valgrind and strace to count.
Exit status 1 if this server failed a session, or the benchmark could not run.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.bench import servers
from tests.bench.figures import PER, Counts, Plan, Results, Sample, Scenario, Standing, markdown
from tests.bench.probes import (
    can_count,
    can_trace,
    counting,
    cpu_s,
    holding,
    instructions,
    other_cpu_s,
    rss_kib,
    run_load,
    traced,
    under_callgrind,
)
from tests.bench.servers import OURS, BenchError, Server, Tools

SCENARIOS = (
    Scenario("connect", 200),
    Scenario("reject", 25),
    Scenario("reject", 200),
    Scenario("reject", 1000),
)
COUNTED_CONCURRENCY = (25, 200)
OTHERS_MAX = 0.2  # of a core
PARTS = ("rounds", "memory", "counts")
QUICK = Plan(
    rounds=3,
    sessions=2_000,
    warm_up=1_000,
    held=2_000,
    growth_warm_up=4_000,
    growth=20_000,
    traced=1_000,
    counted=500,
    starts=5,
)


def say(text: str) -> None:
    """Print the progress."""
    print(text, file=sys.stderr, flush=True)


def take_turn(tools: Tools, server: Server, scenario: Scenario, sessions: int) -> Sample:
    """Put one load on one server."""
    before = cpu_s(server.pid)
    load = run_load(tools, server.port, scenario.dialogue, scenario.concurrency, sessions)
    spent = cpu_s(server.pid) - before
    return Sample(spent * PER / sessions, load.sessions_per_s, load.p99_ms, load.failures)


def take_round(tools: Tools, running: list[Server], scenario: Scenario, sessions: int) -> tuple[list[Sample], float]:
    """Let each server take a turn; return also the share of a core that other programs took meanwhile."""
    pids = [server.pid for server in running]
    begun, before = time.monotonic(), other_cpu_s(pids)
    samples = [take_turn(tools, server, scenario, sessions) for server in running]
    return samples, (other_cpu_s(pids) - before) / (time.monotonic() - begun)


def run_rounds(tools: Tools, running: list[Server], scenario: Scenario, results: Results) -> list[list[Sample]]:
    """Warm up all servers, then let them take turns. Repeat noisy rounds, at most as many as are wanted."""
    plan = results.plan
    take_round(tools, running, scenario, plan.warm_up)
    rounds: list[list[Sample]] = []
    repeated = 0
    while len(rounds) < plan.rounds:
        samples, others = take_round(tools, running, scenario, plan.sessions)
        say(f"{scenario.dialogue} at {scenario.concurrency}: {others:.0%} of a core was taken by other programs")
        if others > OTHERS_MAX and repeated < plan.rounds:
            repeated += 1
        else:
            rounds.append(samples)
            results.others.append(others)
    return rounds


def compare(tools: Tools, names: list[str], directory: Path, results: Results) -> None:
    """Run every scenario while all servers run."""
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(servers.running(name, directory / f"rounds-{number}", tools))
            for number, name in enumerate(names)
        ]
        for scenario in SCENARIOS:
            rounds = run_rounds(tools, running, scenario, results)
            results.samples[scenario] = dict(zip(names, map(list, zip(*rounds, strict=True)), strict=True))


def held_kib(tools: Tools, name: str, directory: Path, plan: Plan) -> tuple[float, int]:
    """Resident KiB that each held connection adds to a fresh server, and connections that failed."""
    with servers.running(name, directory, tools) as server:
        run_load(tools, server.port, "reject", 25, plan.warm_up)
        before = rss_kib(server.pid)
        with holding(tools, server.port, plan.held) as load:
            return (rss_kib(server.pid) - before) / plan.held, load.failures


def growth_kib(tools: Tools, name: str, directory: Path, plan: Plan, *, is_watched: bool = False) -> tuple[int, int]:
    """Resident KiB that many sessions leave behind in a warm server, and sessions that failed."""
    with servers.running(name, directory, tools) as server, contextlib.ExitStack() as stack:
        if is_watched:
            stack.enter_context(servers.watching(server))
        run_load(tools, server.port, "reject", 200, plan.growth_warm_up)
        before = rss_kib(server.pid)
        load = run_load(tools, server.port, "reject", 200, plan.growth)
        return rss_kib(server.pid) - before, load.failures


def start_once(tools: Tools, name: str, directory: Path) -> tuple[float, int]:
    """Milliseconds from exec until the kernel takes a connection, and resident KiB at the 220."""
    begun = time.perf_counter()
    with servers.started(name, directory, tools) as server:
        servers.wait_until_connectable(server)
        listening_ms = (time.perf_counter() - begun) * 1000
        servers.wait_until_greeted(server)
        return listening_ms, rss_kib(server.pid)


def stand(tools: Tools, name: str, directory: Path, plan: Plan) -> Standing:
    """Measure one server's memory and its start."""
    say(f"{name}: {plan.held:,} held, {plan.growth:,} sessions, {plan.starts} starts")
    held, failures = held_kib(tools, name, directory / "held", plan)
    growth, growth_failures = growth_kib(tools, name, directory / "growth", plan)
    watched, watched_failures = None, 0
    if servers.is_ours(name):
        watched, watched_failures = growth_kib(tools, name, directory / "watched", plan, is_watched=True)
    starts = [start_once(tools, name, directory / "start") for _ in range(plan.starts)]
    return Standing(
        held_kib=held,
        growth_kib=growth,
        watched_growth_kib=watched,
        listening_ms=median(start[0] for start in starts),
        listening_rss_kib=median(start[1] for start in starts),
        failures=failures + growth_failures + watched_failures,
    )


def count(tools: Tools, name: str, concurrency: int, directory: Path, plan: Plan) -> Counts:
    """Count the system calls and the instructions of a server per reject session."""
    say(f"{name}: system calls and instructions of reject at {concurrency}")
    failures, calls, executed = 0, None, None
    if can_trace():
        where = directory / "traced"
        with servers.running(name, where, tools) as server:
            run_load(tools, server.port, "reject", concurrency, plan.warm_up)
            with traced(server.pid, where / "strace") as trace:
                failures += run_load(tools, server.port, "reject", concurrency, plan.traced).failures
        calls = {call: number / plan.traced for call, number in trace.calls.items()}
    if can_count():
        where = directory / "counted"
        result = where / "callgrind"

        def command_on(port: int) -> list[str]:
            return under_callgrind(servers.command_for(name, port, where, tools), result)

        with servers.running_by(name, command_on, where) as server:
            run_load(tools, server.port, "reject", concurrency, plan.counted)
            with counting(server.pid):
                failures += run_load(tools, server.port, "reject", concurrency, plan.counted).failures
        executed = instructions(result) / plan.counted
    return Counts(calls, executed, failures)


def measure(names: list[str], parts: list[str], results: Results) -> None:
    """Measure everything, with all files in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="smtppseudo-bench-") as temporary:
        directory = Path(temporary)
        tools = servers.build(directory, results.python)
        if "rounds" in parts:
            compare(tools, names, directory, results)
        for number, name in enumerate(names):
            if "memory" in parts:
                results.standing[name] = stand(tools, name, directory / f"memory-{number}", results.plan)
            if "counts" in parts and servers.is_ours(name):
                for concurrency in COUNTED_CONCURRENCY:
                    where = directory / f"counts-{number}-{concurrency}"
                    results.counts[name, concurrency] = count(tools, name, concurrency, where, results.plan)


def choose(wanted: str, results: Results) -> list[str]:
    """Return the servers that can run; add a note for each of the others. Raises BenchError for unknown names."""
    names = wanted.split(",")
    unknown = [name for name in names if "/" not in name and name not in servers.COMMANDS]
    if unknown:
        raise BenchError(f"no server named {unknown[0]!r}: choose from {', '.join(servers.COMMANDS)}")
    lacking = {name: reason for name in names if (reason := servers.missing(name)) is not None}
    results.notes += [f"{name} was left out: {reason}." for name, reason in lacking.items()]
    able = [name for name in names if name not in lacking]
    if not able:
        raise BenchError(" ".join(results.notes))
    return able


def main() -> int:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the sessions: to see that it works")
    parser.add_argument("--servers", default=",".join(servers.COMMANDS), metavar="A,B", help="default: %(default)s")
    servers.add_python_option(parser)
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be given again; default: all")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the Markdown there too")
    options = parser.parse_args()
    results = Results(QUICK if options.quick else Plan(), options.python)
    complete = True
    try:
        measure(choose(options.servers, results), options.only or list(PARTS), results)
    except BenchError as error:
        say(f"measure: {error}")
        if not results.samples:
            return 1
        results.notes.append(f"Incomplete: {error}")
        complete = False
    text = markdown(results)
    print(text, end="")
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    failures = results.failures_of(OURS)
    if failures:
        say(f"measure: {OURS} failed {failures} sessions")
    return 0 if complete and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
