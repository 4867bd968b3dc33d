"""Measure a day of many sensors: their logs, their hits files, and the one block list of all.

    python -m tests.bench.sensors [--sensors 1000] [--logs 20]

Each sensor has 2,000 callers of a population of 200 times the number of sensors: a caller calls ten sensors on the
average, each of them one to three times, with the server's own records. `--logs` sensors have a log, from which
`blocklist --format hits` makes their hits file; the hits files of the others are written without it, as they would be.
"""

import argparse
import gzip
import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from smtppseudo.blocklist.hits_file import coverage_of, render_hits
from smtppseudo.blocklist.policy import Hits, policy_of
from smtppseudo.config.settings import Settings
from smtppseudo.events import Closed, Command, Connected, Event
from smtppseudo.net.addresses import source_number
from smtppseudo.smtp.client_limits import source_of
from tests.bench.logs import _stamp, run
from tests.records import Stamped, render_text
from tests.running import command

CALLERS: Final = 2_000
CALLERS_PER_SENSOR_IN_ALL: Final = 200
_DAY_MS: Final = 86_400_000
_SETTINGS: Final = Settings()


def address(number: int) -> str:
    """Return the address of a caller; one in twenty has IPv6."""
    if number % 20 == 0:
        return f"2a01:{number >> 16:x}:{number & 0xFFFF:x}:1::25"
    return f"{20 + (number >> 24)}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def sessions(sensor: int, sensors: int, start_ms: int) -> list[tuple[int, str]]:
    """Return the time and the address of each session of a sensor's day, in order."""
    dice = random.Random(sensor)
    callers = dice.sample(range(sensors * CALLERS_PER_SENSOR_IN_ALL), CALLERS)
    called = [address(caller) for caller in callers for _ in range(dice.choice((1, 1, 2, 3)))]
    return sorted((start_ms + dice.randrange(_DAY_MS), ip) for ip in called)


def log_of(calls: list[tuple[int, str]], name: str) -> str:
    """Return the log of a sensor."""
    return "".join(line for each in _records(calls) for line in render_text(each, name))


def _records(calls: list[tuple[int, str]]) -> Iterator[list[Stamped]]:
    for session, (at_ms, ip) in enumerate(calls, 1):
        sender = f"<user{session * 7919 % 100_003}@domain{session % 997}.example>"
        host = f"mail{session % 991}.example.net"
        events: list[Event] = [
            Connected(25),
            Command(f"EHLO {host}", f"250 Hello {host} from {ip}, pleased to meet you."),
            Command(f"MAIL FROM:{sender}", f"553 Sender {sender} is Invalid!"),
            Command("QUIT", "221 Server Disconnecting"),
            Closed("quit", 350, 80, 200, 3, 1),
        ]
        yield [Stamped(0, _stamp(at_ms + index), 1, session, ip, 40_000, event) for index, event in enumerate(events)]


def hits_of(calls: list[tuple[int, str]], name: str) -> str:
    """Return the hits file of a sensor, as `blocklist --format hits` writes it."""
    hits = Hits(policy_of(_SETTINGS))
    for at_ms, ip in calls:
        hits.add(source_of(ip), (at_ms + 2) // 1_000)  # MAIL comes third
    found = ((source, hits.times_of(source)) for source in sorted(hits.sources(), key=source_number))
    return "".join(render_hits(coverage_of(hits.policy, _SETTINGS.blocklist_evidence, [name]), found))


def row(what: str, figures: tuple[float, float], output: Path) -> None:
    cpu_s, memory_mib = figures
    print(f"| {what} | {cpu_s:.2f} | {memory_mib:.0f} | {_mib(output):.2f} |", flush=True)


def _mib(*paths: Path) -> float:
    return sum(path.stat().st_size for path in paths) / (1 << 20)


def main() -> None:
    """Measure each step and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, default=1_000)
    parser.add_argument("--logs", type=int, default=20)
    options = parser.parse_args()
    start_ms = (int(datetime.now(UTC).timestamp()) - 90_000) * 1_000
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        logs, files = [], []
        for sensor in range(options.sensors):
            calls = sessions(sensor, options.sensors, start_ms)
            files.append(directory / f"{sensor}.hits")
            files[-1].write_text(hits_of(calls, f"mx{sensor}"))
            if sensor < options.logs:
                logs.append(directory / f"{sensor}.log")
                logs[-1].write_text(log_of(calls, f"mx{sensor}"))
        measure(directory, logs, files)


def measure(directory: Path, logs: list[Path], files: list[Path]) -> None:
    """Run each step."""
    config, output = directory / "smtppseudo.toml", directory / "output"
    config.touch()
    blocklist = command("blocklist", "--config", str(config), "--force", "--output", str(output))
    packed = len(gzip.compress(logs[0].read_bytes())) / (1 << 20)
    print("| step | CPU s | MiB of memory | MiB of output |\n| --- | ---: | ---: | ---: |")
    print(f"| the log of one sensor | | | {_mib(logs[0]):.2f}, gzipped {packed:.2f} |")
    row("its hits file", run([*blocklist, "--format", "hits", str(logs[0])]), output)
    assert output.read_text() == files[0].read_text()
    for what, given, more in (
        (f"the list from the logs of {len(logs)}", logs, []),
        (f"the list from the hits files of {len(logs)}", files[: len(logs)], []),
        (f"the list from the hits files of {len(files)}", files, []),
        (f"one hits file from those of {len(files)}", files, ["--format", "hits"]),
    ):
        output.unlink()
        row(f"{what}, {_mib(*given):.0f} MiB", run([*blocklist, *more, *map(str, given)]), output)


if __name__ == "__main__":
    main()
