"""Measure `report` and `find` on long logs: their CPU time beside that of `grep -c`, and their memory.

    python -m tests.bench.logs [--bytes 1073741824] [--rounds 5] [--keep DIR]

The logs are made up, of a busy month: some callers come again and again, most once; senders are nearly all
different; one session in ten sends bytes that are escaped. `find` looks for a text of few sessions, and for one of
some 50,000. `grep -c connected` and each command take turns on a file that is in the kernel's cache. Only the ratio
compares from one day to another.
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from smtppseudo.events import Closed, Command, Connected, Event, TurnedAway
from tests.records import Stamped, render_json, render_text
from tests.running import command, environment

_START_MS = 1_793_491_200_000  # 2026-11-01
_LINE_BYTES = 150
_MONTH_MS = 30 * 86_400_000
_COMMANDS = (["report"], ["find", "user123456"], ["find", "@domain5.example"])
_RENDER: dict[str, Callable[[list[Stamped]], list[str]]] = {"text": render_text, "json": render_json}


def visits(data: int) -> Iterator[list[Stamped]]:
    """Yield the events of invented sessions, for about `data` bytes of log."""
    dice = random.Random(5)
    sessions = data // (5 * _LINE_BYTES)
    step_ms = _MONTH_MS / sessions
    regulars = [_address(dice) for _ in range(2_000)]
    for number in range(1, sessions + 1):
        ip = regulars[int(dice.paretovariate(0.6)) % 2_000] if dice.random() < 0.6 else _address(dice)
        at_ms = _START_MS + int(number * step_ms)
        slot, port = dice.randrange(1, 26), dice.randrange(1_024, 65_536)
        events = _dialogue(dice, ip)
        place = (slot, number, ip, port) if len(events) > 1 else (0, 0, ip, 0)  # one event: turned away
        yield [Stamped(0, _stamp(at_ms + index), *place, event) for index, event in enumerate(events)]


def _address(dice: random.Random) -> str:
    if dice.random() < 0.05:
        return f"2001:db8:{dice.randrange(200):x}:{dice.randrange(1 << 16):x}::{dice.randrange(1, 1 << 16):x}"
    return f"{dice.randrange(1, 224)}.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(1, 255)}"


def _dialogue(dice: random.Random, ip: str) -> list[Event]:
    if dice.random() < 0.02:
        return [TurnedAway("client", dice.randrange(1, 9))]
    host = f"mail{int(dice.paretovariate(0.5) % 100_000)}.example.net"
    sender = f"<user{dice.randrange(1 << 24)}@domain{int(dice.paretovariate(0.5) % 1_000_000)}.example>"
    commands: list[Event] = [
        Command("EHLO " + host, "250 Hello " + host + " from " + ip + ", pleased to meet you."),
        Command("MAIL FROM:" + sender, "553 Sender " + sender + " is Invalid!"),
        Command("QUIT", "221 Server Disconnecting"),
    ]
    if dice.random() < 0.1:
        commands[0] = Command('\\x16\\x03\\x01 "=\\\\' + host, "500 Command unrecognized: ???")
    return [Connected(25), *commands, Closed("quit", int(dice.expovariate(1e-4)), 80, 200, 3, 1)]


def _stamp(at_ms: int) -> str:
    second, ms = divmod(at_ms, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{ms:03d}Z"


def write(path: Path, log_format: str, wanted: int) -> int:
    """Write a log of at least `wanted` bytes; return its size."""
    written = 0
    with path.open("w", encoding="ascii") as file:
        for records in visits(wanted):
            written += file.write("".join(_RENDER[log_format](records)))
            if written >= wanted:
                break
    return written


def run(words: list[str]) -> tuple[float, float]:
    """Run a command; return its CPU seconds and its peak memory in MiB."""
    # Not /dev/null, because grep stops at the first line then.
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    while process.stdout.read(1 << 16):
        pass  # not all at once: a child begins with the peak memory of its parent
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words[0]} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(words: list[str], path: Path, rounds: int) -> tuple[float, float, float, float]:
    """Run both in turns; return the medians of their seconds and of their ratio, and the peak MiB of the command."""
    grep, measured = ["grep", "-c", "connected", str(path)], command(*words, str(path))
    run(grep)  # the file is in the cache then
    turns = [(run(grep)[0], *run(measured)) for _ in range(rounds)]
    ratio = statistics.median(ours / theirs for theirs, ours, _ in turns)
    theirs, ours = (statistics.median(turn[index] for turn in turns) for index in (0, 1))
    return theirs, ours, ratio, max(turn[2] for turn in turns)


def main() -> None:
    """Measure both formats and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=1 << 30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the logs here for the next time")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(exist_ok=True)
        print("| command | log | MiB | grep -c, CPU s | command, CPU s | ratio | MiB of memory |")
        print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
        for log_format in _RENDER:
            path = directory / f"{log_format}.log"
            size = path.stat().st_size if path.exists() else write(path, log_format, options.bytes)
            for words in _COMMANDS:
                theirs, ours, ratio, memory = compare(words, path, options.rounds)
                row = (f"{size >> 20}", f"{theirs:.2f}", f"{ours:.1f}", f"{ratio:.0f}", f"{memory:.0f}")
                print(f"| {' '.join(words)} | {log_format} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
