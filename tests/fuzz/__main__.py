"""Fuzz the parsers of foreign input, each target in its own process, two at a time.

    python -m tests.fuzz [--seconds N] [TARGET ...]

Needs atheris (`pip install -e '.[fuzz]'`). Exit status 1 if a target failed; the failing input is printed as a Python
bytes literal. As a file in `corpus/TARGET/` it becomes a test.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.fuzz.fuzzing import Figures, can_fuzz, fuzz
from tests.fuzz.targets import TARGETS

AT_ONCE = 2


def main() -> int:
    """Run the targets and print the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    targets = options.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"no target is named {', '.join(sorted(unknown))}")
    if not can_fuzz():
        print("atheris is not installed: pip install -e '.[fuzz]'", file=sys.stderr)
        return 2
    print(Figures.HEAD)
    good = True
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for figures in pool.map(partial(fuzz, seconds=options.seconds), targets):
            print(figures.line, flush=True)
            if figures.failure:
                good = False
                print(figures.failure)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
