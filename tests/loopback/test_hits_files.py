"""Hits files: lists of several servers from the hits of each, equal to the list from their logs."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from smtppseudo.files import HITS_FILE
from tests.clients import wait_until
from tests.loopback.test_blocklist import NOW, A, B, C, hits
from tests.records import Stamped, render_json, render_text
from tests.running import Servers, run

C_NETWORK = "2a01:4f8:1:2::/64"
COVERAGE = "window_s=3196800 evidence=auth,errors,mail,pregreet times=32"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "smtppseudo.toml"
    path.touch()
    return path


def write(path: Path, records: Sequence[Stamped], server: str = "", *, as_json: bool = False) -> Path:
    path.write_text("".join((render_json if as_json else render_text)(records, server)))
    return path


@pytest.fixture
def blocklist(config: Path) -> Callable[..., tuple[int, str, str]]:
    def blocklist(*arguments: object) -> tuple[int, str, str]:
        done = run("blocklist", "--config", str(config), *map(str, arguments))
        return done.returncode, done.stdout, done.stderr.removeprefix("smtppseudo: ")

    return blocklist


Blocklist = Callable[..., tuple[int, str, str]]


@pytest.fixture
def three(tmp_path: Path, blocklist: Blocklist) -> tuple[list[Path], list[Path]]:
    """The logs of three servers, and their hits files: C calls each once, A two of them, B one."""
    records = {
        "mx1": [*hits(A, 20, 9), *hits(C, 3), *hits("192.168.1.1", 3, 2, 1)],
        "mx2": [*hits(A, 1), *hits(B, 3, 2), *hits(C, 2)],
        "": [*hits(C, 1), *hits(B, 1, data="MAIL FROM:<>")],
    }
    logs = [write(tmp_path / f"{name}.log", own, name, as_json=name == "mx2") for name, own in records.items()]
    files = [log.with_suffix(".hits") for log in logs]
    for log, file in zip(logs, files, strict=True):
        assert blocklist("--format", "hits", "--output", file, log) == (0, "", "")
    return logs, files


Three = tuple[list[Path], list[Path]]


def at(*days_ago: float) -> str:
    return " ".join(str(int(NOW.timestamp() - 86_400 * days)) for days in days_ago)


def test_a_hits_file_from_logs_has_the_server_and_all_hits(three: Three) -> None:
    first, second, third = (file.read_text().splitlines() for file in three[1])
    assert first == [f"smtppseudo-hits 1 server=mx1 {COVERAGE}", f"{A} {at(20, 9)}", f"{C_NETWORK} {at(3)}"]
    assert second == [
        f"smtppseudo-hits 1 server=mx2 {COVERAGE}",
        f"{A} {at(1)}",
        f"{B} {at(3, 2)}",
        f"{C_NETWORK} {at(2)}",
    ]
    assert third == [f"smtppseudo-hits 1 server= {COVERAGE}", f"{C_NETWORK} {at(1)}"]


@pytest.mark.parametrize("form", ["plain", "rbldnsd", "nft", "json"])
def test_logs_hits_files_and_both_give_the_same_list(three: Three, blocklist: Blocklist, form: str) -> None:
    logs, files = three
    status, whole, _ = blocklist("--format", form, *logs)
    assert (status, A in whole, B in whole, C_NETWORK in whole) == (0, True, False, True)
    packed = files[1].with_suffix(".gz")
    packed.write_bytes(gzip.compress(files[1].read_bytes()))
    for given in (
        files,
        files[::-1],
        [logs[0], *files[1:]],
        [files[0], logs[1], files[2]],
        [files[0], packed, logs[2]],
    ):
        assert blocklist("--format", form, *given) == (0, whole, "")


def test_hits_files_can_be_merged_in_steps(three: Three, blocklist: Blocklist, tmp_path: Path) -> None:
    logs, files = three
    merged = tmp_path / "merged"
    assert blocklist("--format", "hits", "--output", merged, *files[:2]) == (0, "", "")
    lines = merged.read_text().splitlines()
    assert lines[:2] == [f"smtppseudo-hits 1 server=mx1,mx2 {COVERAGE}", f"{A} {at(20, 9, 1)}"]
    assert blocklist(merged, files[2]) == blocklist(*logs)
    assert blocklist("--format", "hits", merged, files[2]) == blocklist("--format", "hits", *logs)
    status, _, stderr = blocklist(merged, files[1])
    assert (status, "hits of mx2 were read before" in stderr) == (1, True)


def test_hits_of_one_server_count_twice_only_with_force(three: Three, blocklist: Blocklist, tmp_path: Path) -> None:
    logs, files = three
    output = tmp_path / "list"
    for given in ([files[1], files[1]], [files[1], logs[1]], [logs[1], files[1]]):
        twice = f"{given[-1]}: hits of mx2 were read before; they would count twice; --force counts them\n"
        assert blocklist(*given, "--output", output) == (1, "", twice)
    assert not output.exists()
    for given in ([files[1], files[1]], [files[1], logs[1]]):
        assert blocklist("--force", *given) == (0, f"{B}\n", "")  # two hits, twice: never deduplicated


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--evidence", "mail"), "32 hits of an address, of 37 days, by mail"),
        (("--min-hits", "33"), "65 hits of an address, of 37 days, by auth,errors,mail,pregreet"),
        (("--expire", "14d"), "32 hits of an address, of 44 days, by auth,errors,mail,pregreet"),
    ],
)
def test_a_policy_that_needs_more_than_a_hits_file_has(
    three: Three, blocklist: Blocklist, arguments: tuple[str, ...], text: str
) -> None:
    logs, files = three
    has = "it has 32 hits of an address, of 37 days, by auth,errors,mail,pregreet; this list needs "
    for more in ((), ("--force",)):
        assert blocklist(*arguments, *more, logs[0], files[1]) == (1, "", f"{files[1]}: {has}{text}\n")


def test_a_policy_that_needs_no_more_reads_the_same_file(three: Three, blocklist: Blocklist) -> None:
    logs, files = three
    for policy in (
        ("--min-hits", "2"),
        ("--window", "10d"),
        ("--expire", "36h"),
        ("--min-hits", "1", "--window", "1d"),
    ):
        assert blocklist(*policy, *files) == blocklist(*policy, *logs)


def test_explain_knows_the_hits_of_hits_files(three: Three, blocklist: Blocklist) -> None:
    logs, files = three
    status, text, _ = blocklist("--explain", C, logs[0], *files[1:])
    shown = [line.split(" ", 3)[3] for line in text.splitlines()[2:]]
    assert (status, shown) == (0, ["mail (mx1)", "hits file (mx2)", "hits file"])


def test_damaged_files_are_said(three: Three, blocklist: Blocklist, tmp_path: Path) -> None:
    logs, files = three
    files[0].write_text(files[0].read_text() + "nonsense\n" + f"{B} 17999")
    assert blocklist(*files) == (*blocklist(*logs)[:2], "damaged lines ignored: 2\n")
    files[0].write_text("smtppseudo-hits 2 all=new\n")
    assert blocklist(*files) == (1, "", f"{files[0]}: a hits file of another version; upgrade this program\n")
    files[0].write_bytes(gzip.compress(files[1].read_bytes())[:-9])
    assert blocklist(files[0], files[2])[0] == 1


def test_a_server_keeps_its_hits_in_a_file_that_can_be_merged(
    servers: Servers, blocklist: Blocklist, tmp_path: Path
) -> None:
    server = servers.start({"blocklist_file": str(tmp_path / "list"), "server_name": "mx9"})
    path = server.directory / "state" / HITS_FILE
    wait_until(path.exists, "hits")
    server.stop()
    kept = path.read_text()
    assert kept == f"smtppseudo-hits 1 server=mx9 {COVERAGE}\n"
    path.write_text(f"{kept}{A} {at(1)}\n")
    other = write(tmp_path / "other.log", hits(A, 3, 2), "mx8")
    assert blocklist(path, other) == (0, f"{A}\n", "")


def test_any_number_of_hits_in_a_row_take_linear_time(blocklist: Blocklist, tmp_path: Path) -> None:
    newest = int(NOW.timestamp())
    lines = [
        f"{A} {' '.join(map(str, range(newest - at, newest - at - 1_000, -1)))}\n" for at in range(0, 2_000_000, 1_000)
    ]
    path = tmp_path / "hits"
    path.write_text(f"smtppseudo-hits 1 server=mx1 {COVERAGE}\n{''.join(lines)}")
    assert blocklist(path) == (0, f"{A}\n", "")  # sorted in one array, they would take minutes
