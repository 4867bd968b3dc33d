"""`demo` as a process: its output, and that no file or process is left after any end."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.demo.week import SPAMMER
from smtppseudo.events import Connected, Error
from tests.clients import LIMIT_S, wait_until
from tests.records import parse
from tests.running import command, environment, limited_to

DEMO = ("demo", "--no-screen")


class Demo:
    """A demo with its own directory for temporary files, by which its processes are found, too."""

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
        """Read lines until one matches; return all lines read."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if re.search(pattern, line):
                return lines
        raise AssertionError(f"ended without {pattern!r}: {self.end()}")

    def end(self) -> tuple[int, str]:
        """Wait until it ends; return its exit status and its standard error without what it prints first."""
        _, stderr = self.process.communicate(timeout=LIMIT_S)
        usual = re.match(
            r"While it runs, try:\n(?:.+ (?:report|find|block\w*) .+\n)+"
            r"smtppseudo: SMTP on 127\.0\.0\.1 port \d+, monitors on port \d+; Ctrl-C ends it\n",
            stderr,
        )
        assert usual, stderr
        return self.process.returncode, stderr[usual.end() :]

    @property
    def server_pid(self) -> int:
        """The process of its server."""
        (pid,) = processes_of(self.temporary)
        return pid


def processes_of(temporary: Path) -> list[int]:
    """Return the processes, without zombies, that have this directory in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue  # it has ended in the meantime
        if os.fsencode(temporary) in words:
            found.append(int(path.parent.name))
    return found


def is_clean(temporary: Path) -> bool:
    """Return whether no file and no process is left."""
    return not list(temporary.iterdir()) and not processes_of(temporary)


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """A directory for temporary files. Processes that a failed test left are killed."""
    yield tmp_path
    for pid in processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def demo(temporary: Path) -> Iterator[Demo]:
    """A demo with its first caller."""
    demo = Demo(temporary)
    try:
        demo.wait_for(" connected ")
        yield demo
    finally:
        demo.process.kill()
        demo.process.communicate()


def test_it_shows_callers_from_several_addresses_and_ends_after_the_given_time(temporary: Path) -> None:
    demo = Demo(temporary, "--seconds", "4")
    stdout, stderr = demo.process.communicate(timeout=LIMIT_S)
    assert demo.process.returncode == 0, stderr
    assert "ended" not in stderr
    records = [parse(line) for line in stdout.splitlines()]
    assert len({record.ip for record in records if isinstance(record.event, Connected)}) > 2
    assert [record.event for record in records if isinstance(record.event, Error)] == []
    assert is_clean(temporary)


def test_every_command_that_it_prints_works_while_it_runs(demo: Demo) -> None:
    assert demo.process.stderr is not None
    assert demo.process.stderr.readline() == "While it runs, try:\n"
    printed = []
    while not (line := demo.process.stderr.readline()).startswith("smtppseudo: SMTP on"):
        done = subprocess.run(
            line, shell=True, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), line
        printed.append(done.stdout)
    report, page, sessions, block_list, block, blocked = printed
    assert re.search(r"^mails refused   1,\d\d\d$", report, re.MULTILINE)
    assert page == ""
    (written,) = demo.temporary.glob("*/week.html")
    assert "<svg" in written.read_text()
    assert sessions.count(" connected ") == sessions.count("MAIL FROM:<newsletter@shop.test>") > 2
    assert len(block_list.splitlines()) > 5
    assert re.match(rf"{SPAMMER} is blocked until ", block)
    assert re.match(rf"{SPAMMER} .* calls too often$", blocked)
    assert f"{SPAMMER}  " in report
    demo.process.terminate()
    demo.process.communicate(timeout=LIMIT_S)
    assert is_clean(demo.temporary)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(demo: Demo, number: signal.Signals) -> None:
    demo.process.send_signal(number)
    assert demo.end() == (128 + number, "")
    assert is_clean(demo.temporary)


def test_a_second_signal_does_not_interrupt_the_removal(demo: Demo) -> None:
    os.kill(demo.server_pid, signal.SIGSTOP)  # so that the end takes some time
    demo.process.terminate()
    threads = Path(f"/proc/{demo.process.pid}/task")
    wait_until(lambda: len(list(threads.iterdir())) == 1, "the end of the callers")
    demo.process.send_signal(signal.SIGINT)
    assert demo.end() == (128 + signal.SIGTERM, "")
    assert is_clean(demo.temporary)


def test_a_killed_demo_leaves_nothing(demo: Demo) -> None:
    demo.process.kill()
    demo.process.wait()
    wait_until(lambda: is_clean(demo.temporary), "nothing left")


def test_a_killed_demo_leaves_nothing_even_if_its_server_hangs(demo: Demo) -> None:
    os.kill(demo.server_pid, signal.SIGSTOP)
    demo.process.kill()
    demo.process.wait()
    (directory,) = demo.temporary.iterdir()
    assert Demo(demo.temporary, "--seconds", "0.1").end() == (0, "")
    assert list(demo.temporary.iterdir()) == [directory]  # later runs keep a directory that is in use
    os.kill(demo.server_pid, signal.SIGCONT)
    wait_until(lambda: is_clean(demo.temporary), "nothing left")


def test_the_server_gets_no_signals_from_the_terminal(demo: Demo) -> None:
    assert os.getsid(demo.server_pid) != os.getsid(demo.process.pid)


def test_the_next_run_removes_the_directory_if_all_processes_were_killed(demo: Demo) -> None:
    os.kill(demo.server_pid, signal.SIGSTOP)  # so that it cannot react before it is killed
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


def test_a_closed_standard_output_ends_it(demo: Demo) -> None:
    assert demo.process.stdout is not None
    demo.process.stdout.close()
    demo.process.stdout = None
    assert demo.end() == (0, "")
    assert is_clean(demo.temporary)


def test_the_end_of_its_server_is_reported(demo: Demo) -> None:
    os.kill(demo.server_pid, signal.SIGKILL)
    status, complaints = demo.end()
    assert status == 1
    assert re.fullmatch(r"smtppseudo: the demo's server has ended: .*\n", complaints)
    assert is_clean(demo.temporary)


def test_one_slot_is_enough(temporary: Path) -> None:
    demo = Demo(temporary, "--slots", "1")
    demo.wait_for(" turned_away .* reason=slots")
    demo.process.terminate()
    demo.end()


def run(temporary: Path, *arguments: str, prefix: list[str] | None = None) -> tuple[int, str]:
    """Run a demo that fails; return its exit status and the one line on its standard error."""
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


def test_without_a_terminal_the_error_names_the_option(temporary: Path) -> None:
    status, line = run(temporary, "demo")
    assert status == 2
    assert "terminal" in line
    assert "--no-screen" in line


def test_the_error_says_why_the_server_did_not_start(temporary: Path) -> None:
    status, line = run(temporary, *DEMO, prefix=limited_to("RLIMIT_NOFILE", 60))
    assert status == 78
    assert line.startswith("smtppseudo: the demo's server did not start: slots = 25 needs 113 open files")


def test_without_room_for_its_files_nothing_is_left(temporary: Path) -> None:
    status, line = run(temporary, *DEMO, prefix=limited_to("RLIMIT_FSIZE", 100_000))
    assert status == 1
    assert line.startswith("smtppseudo: cannot write the demo's files: [Errno 27] File too large")
    assert line.endswith("; set TMPDIR to another place")


def test_invalid_slots_are_an_error(temporary: Path) -> None:
    status, line = run(temporary, *DEMO, "--slots", "0")
    assert (status, line) == (78, "smtppseudo: slots must be a whole number from 1 to 60000")


def test_nothing_is_imported_from_the_current_directory(
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
