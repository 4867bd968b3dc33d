"""The cost of a monitor to the server: CPU seconds per 10,000 sessions, with and without one, in turns.

    python -m tests.bench.watched [--python FILE]

Two servers run; all that happens on one is streamed to `smtppseudo watch --json`. Linux only; wants a C compiler.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.bench import servers
from tests.bench.figures import Scenario
from tests.bench.measure import take_turn

ROUNDS = 7
SESSIONS = 20_000
SCENARIO = Scenario("reject", 200)


def main() -> None:
    """Measure in turns; print both figures and the median of their ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.watched", description=__doc__.partition("\n")[0])
    servers.add_python_option(parser)
    python = parser.parse_args().python
    with tempfile.TemporaryDirectory(prefix="smtppseudo-bench-") as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        tools = servers.build(directory, python)
        alone, watched = (
            stack.enter_context(servers.running(servers.OURS, directory / name, tools)) for name in ("a", "b")
        )
        stack.enter_context(servers.watching(watched))
        turns = []
        for number in range(ROUNDS + 1):
            pair = [take_turn(tools, server, SCENARIO, SESSIONS).cpu_s for server in (alone, watched)]
            if number:  # the first is the warm-up
                turns.append(pair)
            print(f"round {number}: {pair[0]:.3f} alone, {pair[1]:.3f} watched", file=sys.stderr)
    ratios = [with_one / without for without, with_one in turns]
    print(f"CPU s per 10,000: {median(t[0] for t in turns):.3f} alone, {median(t[1] for t in turns):.3f} watched")
    print(f"ratio: {median(ratios):.3f} (median of {ROUNDS} pairs, {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
