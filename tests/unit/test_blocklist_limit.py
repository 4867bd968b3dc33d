"""`blocklist` with more addresses than fit into memory: what it leaves out, and when it writes no list."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smtppseudo.blocklist.hits_file import coverage_of, render_hits
from smtppseudo.blocklist.policy import policy_of
from smtppseudo.cli import main
from smtppseudo.config.settings import Settings

NOW = int(datetime.now(UTC).timestamp())
LEFT_OUT = "smtppseudo: left out: {} addresses, because there are more than 10\n"
MISSING = "smtppseudo: the list may lack {} addresses with {} or more hits; --force writes it anyway\n"

Blocklist = Callable[..., tuple[int, list[str], str]]


def source(number: int) -> str:
    return f"20.1.1.{number}"


@pytest.fixture
def blocklist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str], str]]:
    """Run the command with a limit of ten addresses, for hits of these addresses in this order."""
    monkeypatch.setattr("smtppseudo.cli.blocklist.SOURCES_MAX", 10)
    (tmp_path / "smtppseudo.toml").touch()
    needed = coverage_of(policy_of(Settings()), Settings().blocklist_evidence)

    def blocklist(callers: Iterable[int], *arguments: str) -> tuple[int, list[str], str]:
        path = tmp_path / "hits"
        path.write_text("".join(render_hits(needed, ((source(number), [NOW - 9]) for number in callers))))
        status = main(["blocklist", "--config", str(tmp_path / "smtppseudo.toml"), *arguments, str(path)])
        done = capsys.readouterr()
        return status, done.out.split("\n")[:-1], done.err

    return blocklist


LISTED = [*[1, 2, 3] * 3]


def test_addresses_with_few_hits_are_left_out_and_the_list_is_whole(blocklist: Blocklist) -> None:
    found = blocklist([*LISTED, *range(10, 30)])
    assert found == (0, [source(1), source(2), source(3)], LEFT_OUT.format(13))


def test_left_out_counts_addresses_however_often_each_was_forgotten(blocklist: Blocklist) -> None:
    found = blocklist([*LISTED, *range(10, 30), *range(10, 30)])
    assert found == (0, [source(1), source(2), source(3)], LEFT_OUT.format(13))


def test_no_list_is_written_if_one_with_enough_hits_may_be_missing(blocklist: Blocklist, tmp_path: Path) -> None:
    callers = [*LISTED, *range(10, 30), *range(10, 30), 10]
    for more in ((), ("--output", str(tmp_path / "list"))):
        assert blocklist(callers, *more) == (1, [], LEFT_OUT.format(13) + MISSING.format(1, 3))
    assert not (tmp_path / "list").exists()
    assert blocklist(callers, "--force")[:2] == (0, [source(1), source(2), source(3)])
    assert blocklist(callers, "--never", source(10))[0] == 0


def test_one_that_is_listed_nevertheless_is_not_missing(blocklist: Blocklist) -> None:
    found = blocklist([*LISTED, *range(10, 30), *[10] * 3])
    assert (found[0], found[1][-1]) == (0, source(10))


def test_a_hits_file_may_lack_no_address(blocklist: Blocklist) -> None:
    """One hit here and two elsewhere list an address."""
    callers = [*LISTED, *range(10, 30)]
    assert blocklist(callers, "--format", "hits") == (1, [], LEFT_OUT.format(13) + MISSING.format(13, 1))
    assert len(blocklist(callers, "--format", "hits", "--force")[1]) == 1 + 10
