"""`demo` as a process: what it shows, and that nothing of it is left, however it ends."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.events import Connected, Error
from smtppseudo.log.records import parse
from tests.clients import LIMIT_S, wait_until
from tests.running import command, environment, limited_to

DEMO = ("demo", "--no-screen")


class Demo:
    """A demo whose temporary files go to a directory of its own, which is how its processes are told, too."""

    def __init__(self, temporary: Path, *arguments: str) -> None:
        self.temporary = temporary
        self.process = subprocess.Popen(
            command(*DEMO, *arguments),
            env=environment(TMPDIR=str(temporary)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, pattern: str) -> list[str]:
        """Read events until one is like this; return all that were read."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if re.search(pattern, line):
                return lines
        raise AssertionError(f"ended without {pattern!r}: {self.end()}")

    def end(self) -> tuple[int, str]:
        """Wait until it ends; return its exit status and what it complained of, where it listened left out."""
        _, stderr = self.process.communicate(timeout=LIMIT_S)
        listens, _, complaints = stderr.partition("\n")
        assert re.fullmatch(r"smtppseudo: SMTP on 127\.0\.0\.1 port \d+, monitors on port \d+; Ctrl-C ends it", listens)
        return self.process.returncode, complaints

    @property
    def server_pid(self) -> int:
        """The process of its server."""
        (pid,) = processes_of(self.temporary)
        return pid


def processes_of(temporary: Path) -> list[int]:
    """Return all processes, zombies left out, that have a directory of temporary files in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if os.fsencode(temporary) in words:
            found.append(int(path.parent.name))
    return found


def is_clean(temporary: Path) -> bool:
    """Whether neither files nor processes are left."""
    return not list(temporary.iterdir()) and not processes_of(temporary)


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """A directory for temporary files; what a failed test left running is ended."""
    yield tmp_path
    for pid in processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def demo(temporary: Path) -> Iterator[Demo]:
    """A demo that has its first visitor."""
    demo = Demo(temporary)
    try:
        demo.wait_for(" connected ")
        yield demo
    finally:
        demo.process.kill()
        demo.process.communicate()


def test_it_shows_visitors_from_several_addresses_and_ends_by_itself(temporary: Path) -> None:
    demo = Demo(temporary, "--seconds", "4")
    stdout, stderr = demo.process.communicate(timeout=LIMIT_S)
    assert demo.process.returncode == 0, stderr
    assert len(stderr.splitlines()) == 1, stderr
    records = [parse(line) for line in stdout.splitlines()]
    assert len({record.ip for record in records if isinstance(record.event, Connected)}) > 2
    assert [record.event for record in records if isinstance(record.event, Error)] == []
    assert is_clean(temporary)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(demo: Demo, number: signal.Signals) -> None:
    demo.process.send_signal(number)
    assert demo.end() == (128 + number, "")
    assert is_clean(demo.temporary)


def test_a_second_signal_does_not_cut_the_tidying_short(demo: Demo) -> None:
    os.kill(demo.server_pid, signal.SIGSTOP)  # so that it takes its time
    demo.process.terminate()
    threads = Path(f"/proc/{demo.process.pid}/task")
    wait_until(lambda: len(list(threads.iterdir())) == 1, "the end of the visitors")
    demo.process.send_signal(signal.SIGINT)
    assert demo.end() == (128 + signal.SIGTERM, "")
    assert is_clean(demo.temporary)


def test_killed_it_leaves_nothing_either(demo: Demo) -> None:
    demo.process.kill()
    demo.process.wait()
    wait_until(lambda: is_clean(demo.temporary), "nothing left")


def test_killed_it_leaves_nothing_even_if_its_server_hangs(demo: Demo) -> None:
    os.kill(demo.server_pid, signal.SIGSTOP)
    demo.process.kill()
    demo.process.wait()
    (directory,) = demo.temporary.iterdir()
    assert Demo(demo.temporary, "--seconds", "0.1").end() == (0, "")
    assert list(demo.temporary.iterdir()) == [directory]  # as long as it is in use, later runs leave it alone
    os.kill(demo.server_pid, signal.SIGCONT)
    wait_until(lambda: is_clean(demo.temporary), "nothing left")


def test_what_is_typed_on_the_terminal_is_not_for_its_server(demo: Demo) -> None:
    assert os.getsid(demo.server_pid) != os.getsid(demo.process.pid)


def test_what_is_left_when_all_was_killed_goes_with_the_next_run(demo: Demo) -> None:
    os.kill(demo.server_pid, signal.SIGSTOP)  # so that it sees nothing before it is killed
    pid = demo.server_pid
    demo.process.kill()
    demo.process.wait()
    (left,) = demo.temporary.iterdir()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_of(demo.temporary), "the server's end")
    assert (left / "state" / "cookie").exists()
    following = Demo(demo.temporary, "--seconds", "0.1")
    assert following.end() == (0, "")
    assert is_clean(demo.temporary)


def test_whoever_reads_the_events_may_leave(demo: Demo) -> None:
    assert demo.process.stdout is not None
    demo.process.stdout.close()
    demo.process.stdout = None
    assert demo.end() == (0, "")
    assert is_clean(demo.temporary)


def test_the_end_of_its_server_is_said(demo: Demo) -> None:
    os.kill(demo.server_pid, signal.SIGKILL)
    status, complaints = demo.end()
    assert status == 1
    assert re.fullmatch(r"smtppseudo: the demo's server has ended: .*\n", complaints)
    assert is_clean(demo.temporary)


def test_slots_may_be_few(temporary: Path) -> None:
    demo = Demo(temporary, "--slots", "1")
    demo.wait_for(" turned_away .* reason=slots")
    demo.process.terminate()
    demo.end()


def run(temporary: Path, *arguments: str, prefix: list[str] | None = None) -> tuple[int, str]:
    """Run a demo that ends by itself; return its exit status and the one line that it must say."""
    done = subprocess.run(
        command(*arguments, prefix=prefix or []),
        env=environment(TMPDIR=str(temporary)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert is_clean(temporary)
    return done.returncode, line


def test_without_a_terminal_it_says_what_to_do(temporary: Path) -> None:
    status, line = run(temporary, "demo")
    assert status == 2
    assert "terminal" in line
    assert "--no-screen" in line


def test_a_server_that_cannot_start_says_why(temporary: Path) -> None:
    status, line = run(temporary, *DEMO, prefix=limited_to("RLIMIT_NOFILE", 60))
    assert status == 78
    assert line.startswith("smtppseudo: the demo's server did not start: slots = 25 needs 113 open files")


def test_slots_that_cannot_be(temporary: Path) -> None:
    status, line = run(temporary, *DEMO, "--slots", "0")
    assert (status, line) == (78, "smtppseudo: slots must be a whole number from 1 to 60000")


def test_what_lies_in_the_current_directory_is_not_loaded(
    temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("elsewhere")
    for name in ("socket.py", "random.py", "selectors.py"):
        (directory / name).write_text("raise SystemExit('loaded')\n")
    code = "import sys; from smtppseudo.cli import main; sys.exit(main())"
    done = subprocess.run(
        [*command()[:1], "-P", "-c", code, *DEMO, "--seconds", "0.1"],
        env=environment(TMPDIR=str(temporary)),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
