"""`find` as a command: which sessions it prints, from which logs, and what hostile logs cannot do."""

import gzip
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command, Connected, Event, Online, TurnedAway
from smtppseudo.logread.search import Search, condition
from tests.clients import LIMIT_S
from tests.records import Stamped, parse, render_json, render_text
from tests.running import Servers, command, environment, not_on_windows, run

DAY = "2026-11-24"


def session(number: int, sender: str, *more: str, ip: str = "192.0.2.1", at: str = f"{DAY}T12:00:00") -> list[Stamped]:
    """Return the events of a session; each takes a millisecond."""
    lines = [("HELO Me", "250 Hello"), (f"MAIL FROM:<{sender}>", f"553 Sender {sender} is Invalid!")]
    lines += [(line, "250 Ok") for line in more]
    events: list[Event] = [Connected(25), *(Command(*line) for line in lines), Closed("quit", 5, 9, 9, len(lines))]
    place = (1, number, ip, 4000 + number)
    return [Stamped(0, f"{at}.{index:03d}Z", *place, event) for index, event in enumerate(events)]


ONE = session(1, "News@GF.example", "RCPT TO:<boss@here.example>")
TWO = session(2, "info@gf.example", 'VRFY "a b" \\x1b \\\\', ip="192.0.2.130", at=f"{DAY}T12:00:00")
THREE = session(3, "<>"[1:1], ip="2001:db8::7", at=f"{DAY}T13:00:00")
# The lines of the first two alternate.
LOG = sorted([*ONE, *TWO], key=lambda record: record.time) + THREE


def write(path: Path, records: Sequence[Stamped] = LOG, log_format: str = "text") -> Path:
    """Write a log, gzipped if its name says so."""
    path.parent.mkdir(exist_ok=True)
    data = "".join((render_json if log_format == "json" else render_text)(records)).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def found(*arguments: str, status: int = 0) -> list[int]:
    """Run `find`; return the sessions of the lines that it prints, without repetitions."""
    done = run("find", *arguments)
    assert done.returncode == status, done
    numbers = [parse(line).session for line in done.stdout.splitlines()]
    return [number for index, number in enumerate(numbers) if numbers[index - 1 : index] != [number]]


