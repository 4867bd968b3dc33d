"""One target under atheris: its process, and the result.

That process must import the fuzzed modules through atheris, so this module does not import them.
"""

import importlib.util
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, NoReturn

CORPUS: Final = Path(__file__).parent / "corpus"
STARTING_LIMIT_S: Final = 60
MAX_BYTES: Final = 4096
UNIT_LIMIT_S: Final = 10
"""One input may take no longer, nor more memory."""
MEMORY_LIMIT_MIB: Final = 512

_STATUS: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_EXECS: Final = re.compile(r"stat::number_of_executed_units: (\d+)")


@dataclass(frozen=True)
class Figures:
    """The result of a target: inputs tried, edges reached, inputs worth keeping; `failure` is empty on success."""

    HEAD: ClassVar = f"{'target':10} {'inputs':>12} {'edges':>7} {'features':>9} {'corpus':>7}  result"

    target: str
    inputs: int
    edges: int
    features: int
    corpus: int
    failure: str

    @property
    def line(self) -> str:
        """Return a table row under `HEAD`."""
        result = "failed" if self.failure else "good"
        return f"{self.target:10} {self.inputs:12,} {self.edges:7,} {self.features:9,} {self.corpus:7,}  {result}"


def can_fuzz() -> bool:
    """Whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def seeds(target: str) -> list[Path]:
    """Return the files of a target's seed corpus."""
    return sorted((CORPUS / target).iterdir())


def fuzz(target: str, seconds: int) -> Figures:
    """Fuzz a target for some seconds in its own process."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        directory = Path(name)
        (directory / "found").mkdir()
        words = [sys.executable, "-m", __name__, target, f"-max_total_time={seconds}"]
        words += [f"-max_len={MAX_BYTES}", f"-timeout={UNIT_LIMIT_S}", f"-rss_limit_mb={MEMORY_LIMIT_MIB}"]
        words += ["-print_final_stats=1", f"-artifact_prefix={directory}/", str(directory / "found")]
        words += [str(CORPUS / target)]
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=seconds + STARTING_LIMIT_S, check=False
        )
        output = done.stdout + done.stderr
        data = [path.read_bytes() for path in directory.iterdir() if path.is_file()]
    status = [tuple(map(int, found)) for found in _STATUS.findall(output)]
    execs = _EXECS.search(output)
    edges, features, corpus = status[-1] if status else (0, 0, 0)
    failure = "" if done.returncode == 0 and execs else f"{output[-4000:]}\n{target} failed on {data}"
    return Figures(target, int(execs[1]) if execs else 0, edges, features, corpus, failure)


def run_here(target: str, flags: list[str]) -> NoReturn:
    """Fuzz a target in this process; never return. `flags` are libFuzzer's."""
    import atheris  # noqa: PLC0415 - not installed by the extra `test`

    with atheris.instrument_imports(include=["smtppseudo", "tomllib"]):
        import tomllib  # noqa: F401, PLC0415 - the server imports it only when it is needed

        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    atheris.Setup([sys.argv[0], *flags], TARGETS[target])
    atheris.Fuzz()
    raise AssertionError("atheris.Fuzz returned")


if __name__ == "__main__":
    run_here(sys.argv[1], sys.argv[2:])
