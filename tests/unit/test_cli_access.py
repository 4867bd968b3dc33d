"""What commands make of their words, of the files that they find, and of a server that is away."""

import argparse
import os
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.cli import exits, watch
from smtppseudo.cli.access import Access, read_cookies, read_ports, read_word, state_dirs
from smtppseudo.cli.set import read_changes, read_value
from smtppseudo.link.link import (
    BadPeerError,
    BusyError,
    LinkError,
    NeedsMagicWordError,
    NotAuthorizedError,
    UnreachableError,
)

AS_ROOT: Final = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("idle_timeout_s=60", 60),
        ("idle_timeout_s=2.5", 2.5),
        ("accept_mail=false", False),
        ('greeting="Welcome!"', "Welcome!"),
        ("greeting='Welcome!'", "Welcome!"),
        ("greeting=Welcome!", "Welcome!"),
        ("greeting=a=b", "a=b"),
        ("greeting={hostname} ESMTP", "{hostname} ESMTP"),
        ("greeting=5", "5"),
        ("greeting=true", "true"),
        ("greeting=2026-01-31", "2026-01-31"),
        ("greeting=nan", "nan"),
        ("greeting={a = 1}", "{a = 1}"),
        ("greeting=x\ny = 2", "x\ny = 2"),
        ("greeting=", ""),
        ("reject_at=rcpt", "rcpt"),
        ('ehlo_keywords=["DSN", "HELP"]', ["DSN", "HELP"]),
        ("accept_mail=maybe", "maybe"),
        ("accept_mail=1", 1),
        ("unknown=1", 1),
        ("unknown=inf", "inf"),
        ("unknown=[nan]", "[nan]"),
        ("unknown=[2026-01-31]", "[2026-01-31]"),
        (" greeting = x", " x"),
    ],
)
def test_a_value_is_toml_or_a_plain_string(word: str, value: object) -> None:
    (found,) = read_changes([word]).values()
    assert found == value
    assert type(found) is type(value)


def test_a_value_cannot_smuggle_in_another_key() -> None:
    assert read_value("accept_mail", "true\nreject_at = 'data'") == "true\nreject_at = 'data'"


@pytest.mark.parametrize("words", [["greeting"], ["=x"], ["greeting=a", "greeting=b"], ["a=1", ""]])
def test_what_is_no_change(words: list[str]) -> None:
    with pytest.raises(exits.CommandError) as caught:
        read_changes(words)
    assert caught.value.status == exits.USAGE


def word_file(tmp_path: Path, data: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "a word"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("data", [b"the magic word", b"the magic word\n", b"the magic word\r\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_magic_file(tmp_path: Path, data: bytes, mode: int) -> None:
    assert read_word(word_file(tmp_path, data, mode)) == "the magic word"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_magic_file_that_is_open_to_everybody(tmp_path: Path, mode: int) -> None:
    path = word_file(tmp_path, b"the magic word\n", mode)
    with pytest.raises(exits.CommandError, match=f"`chmod o= '{path}'`") as caught:
        read_word(path)
    assert caught.value.status == exits.NOT_AUTHORIZED
    assert "the magic word" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"short\n", b"x" * 129, b"the magic\nword of mine\n", b"caf\xe9caf\xe9", b"x" * 5000]
)
def test_a_magic_file_without_a_magic_word(tmp_path: Path, data: bytes) -> None:
    path = word_file(tmp_path, data)
    with pytest.raises(exits.CommandError, match="8 to 128 printable ASCII") as caught:
        read_word(path)
    assert str(path) in str(caught.value)


def test_a_magic_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(exits.CommandError, match="No such file") as caught:
        read_word(tmp_path / "none")
    assert caught.value.status == exits.NOT_AUTHORIZED


@pytest.mark.parametrize(
    "text", ["", "x" * 64 + "\n", "0" * 63 + "\n", "0" * 65, "0" * 64 + "\n\n", "A" * 64, "é" * 64]
)
def test_a_cookie_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "cookie").write_text(text, "utf-8")
    assert read_cookies([tmp_path]) == ()


def test_a_cookie(tmp_path: Path) -> None:
    assert read_cookies([tmp_path]) == ()
    (tmp_path / "cookie").write_text("0f" * 32 + "\n")
    assert read_cookies([tmp_path / "none", tmp_path]) == ("0f" * 32,)


@pytest.mark.skipif(AS_ROOT, reason="root can read everything")
def test_a_cookie_for_others_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "cookie").write_text("0f" * 32 + "\n")
    (tmp_path / "cookie").chmod(0)
    assert read_cookies([tmp_path]) == ()


def test_a_state_directory_that_is_none_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert read_cookies([tmp_path / "file"]) == ()
    (tmp_path / "cookie").mkdir()
    assert read_cookies([tmp_path]) == ()


@pytest.mark.parametrize(
    ("text", "ports"),
    [("26\n", (26,)), ("65535", (65_535,)), ("0\n", ()), ("65536\n", ()), ("-1", ()), ("26 ", ()), ("", ())],
)
def test_a_port_noted(tmp_path: Path, text: str, ports: tuple[int, ...]) -> None:
    (tmp_path / "monitor_port").write_text(text)
    assert read_ports([tmp_path]) == ports


def test_where_state_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert state_dirs("somewhere") == [Path("somewhere")]
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert state_dirs(None) == [tmp_path, Path("/var/lib/smtppseudo")]
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/smtppseudo")
    assert state_dirs(None) == [Path("/var/lib/smtppseudo")]


class Away(Access):
    """Access to a server that gives one answer after the other."""

    def __init__(self, answers: list[LinkError]) -> None:
        self.answers = answers

    def connect(self) -> "object":  # type: ignore[override]
        raise self.answers.pop(0)


def test_pauses_grow_to_half_a_minute_and_a_refused_word_is_not_tried_again() -> None:
    pauses: list[float] = []
    answers: list[LinkError] = [UnreachableError("away")] * 7
    with pytest.raises(NotAuthorizedError):
        watch.reconnect(Away([*answers, BusyError("full", "busy"), NotAuthorizedError("no")]), pauses.append)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("answer", [NotAuthorizedError("no"), NeedsMagicWordError("no"), BadPeerError("no")])
def test_what_waiting_does_not_mend_ends_it(answer: LinkError) -> None:
    pauses: list[float] = []
    with pytest.raises(type(answer)):
        watch.reconnect(Away([answer]), pauses.append)
    assert pauses == [0.5]


def test_access_takes_its_options(tmp_path: Path) -> None:
    path = word_file(tmp_path, b"short")
    options = argparse.Namespace(
        host=None, monitor_port=None, tls="auto", pin=None, state_dir=str(tmp_path), magic_file=str(path)
    )
    with pytest.raises(exits.CommandError, match="8 to 128"):
        Access(options)
