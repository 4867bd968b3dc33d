"""`blocklist`: lists and explanations from logs, and lists that it refuses to write."""

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command, Connected, Event
from smtppseudo.logread.logs import instant
from tests.records import Stamped, render_json, render_text
from tests.running import has_mode, not_on_windows, run

A, B, C = "20.1.1.1", "20.1.1.2", "2a01:4f8:1:2::25"
NOW = datetime.now(UTC)
MAIL = Command("MAIL FROM:<a@b>", "553 Sender <a@b> is Invalid!")


def session(ip: str, ago: timedelta, number: int, *commands: Event) -> list[Stamped]:
    """Return the records of one session."""
    time = instant(NOW - ago)
    events: tuple[Event, ...] = (Connected(25), *commands, Closed("quit", 1, 2, 3, len(commands)))
    return [Stamped(0, time, 1, number, ip, 40_000, event) for event in events]


def hits(ip: str, *days_ago: float, data: str = "MAIL FROM:<a@b>") -> list[Stamped]:
    """Return the records of sessions with one command each."""
    return [
        record
        for number, days in enumerate(days_ago, 1)
        for record in session(ip, timedelta(days=days), number, Command(data, "553 no"))
    ]


def write(path: Path, records: Iterable[Stamped], *, as_json: bool = False) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join((render_json if as_json else render_text)(records)))
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in which A and C have three hits within a month, B has two."""
    (tmp_path / "empty.toml").touch()
    records = [*hits(A, 20, 9, 1), *hits(B, 3, 2), *hits(C, 3, 2, 1), *hits("192.168.1.1", 3, 2, 1)]
    return write(tmp_path / "logs" / "mx.log", records)


def blocklist(log: Path, *arguments: str) -> tuple[int, str, str]:
    done = run("blocklist", "--config", str(log.parent.parent / "empty.toml"), str(log), *arguments)
    return done.returncode, done.stdout, done.stderr


def test_list_is_checked(log: Path) -> None:
    assert blocklist(log) == (0, f"{A}\n2a01:4f8:1:2::/64\n", "")


def test_policy_options_override_the_default(log: Path) -> None:
    assert blocklist(log, "--min-hits", "2") == (0, f"{A}\n{B}\n2a01:4f8:1:2::/64\n", "")
    assert blocklist(log, "--window", "4d") == (0, "2a01:4f8:1:2::/64\n", "")
    assert blocklist(log, "--expire", "12h")[0] == 1
    assert blocklist(log, "--min-hits", "2", "--expire", "36h") == (0, f"{A}\n2a01:4f8:1:2::/64\n", "")
    assert blocklist(log, "--never", A) == (0, "2a01:4f8:1:2::/64\n", "")
    assert blocklist(log, "--never", "2a01::/16", "--never", "20.1.1.0/31")[0] == 1
    (log.parent / "never").write_text(f"{A} # a friend\n")
    assert blocklist(log, "--never", str(log.parent / "never")) == (0, "2a01:4f8:1:2::/64\n", "")


def test_evidence_option_overrides_the_default(log: Path) -> None:
    write(log, [*hits(A, 1, 1, 1, data="MAIL FROM:<>"), *hits(B, 1, 1, 1, data="AUTH LOGIN [redacted]")])
    assert blocklist(log) == (0, f"{B}\n", "")
    assert blocklist(log, "--evidence", "bounce") == (0, f"{A}\n", "")
    assert blocklist(log, "--evidence", "bounce,auth") == (0, f"{A}\n{B}\n", "")
    assert blocklist(log, "--evidence", "connected") == (0, f"{A}\n{B}\n", "")
    status, _, stderr = blocklist(log, "--evidence", "spam")
    assert (status, stderr.startswith("smtppseudo: blocklist_evidence must be a list of some of mail, ")) == (78, True)


def test_settings_file_sets_the_policy(log: Path) -> None:
    config = log.parent.parent / "empty.toml"
    config.write_text(
        f'log_dir = \'{log.parent}\'\nblocklist_min_hits = 2\nblocklist_never = ["{A}"]\nblocklist_format = "json"\n'
    )
    write(log.parent / f"{NOW:%Y-%m-%d}.log", hits(B, 1.5, 1))
    done = run("blocklist", "--config", str(config))
    assert [entry["source"] for entry in json.loads(done.stdout)["entries"]] == [B]


def test_one_list_from_logs_of_several_machines(log: Path) -> None:
    """A connected to three machines once each, as session 1 from the same port: three hits."""
    day = f"{NOW:%Y-%m-%d}"
    paths = [
        write(log.parent / "mx1" / f"{day}.log", hits(A, 1.2)),
        write(log.parent / "mx2" / f"{day}.log", hits(A, 1.3), as_json=True),
    ]
    packed = log.parent / "mx3" / f"{day}.log.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress("".join(render_text(hits(A, 1.1))).encode()))
    directories = [str(path.parent) for path in (*paths, packed)]
    assert blocklist(paths[0].parent)[0] == 1
    config = str(log.parent.parent / "empty.toml")
    for given in (directories, directories[::-1]):
        assert run("blocklist", "--config", config, *given).stdout == f"{A}\n"


@pytest.mark.parametrize("name", ["plain", "rbldnsd", "nft", "json"])
def test_list_is_reproducible(log: Path, name: str) -> None:
    first, second = (blocklist(log, "--format", name) for _ in range(2))
    assert first == second
    assert (first[0], first[2]) == (0, "")


@not_on_windows("an open file cannot be replaced")
def test_output_is_replaced_atomically_and_world_readable(log: Path, tmp_path: Path) -> None:
    output = tmp_path / "list"
    output.write_text("1.2.3.4\n")
    output.chmod(0o600)
    with output.open() as before:
        assert blocklist(log, "--output", str(output)) == (0, "", "")
        assert before.read() == "1.2.3.4\n"
    assert output.read_text() == f"{A}\n2a01:4f8:1:2::/64\n"
    assert has_mode(output, 0o644)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.toml", "list", "logs"]


@pytest.mark.parametrize("name", ["plain", "rbldnsd", "nft", "json", "zone"])
def test_list_that_would_shrink_by_half_is_not_replaced(log: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / "list"
    many = [record for number in range(5) for record in hits(f"20.2.2.{number}", 3, 2, 1)]
    before = write(tmp_path / "before" / "x.log", many)
    to_file = ("--format", name, "--output", str(output), *(("--zone", "a.b") if name == "zone" else ()))
    assert blocklist(before, *to_file) == (0, "", "")
    old = output.read_bytes()
    shrunk = f"smtppseudo: {output}: the list would shrink from 5 to 2 entries; --force writes it anyway\n"
    assert blocklist(log, *to_file) == (1, "", shrunk)
    assert output.read_bytes() == old
    assert blocklist(log, *to_file, "--force") == (0, "", "")
    assert A in output.read_text()
    # Shrinking to half is allowed.
    write(before, many[: len(many) // 5 * 4])
    assert blocklist(before, *to_file) == (0, "", "")
    assert blocklist(log, *to_file) == (0, "", "")


def nsupdate(previous: Path | str, *more: str) -> tuple[str, ...]:
    return ("--format", "nsupdate", "--zone", "bl.example.org", "--previous", str(previous), *more)


def names_in(text: str, start: str) -> list[str]:
    return [line.removeprefix(start).split()[0] for line in text.splitlines() if line.startswith(start)]


def test_nsupdate_has_the_difference_to_the_list_before(log: Path, tmp_path: Path) -> None:
    """The list before may be empty, in any format, or on standard input; the script goes to FILE or is printed."""
    name_a, name_c = "1.1.1.20.bl.example.org.", "*.2.0.0.0.1.0.0.0.8.f.4.0.1.0.a.2.bl.example.org."
    tests = ["2.0.0.127.bl.example.org.", f"2.0.0.0.0.0.f.7.f.f.f.f{'.0' * 20}.bl.example.org."]
    previous = tmp_path / "previous"
    previous.touch()
    status, script, stderr = blocklist(log, *nsupdate(previous))
    assert (status, stderr) == (0, "")
    assert script.startswith("zone bl.example.org\nupdate delete 2.0.0.127.bl.example.org.\n")
    assert script.endswith("\nsend\n")
    assert names_in(script, "update delete ") == [*tests, name_a, name_c]
    assert names_in(script, "update add ") == [name for name in (*tests, name_a, name_c) for _ in range(2)]
    assert blocklist(log, *nsupdate(previous, "--output", str(tmp_path / "script"))) == (0, "", "")
    assert (tmp_path / "script").read_text() == script

    more = write(tmp_path / "more" / "x.log", [*hits(A, 20, 9, 1), *hits("20.9.9.9", 3, 2, 1)])
    for name in ("plain", "rbldnsd", "nft", "json", "zone"):
        zone = ("--zone", "bl.example.org") if name == "zone" else ()
        assert blocklist(more, "--format", name, *zone, "--output", str(previous), "--force")[0] == 0
        script = blocklist(log, *nsupdate(previous))[1]
        assert names_in(script, "update delete ") == ["9.9.9.20.bl.example.org.", *tests, name_c]
        assert names_in(script, "update add ") == [name for name in (*tests, name_c) for _ in range(2)]


def test_serial_of_a_zone_is_the_time(log: Path) -> None:
    begin = int(datetime.now(UTC).timestamp())
    status, zone, _ = blocklist(log, "--format", "zone", "--zone", "bl.example.org.")
    serial = int(zone.partition("\n")[0].split()[6])
    assert status == 0
    assert begin <= serial <= datetime.now(UTC).timestamp()


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (("--format", "zone"), 2, "--format zone needs --zone; nsupdate needs --zone and --previous"),
        (("--format", "nsupdate", "--zone", "a.b"), 2, "--format zone needs --zone; nsupdate needs --zone and --prev"),
        (("--format", "plain", "--zone", "a.b"), 2, "--format zone needs --zone; nsupdate needs --zone and --previous"),
        (("--previous", "x"), 2, "--format zone needs --zone; nsupdate needs --zone and --previous"),
        (("--format", "zone", "--zone", "a b"), 2, "a b is not a domain of at most 189 characters, such as bl.example"),
        (nsupdate("/nowhere"), 1, "/nowhere: No such file or directory; the list before must be a file that this user"),
        pytest.param(
            nsupdate("/etc"),
            1,
            "/etc: Is a directory; the list before must be a file that this user can read",
            marks=not_on_windows("it says that a directory may not be read"),
        ),
    ],
)
def test_mistakes_with_zones_are_one_line(log: Path, arguments: tuple[str, ...], status: int, error: str) -> None:
    given, stdout, stderr = blocklist(log, *arguments)
    assert (given, stdout) == (status, "")
    assert error in stderr.splitlines()[-1]


def test_nsupdate_does_not_shrink_a_zone_by_more_than_half(log: Path, tmp_path: Path) -> None:
    previous = tmp_path / "previous"
    previous.write_text("".join(f"20.2.2.{number}\n" for number in range(5)))
    shrunk = f"smtppseudo: {previous}: the list would shrink from 5 to 2 entries; --force writes it anyway\n"
    for more in ((), ("--output", str(tmp_path / "script"))):
        assert blocklist(log, *nsupdate(previous, *more)) == (1, "", shrunk)
    assert blocklist(log, *nsupdate(previous, "--force"))[0] == 0


def test_empty_list_is_not_written(log: Path, tmp_path: Path) -> None:
    output = tmp_path / "list"
    write(log, hits(B, 1))
    for more in ((), ("--output", str(output))):
        status, stdout, stderr = blocklist(log, *more)
        assert (status, stdout) == (1, "")
        assert stderr.startswith("smtppseudo: the list would be empty: ")
    assert not output.exists()
    assert blocklist(log, "--output", str(output), "--force") == (0, "", "")
    assert output.read_bytes() == b""


def test_unreadable_log_leaves_the_list_unchanged(log: Path, tmp_path: Path) -> None:
    (log.parent / "cut.log.gz").write_bytes(gzip.compress(b"x" * 1_000)[:-9])
    output = tmp_path / "list"
    given = (str(log.parent / "cut.log.gz"), "--output", str(output))
    status, _, stderr = blocklist(log, *given)
    assert status == 1
    assert "cut.log.gz: truncated" in stderr
    assert not output.exists()
    assert blocklist(log, *given, "--force")[0] == 0
    assert output.read_text() == f"{A}\n2a01:4f8:1:2::/64\n"


def test_damaged_lines_are_ignored(log: Path) -> None:
    with log.open("a") as file:
        file.write("nonsense\n2026-")
    assert blocklist(log) == (0, f"{A}\n2a01:4f8:1:2::/64\n", "smtppseudo: damaged lines ignored: 2\n")


def test_line_with_an_impossible_date_is_damaged(log: Path) -> None:
    whole = log.read_text()
    year = whole[:5]
    with log.open("a") as file:
        for day in ("13-28T12:00:00.000Z", "11-31T12:00:00.000Z", "11-24T25:00:00.000Z"):
            file.write(year + day + whole[whole.index(" ") : whole.index("\n") + 1])
    damaged = "smtppseudo: damaged lines ignored: 3\n"
    assert blocklist(log) == (0, f"{A}\n2a01:4f8:1:2::/64\n", damaged)
    status, _, stderr = blocklist(log, "--explain", A)
    assert (status, stderr) == (0, damaged)
    # Every reader counts the same lines.
    assert " 3 damaged, left out\n" in run("report", str(log)).stdout


def test_unwritable_output_is_an_error(log: Path) -> None:
    status, _, stderr = blocklist(log, "--output", "/nowhere/list")
    assert (status, stderr.startswith("smtppseudo: /nowhere/list: No such file or directory; ")) == (1, True)
    status, _, stderr = blocklist(log, "--output", "/dev/null")
    assert (status, stderr.startswith("smtppseudo: /dev/null: not a regular file; ")) == (1, True)


def test_future_hits_do_not_count(log: Path) -> None:
    write(log, hits(A, 2, 1, -1))
    assert blocklist(log)[0] == 1


def test_explain_says_why_an_address_is_listed(log: Path) -> None:
    day = timedelta(days=1)
    status, text, _ = blocklist(log, "--explain", C)
    until, *times = [f"{NOW + days * day:%Y-%m-%dT%H:%M:%SZ}" for days in (6, -3, -2, -1)]
    assert (status, text.splitlines()) == (
        0,
        [
            f"2a01:4f8:1:2::/64 is listed until {until}.",
            "Hits in the logs: 3; 3 within 30 days list it, for 7 days after the latest.",
            *(f"  {time} mail" for time in times),
        ],
    )
    assert blocklist(log, "--explain", "2a01:4f8:1:2::/64")[:2] == (0, text)
    assert blocklist(log, "--explain", f"::ffff:{A}")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ((B,), [f"{B} is not listed.", "Hits in the logs: 2; 3 within 30 days"]),
        (("20.9.9.9",), ["20.9.9.9 is not listed.", "Hits in the logs: 0; "]),
        ((A, "--expire", "12h"), [f"{A} is not listed.", "It was listed until "]),
        ((A, "--never", A), [f"{A} is never listed: {A} is in blocklist_never", "Hits in the logs: 3; "]),
        (("192.168.1.1",), ["192.168.1.1 is never listed: 192.168.0.0/16 is special-purpose: private."]),
        (("127.0.0.1",), ["127.0.0.1 is never listed: 127.0.0.0/8 is special-purpose: loopback."]),
    ],
)
def test_explain_says_why_an_address_is_not_listed(log: Path, arguments: tuple[str, ...], lines: list[str]) -> None:
    status, text, stderr = blocklist(log, "--explain", *arguments)
    assert (status, stderr) == (1, "")
    for line, start in zip(text.splitlines(), lines, strict=False):
        assert line.startswith(start)


def test_explain_of_invalid_address_is_a_usage_error(log: Path) -> None:
    assert blocklist(log, "--explain", "mx.example.org") == (
        2,
        "",
        "smtppseudo: --explain: mx.example.org is not an IP address\n",
    )
