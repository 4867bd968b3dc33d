"""Hold 10,000 callers at one byte a second, and compare with a timer wheel in C; print the figures as Markdown.

    python -m tests.bench.tarpit [--quick] [--python FILE]

The servers take turns, and only one runs at a time. Linux only; needs a C compiler and 10,100 open files.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench import servers
from tests.bench.probes import cpu_s, rss_kib
from tests.bench.servers import BenchError, Server, Tools

RATE = 1
WARM_UP_CALLERS = 500
SETTINGS = f"""\
slots = 15000
slots_per_client = 0
log_min_free_bytes = 0
quiet_timeout_s = 0
session_timeout_s = 7200
stutter_bytes_per_s = {RATE}
greeting = "{{hostname}} {"x" * 180}"
"""
OURS, WHEEL = "smtppseudo", "C wheel"


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    callers: int = 10_000
    seconds: int = 20
    rounds: int = 5


@dataclass(frozen=True)
class Turn:
    """The figures of one turn."""

    core_percent: float
    kib_per_caller: float
    late_p50_ms: float
    late_p99_ms: float
    early: float
    newcomers_p99_ms: float


@contextlib.contextmanager
def calling(tools: Tools, server: Server, callers: int, seconds: int) -> Iterator[Callable[[], dict[str, float]]]:
    """Connect callers to a server; the block begins when all have a byte. Yield a function that returns the figures."""
    words = [str(tools.tarpit_load), "127.0.0.1", str(server.port), *map(str, (callers, seconds, RATE))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout
        try:
            if said.readline() != "open\n":
                raise server.error("did not greet all callers")
            yield lambda: dict(json.loads(said.readline()))
        finally:
            servers.stop(process)


def take_turn(name: str, tools: Tools, directory: Path, plan: Plan) -> Turn:
    """Start one server, let it hold the callers, and stop it."""

    def command(port: int) -> list[str]:
        if name == OURS:
            return servers.ours(port, directory, tools, SETTINGS)
        return [str(tools.wheel_server), str(port), str(RATE)]

    with servers.started_by(name, command, directory) as server:
        servers.wait_until_connectable(server)
        with calling(tools, server, WARM_UP_CALLERS, 1) as result:
            result()
        before_kib = rss_kib(server.pid)
        with calling(tools, server, plan.callers, plan.seconds) as result:
            held_kib, before_s, begun = rss_kib(server.pid), cpu_s(server.pid), time.monotonic()
            time.sleep(plan.seconds - 1)
            percent = 100 * (cpu_s(server.pid) - before_s) / (time.monotonic() - begun)
            seen = result()
    if seen["dropped"]:
        raise server.error(f"dropped {seen['dropped']} callers")
    return Turn(
        core_percent=percent,
        kib_per_caller=(held_kib - before_kib) / plan.callers,
        late_p50_ms=seen["late_p50_ms"],
        late_p99_ms=seen["late_p99_ms"],
        early=seen["early"],
        newcomers_p99_ms=seen["newcomers_p99_ms"],
    )


def markdown(turns: dict[str, list[Turn]], plan: Plan) -> str:
    """Return the table of medians, with the ratio of the pairs."""
    lines = [
        f"| {plan.callers:,} callers at {RATE} byte a second | % of a core | KiB a caller"
        " | late ms, median | late ms, p99 | early | new caller's first byte, ms p99 |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for name, all_turns in turns.items():
        columns = [
            f"{median(turn.core_percent for turn in all_turns):.1f}",
            f"{median(turn.kib_per_caller for turn in all_turns):.2f}",
            f"{median(turn.late_p50_ms for turn in all_turns):.0f}",
            f"{median(turn.late_p99_ms for turn in all_turns):.0f}",
            f"{sum(turn.early for turn in all_turns):.0f}",
            f"{median(turn.newcomers_p99_ms for turn in all_turns):.1f}",
        ]
        lines.append(f"| {name} | {' | '.join(columns)} |")
    ratios = [ours.core_percent / wheel.core_percent for ours, wheel in zip(turns[OURS], turns[WHEEL], strict=True)]
    lines += ["", f"CPU of {OURS} / {WHEEL}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tarpit", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer callers, shorter: to see that it works")
    servers.add_python_option(parser)
    options = parser.parse_args()
    plan = Plan(callers=1_000, seconds=5, rounds=1) if options.quick else Plan()
    turns: dict[str, list[Turn]] = {OURS: [], WHEEL: []}
    try:
        with tempfile.TemporaryDirectory(prefix="smtppseudo-bench-") as temporary:
            directory = Path(temporary)
            tools = servers.build(directory, options.python)
            for number in range(plan.rounds):
                for name, taken in turns.items():
                    print(f"round {number + 1} of {plan.rounds}: {name}", file=sys.stderr, flush=True)
                    taken.append(take_turn(name, tools, directory / f"{number}-{name[0]}", plan))
    except BenchError as error:
        print(f"tarpit: {error}", file=sys.stderr)
        return 1
    print(markdown(turns, plan), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
