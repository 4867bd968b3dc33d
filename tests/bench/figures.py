"""The figures of the benchmark, and their Markdown."""

import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

from tests.bench.servers import OURS, PYTHON

PER = 10_000
"""CPU time is given for this number of sessions."""


@dataclass(frozen=True)
class Scenario:
    """One dialogue at one number of sessions at a time."""

    dialogue: str
    concurrency: int


@dataclass(frozen=True)
class Sample:
    """One server's turn: CPU seconds per 10,000 sessions, rate, latency, failed sessions."""

    cpu_s: float
    sessions_per_s: float
    p99_ms: float
    failures: int


@dataclass(frozen=True)
class Standing:
    """The cost of a server apart from its sessions: memory and start, and the failures meanwhile.

    `watched_growth_kib` is the growth with a monitor attached; None for a server without monitors.
    """

    held_kib: float
    growth_kib: int
    watched_growth_kib: int | None
    listening_ms: float
    listening_rss_kib: float
    failures: int


@dataclass(frozen=True)
class Counts:
    """System calls by name and instructions per reject session; None where the tool is not installed."""

    calls: dict[str, float] | None
    instructions: float | None
    failures: int


@dataclass(frozen=True)
class Plan:
    """How much is measured: rounds, and counts of sessions, connections and starts."""

    rounds: int = 9
    sessions: int = 20_000
    warm_up: int = 4_000
    held: int = 10_000
    growth_warm_up: int = 10_000
    growth: int = 100_000
    traced: int = 5_000
    counted: int = 1_000
    starts: int = 10


@dataclass
class Results:
    """All figures, as far as they have been taken.

    samples: by scenario and server, one a round. others: the share of a core that other programs took, one a round.
    counts: by server and sessions at a time. python: the interpreter of the servers. notes: sentences on what was left
    out.
    """

    plan: Plan
    python: str = PYTHON
    samples: dict[Scenario, dict[str, list[Sample]]] = field(default_factory=dict)
    standing: dict[str, Standing] = field(default_factory=dict)
    counts: dict[tuple[str, int], Counts] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    def failures_of(self, name: str) -> int:
        """Count the sessions and connections that this server failed, in all parts."""
        turns = [sample for by_name in self.samples.values() for sample in by_name.get(name, [])]
        standing = self.standing[name].failures if name in self.standing else 0
        counted = sum(counts.failures for (server, _), counts in self.counts.items() if server == name)
        return sum(sample.failures for sample in turns) + standing + counted


def paired(mine: list[Sample], theirs: list[Sample], ratio: Callable[[Sample, Sample], float]) -> str:
    """Return the least and the median of the ratios between the turns of the same round."""
    ratios = [ratio(a, b) for a, b in zip(mine, theirs, strict=True)]
    return f"{min(ratios):.2f} / {median(ratios):.2f}"


def per_cpu_s(mine: Sample, theirs: Sample) -> float:
    """Return how many sessions `mine` serves in the CPU time in which `theirs` serves one."""
    return theirs.cpu_s / mine.cpu_s if mine.cpu_s else float("nan")


def latency(mine: Sample, theirs: Sample) -> float:
    """Return the 99th percentile of `mine` as a share of that of `theirs`."""
    return mine.p99_ms / theirs.p99_ms if theirs.p99_ms else float("nan")


def markdown(results: Results) -> str:
    """Return all tables, with machine and date."""
    parts = [_heading(results)]
    if results.samples:
        parts.append(_sessions(results))
    if results.standing:
        parts.append(_standing(results))
    if results.counts:
        parts.append(_counts(results))
    parts += [f"- {note}" for note in results.notes]
    return "\n\n".join(parts) + "\n"


def _heading(results: Results) -> str:
    today = datetime.now(UTC).date().isoformat()
    version = subprocess.run([results.python, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return (
        f"{today}, {os.cpu_count()} cores, {version} ({results.python}), "
        f"{platform.system()} {platform.release()}; other programs took {max(results.others, default=0):.0%} of a core "
        f"or less. "
        f"Medians of {results.plan.rounds} rounds of {results.plan.sessions:,} sessions, the servers in turn; "
        "ratios: the least and the median of those of the rounds."
    )


def _table(head: list[str], rows: list[list[str]], texts: int = 1) -> str:
    """Return a table; the first `texts` columns are aligned to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: list[str]) -> str:
        left = [cell.ljust(width) for cell, width in zip(cells[:texts], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(cells[texts:], widths[texts:], strict=True)]
        return "| " + " | ".join(left + right) + " |"

    rule = ["-" * width for width in widths[:texts]] + ["-" * (width - 1) + ":" for width in widths[texts:]]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def _sessions(results: Results) -> str:
    first = next(iter(next(iter(results.samples.values()))))
    reference = OURS if any(OURS in by_name for by_name in results.samples.values()) else first
    head = ["scenario, at a time", "server", "CPU s per 10,000", "sessions/s", "p99 ms", "failures"]
    head += [f"{reference}: sessions per CPU s, times this", f"{reference}: p99, times this"]
    rows = [
        [f"{scenario.dialogue}, {scenario.concurrency:,}", name, *_figures(turns, by_name[reference])]
        for scenario, by_name in results.samples.items()
        for name, turns in by_name.items()
    ]
    return _table(head, rows, texts=2)


def _figures(turns: list[Sample], reference: list[Sample]) -> list[str]:
    return [
        f"{median(turn.cpu_s for turn in turns):.3f}",
        f"{median(turn.sessions_per_s for turn in turns):,.0f}",
        f"{median(turn.p99_ms for turn in turns):.1f}",
        f"{sum(turn.failures for turn in turns):,}",
        paired(reference, turns, per_cpu_s),
        paired(reference, turns, latency),
    ]


def _standing(results: Results) -> str:
    plan = results.plan
    head = [
        "server",
        f"KiB per held connection, {plan.held:,} held",
        f"MiB grown in {plan.growth:,} sessions",
        "with a monitor",
    ]
    head += ["ms from exec to listening", "MiB then", "failures"]
    rows = [
        [
            name,
            f"{standing.held_kib:.2f}",
            f"{standing.growth_kib / 1024:.2f}",
            _or_dash(standing.watched_growth_kib and standing.watched_growth_kib / 1024),
            f"{standing.listening_ms:.1f}",
            f"{standing.listening_rss_kib / 1024:.1f}",
            f"{standing.failures:,}",
        ]
        for name, standing in results.standing.items()
    ]
    return _table(head, rows)


def _counts(results: Results) -> str:
    """Return the counts per session. Calls rarer than one in a hundred sessions only count in the sum."""
    numbers = [each for counts in results.counts.values() for each in (counts.calls or {}).items()]
    often = sorted({call for call, number in numbers if number >= 0.01})
    head = ["per reject session", "at a time", "k instructions (user space)", "system calls", *often]
    rows = []
    for (name, concurrency), counts in results.counts.items():
        thousands = None if counts.instructions is None else counts.instructions / 1000
        calls, all_calls = (counts.calls, sum(counts.calls.values())) if counts.calls else ({}, None)
        row = [name, str(concurrency), _or_dash(thousands, 1), _or_dash(all_calls)]
        rows.append(row + [_or_dash(calls.get(call, 0)) for call in often])
    return _table(head, rows)


def _or_dash(figure: float | None, places: int = 2) -> str:
    return "-" if figure is None else f"{figure:.{places}f}"