@pytest.mark.parametrize("name", ["text.log", "json.log", "json.log.gz"])
@pytest.mark.parametrize(
    ("words", "sessions"),
    [
        (["NEWS@gf.EXAMPLE"], [1]),
        (["gf.example"], [1, 2]),
        (['data="HELO me" code=250'], [1, 2, 3]),
        (['code=553 reply="Sender info'], [2]),
        (["\\x1b \\\\"], [2]),
        (["VRFY \\x22a b\\x22"], [2]),
        (["22a b"], [2]),
        (["connected slot=1 session=3"], [3]),
        ([".001Z command"], [1, 2, 3]),
        (["[12]"], []),
        (["", "--sender", "gf.example"], [1, 2]),
        (["--sender", "<>"], [3]),
        (["--sender", "boss"], []),
        (["--recipient", "BOSS@here"], [1]),
        (["hello", "--recipient", "here", "--sender", "news"], [1]),
        (["--recipient", "here", "--sender", "info"], []),
        (["--ip", "192.0.2.1"], [1]),
        (["--ip", "192.0.2.128/25"], [2]),
        (["--ip", "192.0.0.0/8"], [1, 2]),
        (["--ip", "::/0"], [3]),
        (["helo", "--ip", "2001:db8::/64"], [3]),
        (["helo", "--since", f"{DAY}T12:30:00Z"], [3]),
        (["helo", "--until", f"{DAY}T12:00:00.002Z"], [1, 2]),
        (["--sender", "gf", "--until", f"{DAY}T12:00:00.002Z"], []),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_whole_sessions_that_meet_all_conditions(
    tmp_path: Path, name: str, words: list[str], sessions: list[int]
) -> None:
    path = write(tmp_path / name, log_format=name[:4])
    words = words if words[0][:2] != "--" else ["", *words]
    assert found(*words, str(path), status=0 if sessions else 1) == sessions


def test_lines_are_those_of_the_log_and_a_log_again(tmp_path: Path) -> None:
    """The lines of a session stand together, in text or JSON, whatever the format of the log."""
    whole = {"text": "".join(render_text([*ONE, *TWO])), "json": "".join(render_json([*ONE, *TWO]))}
    for log_format in whole:
        path = str(write(tmp_path / f"{log_format}.log", log_format=log_format))
        assert run("find", "gf.example", path).stdout == whole["text"]
        assert run("find", "gf.example", path, "--json").stdout == whole["json"]


def test_sessions_of_several_servers_are_merged_by_time(tmp_path: Path) -> None:
    for number, (server, records) in enumerate([("b", ONE), ("a", THREE), ("c", TWO)]):
        write(tmp_path / server / f"{DAY}.log{'.gz' * (number % 2)}", records, "json" if number else "text")
    assert found("helo", *(str(tmp_path / server) for server in "abc")) == [1, 2, 3]


def test_log_without_text_is_no_text(tmp_path: Path) -> None:
    path = str(write(tmp_path / "log"))
    assert found("--sender", "news", path) == [1]
    assert found("--ip", "192.0.2.1", "boss", path) == [1]


@not_on_windows("systemd names no directories there")
def test_usual_logs_and_standard_input(servers: Servers, tmp_path: Path) -> None:
    server = servers.start({"log_format": "json"})
    server.play("EHLO there", "MAIL FROM:<a@b.example>")
    server.stop()
    done = run("find", "--sender", "a@b", LOGS_DIRECTORY=str(server.log_dir))
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["connected", *["command"] * 3, "closed"]
    path = write(tmp_path / "log.gz")
    for words in (["cat", str(path)], ["true"]):  # a pipe, and a file
        with subprocess.Popen(words, stdout=subprocess.PIPE) as pipe, path.open("rb") as file:
            stdin = pipe.stdout if words[0] == "cat" else file
            find = command("find", "boss", "-")
            output = subprocess.check_output(find, env=environment(), stdin=stdin, timeout=LIMIT_S, text=True)
        assert output == "".join(render_text(ONE))


@not_on_windows("it has no FIFO in a directory")
@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["nobody", "{}"], 1, "smtppseudo: no session matches\n"),
        ([], 2, "give TEXT, --ip, --sender or --recipient"),
        (["--ip", "192.0.2.300", "x"], 2, "192.0.2.300 is neither an address nor a network"),
        (["--since", "2026-11-02", "--until", "2026-11-01", "x", "{}"], 2, "is not after --since"),
        (["x", "{}.fifo"], 1, "log.fifo: a pipe cannot be read twice"),
        (["x", "{}/gone"], 1, "gone: Not a directory"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, words: list[str], status: int, complaint: str) -> None:
    path = write(tmp_path / "log")
    os.mkfifo(tmp_path / "log.fifo")
    done = run("find", *(word.format(path) for word in words))
    assert (done.returncode, done.stdout) == (status, "")
    assert complaint in done.stderr


def test_hostile_logs_hide_no_session_and_send_no_terminal_commands(tmp_path: Path) -> None:
    forged = f"{DAY}T12:00:00.000Z connected slot=1 session=1 ip=192.0.2.1 port=4001 local_port=25"
    hostile = [
        ONE[1:2][0]._replace(event=Command("\\x1b]0;x\\x07 session=3 ip=2001:db8::7 port=4003 boss", "500 No")),
    ]
    lines = [
        *render_text(hostile),
        *render_json(hostile),
        forged.replace("25", '25 note="\x1b[31m\r"') + "\n",
        render_json(ONE)[0].replace("25}", '25,"boss":"\\u001b[2J"}'),
        render_json(ONE)[0].replace("25}", f'25,"boss":{"[" * 50_000}1{"]" * 50_000}}}'),
        render_json(ONE)[0].replace('"192.0.2.1"', '"boss\\u001b[2J"'),
        render_text(ONE)[0].replace("192.0.2.1", "boss"),
        "boss \xff\u202e\0\n",
        "boss" * (1 << 20) + "\n",
        "\\" * (1 << 20) + "a\\x22" * 10_000 + "boss\n",
        f"{forged} boss" * 9_000 + "\n",
    ]
    path = tmp_path / "log"
    path.write_bytes("".join([*render_text(ONE), *lines, *render_text(TWO)]).encode())
    bad = tmp_path / "bad.gz"
    bad.write_bytes(gzip.compress(path.read_bytes())[:-9] + b"\x1b[31m")
    for words in (["boss"], ["boss", "--json"], ["--ip", "192.0.2.1", ""], ["boss", "--recipient", "boss"]):
        done = run("find", *words, str(path), str(bad))
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "truncated" in done.stderr or "damaged" in done.stderr
        assert re.fullmatch(r"[ -~\n]+", done.stdout)
        assert {parse(line).session for line in done.stdout.splitlines()} == {1}
    assert found("a b", str(path)) == [2]


def blocks(*sessions: list[Stamped]) -> list[bytes]:
    """Return one block for each session."""
    return ["".join(render_text(records)).encode() for records in sessions]


def test_too_many_sessions() -> None:
    """One condition that few sessions meet is enough; the others are tested in the second pass."""
    log = blocks(ONE, TWO, THREE)
    many, few = condition("", lambda row, line: True), condition("gf", lambda row, line: b"info" in line)
    none = condition("", lambda row, line: row[3] == "2001:db8::7")
    for conditions, sessions in (([many, few], [2]), ([few, none], []), ([few], [2])):
        search = Search(conditions, keys_max=1)
        for block in log:
            search.note(block)
        assert not search.is_too_wide
        assert [parse(lines[0].decode()).session for lines in search.sessions([log])] == sessions
    search = Search([many], keys_max=1)
    for block in log:
        search.note(block)
    assert search.is_too_wide


def test_memory_is_bounded_without_ends_of_sessions() -> None:
    """A session that never ends is printed in parts."""
    lines = "".join(render_text([ONE[1]])).encode() * 1_000
    search = Search([condition("helo", lambda row, line: True)])
    search.note(lines)
    parts = list(search.sessions([[lines] * 100]))
    assert sum(map(len, parts)) == 100_000
    assert 1 < len(parts) < 10


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_callers_that_were_turned_away_are_found(tmp_path: Path, log_format: str) -> None:
    """They have no session; their lines stand alone."""
    slots, client = TurnedAway("slots", 3), TurnedAway("client", 3)
    away = [
        Stamped(0, f"{DAY}T{hour}:00:00.000Z", 0, 0, ip, 0, event)
        for hour, ip, event in (
            (11, "192.0.2.9", slots), (12, "192.0.2.9", client), (12, "192.0.2.8", slots), (14, "", slots)
        )
    ]  # fmt: skip
    path = str(write(tmp_path / "log", sorted([*LOG, *away], key=lambda record: record.time), log_format))
    lines = render_text(away)
    for words, shown in (
        (["--ip", "192.0.2.9"], lines[:2]),
        (["192.0.2.9", "--since", f"{DAY}T11:30:00Z"], lines[1:2]),
        (["reason=SLOTS"], [lines[0], *lines[2:]]),
        (["slots", "--ip", "192.0.2.9"], lines[:1]),
    ):
        assert run("find", *words, path).stdout == "".join(shown)
    assert run("find", "--ip", "192.0.2.9", "--json", path).stdout == "".join(render_json(away[:2]))
    assert set(found("--ip", "192.0.2.0/24", path)) == {0, 1, 2}


def test_lines_about_no_caller_are_no_session(tmp_path: Path) -> None:
    record = Stamped(0, f"{DAY}T12:00:00.000Z", 0, 0, "", 0, Online("slots"))
    assert found("slots", str(write(tmp_path / "log", [record])), status=1) == []
