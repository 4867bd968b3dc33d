"""Fuzz the parts that read what others wrote, each target in a process of its own, two at a time.

    python -m tests.fuzz [--seconds N] [TARGET ...]

Wants atheris (`pip install -e '.[fuzz]'`). Exit status 1 if a target failed; what it failed on is then printed as
Python writes bytes: kept in `corpus/TARGET/`, it is a test for ever.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.fuzz.fuzzing import Figures, can_fuzz, fuzz
from tests.fuzz.targets import TARGETS

AT_ONCE = 2


def main() -> int:
    """Run the targets and print what each did."""
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
