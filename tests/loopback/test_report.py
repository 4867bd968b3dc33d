"""`report` as a command: the logs that it reads, its tables, and its errors."""

import gzip
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command, Connected
from smtppseudo.files import SYSTEM_LOGS
from tests.clients import LIMIT_S
from tests.records import Stamped, render_json, render_text
from tests.running import Servers, command, environment, has_mode, not_on_windows, run


def session(ip: str, time: str) -> list[Stamped]:
    """Return the events of a session."""
    events = (Connected(25), Command("HELO me", "250 Hello"), Closed("quit", 1500, 9, 9, 1))
    return [Stamped(0, time, 1, 1, ip, 4000, event) for event in events]


def write_day(directory: Path, day: str, ip: str) -> Path:
    """Write the log of a day with one session at noon."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{day}.log"
    path.write_text("".join(render_text(session(ip, f"{day}T12:00:00.000Z"))))
    return path


def found(*arguments: str, **env: str) -> dict[str, object]:
    """Run `report --json`; return its output."""
    done = run("report", "--json", *arguments, **env)
    assert (done.returncode, done.stderr) == (0, "")
    report: dict[str, object] = json.loads(done.stdout)
    return report


def test_report_of_a_servers_log(servers: Servers) -> None:
    for log_format in ("text", "json"):
        server = servers.start({"log_format": log_format})
        server.play("EHLO there", "MAIL FROM:<a@b.example>")
        server.stop()
        report = run("report", str(server.log_dir))
        assert (report.returncode, report.stderr) == (0, "")
        for line in ("connections     1", "HELO names", "Sender domains"):
            assert line in report.stdout.splitlines()
        assert "damaged" not in report.stdout
        assert re.search(r"^  1 100.0%  b\.example  #+$", report.stdout.replace("█", "#"), re.MULTILINE)


@not_on_windows("systemd names no directories there")
def test_log_directory_is_read_if_no_log_is_named(tmp_path: Path) -> None:
    write_day(tmp_path / "log", "2026-11-24", "192.0.2.1")
    assert found(LOGS_DIRECTORY=str(tmp_path / "log"))["connected"] == 1
    (tmp_path / "settings").write_text(f'log_dir = "{tmp_path}/log"\n')
    assert found("--config", str(tmp_path / "settings"))["connected"] == 1


def test_files_directories_and_standard_input_can_be_mixed(tmp_path: Path) -> None:
    write_day(tmp_path / "one", "2026-11-24", "192.0.2.1")
    packed = tmp_path / "two.gz"
    packed.write_bytes(gzip.compress("".join(render_json(session("192.0.2.2", "2026-11-24T12:00:00.000Z"))).encode()))
    done = subprocess.run(
        command("report", "--json", str(tmp_path / "one"), str(packed), "-"),
        env=environment(),
        input=packed.read_bytes(),
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert json.loads(done.stdout)["by"]["address"]["top"] == [
        {"value": "192.0.2.2", "count": 2},
        {"value": "192.0.2.1", "count": 1},
    ]


@pytest.mark.parametrize(
    ("period", "days"),
    [
        ([], 4),
        (["--since", "2026-11-23"], 2),
        (["--until", "2026-11-23"], 2),
        (["--since", "2026-11-22T12:00:00Z", "--until", "2026-11-24T12:00:00Z"], 2),
        (["--since", "2026-11-22T12:00:00.001Z", "--until", "2026-11-24T14:00:01+02:00"], 2),
        (["--since", "99999d"], 4),
    ],
)
def test_report_of_a_period(tmp_path: Path, period: list[str], days: int) -> None:
    for day in range(21, 25):
        write_day(tmp_path / "log", f"2026-11-{day}", f"192.0.2.{day}")
    assert found("--utc", *period, str(tmp_path / "log"))["connected"] == days


@not_on_windows("TZ means something else there")
def test_date_is_local_time(tmp_path: Path) -> None:
    write_day(tmp_path / "log", "2026-11-24", "192.0.2.1")  # at noon, 20:00 in the zone
    logs = str(tmp_path / "log")
    assert found("--since", "2026-11-24T20:00", logs, TZ="EAST-8")["connected"] == 1
    assert found("--since", "2026-11-24T20:01", logs, TZ="EAST-8")["connected"] == 0
    report = run("report", "--by", "hour", logs, TZ="EAST-8").stdout
    assert "Hours of the day (local time, now +0800)" in report
    assert [line.split()[2] for line in report.splitlines() if "100.0%" in line] == ["20"]
    assert [
        line.split()[2]
        for line in run("report", "--by", "hour", "--utc", logs, TZ="EAST-8").stdout.splitlines()
        if "100.0%" in line
    ] == ["12"]


def test_by_option_selects_the_tables(tmp_path: Path) -> None:
    logs = str(write_day(tmp_path / "log", "2026-11-24", "192.0.2.1"))
    by = found("--by", "sender,day", "--by", "verb", logs)["by"]
    assert isinstance(by, dict)
    assert list(by) == ["sender", "day", "verb"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--since", "soon"], "soon is not a time such as 7d (ago), yesterday, 2026-11-01 or 2026-11-01T12:00:00Z"),
        (["--since", "999999w"], "999999w is not a time such as"),
        (["--since", "0d"], "0d is not a time such as"),
        (["--until", "2026-02-30"], "2026-02-30 is not a time such as"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], "is not after --since"),
        (["--by", "colour"], "colour is not one of address, network"),
        (["--top", "0"], "0 is not a number of rows: 1 to 10000"),
    ],
)
def test_invalid_options_are_one_line(arguments: list[str], complaint: str) -> None:
    done = run("report", *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr


@not_on_windows("systemd names no directories there")
def test_missing_logs_are_one_line_with_advice(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "settings").write_text('log_dir = "-"\n')
    for arguments, complaint in (
        ([str(empty)], f"no logs (such as 2026-11-24.log) in {empty}; name the logs or their directory"),
        (["--config", str(tmp_path / "settings")], "journalctl -u smtppseudo -o cat | smtppseudo report -"),
    ):
        done = run("report", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert complaint in done.stderr
    if SYSTEM_LOGS.is_dir():
        pytest.skip("this machine has a service, whose logs are reported then")
    done = run("report", LOGS_DIRECTORY=str(tmp_path / "gone"))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path / 'gone'}: no such directory" in done.stderr


def test_period_without_logs_names_the_existing_days(tmp_path: Path) -> None:
    for day in ("2026-11-23", "2026-11-24"):
        write_day(tmp_path / "log", day, "192.0.2.1")
    done = run("report", "--since", "2027-01-01", str(tmp_path / "log"))
    assert done.returncode == 1
    assert done.stderr.endswith("; there are logs from 2026-11-23 to 2026-11-24\n")


def test_unreadable_logs_are_named_beside_the_report(tmp_path: Path) -> None:
    there = write_day(tmp_path / "log", "2026-11-24", "192.0.2.1")
    done = run("report", str(tmp_path / "gone.log"), str(there))
    assert done.returncode == 1
    assert done.stderr == f"smtppseudo: {tmp_path / 'gone.log'}: No such file or directory\n"
    assert "connections     1" in done.stdout


def test_the_period_before_is_compared(tmp_path: Path) -> None:
    for day, count in ((20, 4), (21, 2), (22, 3), (23, 6)):
        for number in range(count):
            write_day(tmp_path / f"{number}", f"2026-11-{day}", "192.0.2.1")
    logs = [str(tmp_path / f"{number}") for number in range(6)]
    period = ["--utc", "--since", "2026-11-22", "--until", "2026-11-24"]
    lines = run("report", *period, *logs).stdout.splitlines()
    assert "compared with   2026-11-20 12:00:00 +0000 to 2026-11-21 12:00:00 +0000" in lines
    assert "connections     9, +50 %" in lines
    before = found(*period, *logs)["before"]
    assert isinstance(before, dict)
    assert (before["connected"], before["first"]) == (6, "2026-11-20T12:00:00.000Z")
    assert found(*logs)["before"] is None
    assert found(*logs, "--since", "2026-11-21")["before"] is None  # there are no logs of its first quarter


def test_a_page_replaces_the_file_whole(tmp_path: Path) -> None:
    logs = str(write_day(tmp_path / "log", "2026-11-24", "192.0.2.1"))
    path = tmp_path / "page.html"
    for mode in (0o600, 0o644):
        done = run("report", "--html", str(path), logs)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert path.read_text().endswith("</html>\n")
        assert has_mode(path, mode)
        path.chmod(0o644)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log", "page.html"]
    for bad in (str(tmp_path), str(tmp_path / "missing/page.html"), "/dev/stdout"):
        done = run("report", "--html", bad, logs)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(r"smtppseudo: .+; --html must be a file that this user can replace\n", done.stderr)


def test_log_cannot_send_terminal_commands(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-24.log"
    line = render_text(session("192.0.2.1", "2026-11-24T12:00:00.000Z"))[1]
    edited = [
        line,
        line.replace("me", "\x1b[31m"),
        line.replace("192.0.2.1", "\x1b]0;x\x07"),
        line.replace("me", "\u202e"),
    ]
    edited.append(render_json(session("192.0.2.1", "2026-11-24T12:00:00.000Z"))[0].replace("192.0.2.1", "\\u001b[2J"))
    path.write_text("".join(edited))
    done = run("report", "--by", "address,helo,verb", str(path))
    assert "log lines       5, 3 damaged, left out" in done.stdout  # and one is escaped
    assert re.fullmatch(r"[ -~\n█]*", done.stdout)


def on_a_terminal(*arguments: str, columns: int = 100) -> tuple[str, str]:
    """Run a command with its output and errors on terminals; return both."""
    streams = [pytest.importorskip("pty").openpty() for _ in range(2)]
    try:
        for _, terminal in streams:
            os.set_blocking(terminal, True)
        process = subprocess.Popen(
            command(*arguments),
            env=environment(COLUMNS=str(columns)),
            stdout=streams[0][1],
            stderr=streams[1][1],
        )
        os.close(streams[0][1])
        os.close(streams[1][1])
        texts = []
        for master, _ in streams:
            data = b""
            try:
                while piece := os.read(master, 65_536):
                    data += piece
            except OSError:  # how Linux says that nobody has the other side any more
                pass
            texts.append(data.decode().replace("\r\n", "\n"))
        assert process.wait(LIMIT_S) == 0
    finally:
        for master, _ in streams:
            os.close(master)
    return texts[0], texts[1]


def test_tables_fit_the_terminals_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    logs = str(write_day(tmp_path / "log", "2026-11-24", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"))
    for columns in (40, 60, 120):
        report, complaints = on_a_terminal("report", logs, columns=columns)
        assert "\x1b[34m█" in report
        assert max(map(len, re.sub(r"\x1b\[\d+m", "", report).splitlines())) <= columns
        assert complaints == ""


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_it_is_not_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    report, _ = on_a_terminal("report", str(write_day(tmp_path / "log", "2026-11-24", "192.0.2.1")))
    assert "█" in report
    assert "\x1b" not in report


def test_long_input_shows_progress_on_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-24.log"
    lines = "".join(render_text(session("192.0.2.1", "2026-11-24T12:00:00.000Z"))) * 1000
    with path.open("w") as file:
        for _ in range((80 << 20) // len(lines)):
            file.write(lines)
    report, progress = on_a_terminal("report", str(path))
    assert "connections" in report
    assert re.match(r"\rsmtppseudo: read \d+ of \d+ MiB, \d+% ", progress)
    assert progress.endswith("\r\x1b[K")
    assert run("report", str(path)).stderr == ""
