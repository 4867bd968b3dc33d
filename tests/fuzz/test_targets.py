"""Each target passes for its seeds and for inputs that once failed, and under atheris if that is installed."""

import os
from pathlib import Path

import pytest

from tests.fuzz.fuzzing import CORPUS, can_fuzz, fuzz, seeds
from tests.fuzz.targets import TARGETS

SECONDS = int(os.environ.get("SMTPPSEUDO_TEST_FUZZ_S", "10"))
SEEDS = [path for target in TARGETS for path in seeds(target)]


def test_each_target_has_seeds() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(len(seeds(target)) >= 3 for target in TARGETS)


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_seed(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.slow
@pytest.mark.skipif(not can_fuzz(), reason="atheris is not installed")
@pytest.mark.timeout(SECONDS + 90)
@pytest.mark.parametrize("target", TARGETS)
def test_fuzzed(target: str) -> None:
    figures = fuzz(target, SECONDS)
    assert figures.failure == ""
    assert figures.inputs > 0
    assert figures.edges > 10
