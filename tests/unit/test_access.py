"""Access: the file of the magic word, the state directories, and the options."""

import argparse
import os
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.cli import exits
from smtppseudo.cli.access import access_to, read_word, state_dirs, user_keyring

AS_ROOT: Final = hasattr(os, "geteuid") and os.geteuid() == 0


def word_file(tmp_path: Path, data: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "a word"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("data", [b"the magic word", b"the magic word\n", b"the magic word\r\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_magic_word_is_read_from_a_private_file(tmp_path: Path, data: bytes, mode: int) -> None:
    assert read_word(word_file(tmp_path, data, mode)) == "the magic word"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_magic_file_that_everybody_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = word_file(tmp_path, b"the magic word\n", mode)
    with pytest.raises(exits.CommandError, match=f"`chmod o= '{path}'`") as caught:
        read_word(path)
    assert caught.value.status == exits.NOT_AUTHORIZED
    assert "the magic word" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"short\n", b"x" * 129, b"the magic\nword of mine\n", b"caf\xe9caf\xe9", b"x" * 5000]
)
def test_magic_file_without_a_valid_word_is_refused(tmp_path: Path, data: bytes) -> None:
    path = word_file(tmp_path, data)
    with pytest.raises(exits.CommandError, match="8 to 128 printable ASCII") as caught:
        read_word(path)
    assert str(path) in str(caught.value)


def test_missing_magic_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(exits.CommandError, match="No such file") as caught:
        read_word(tmp_path / "none")
    assert caught.value.status == exits.NOT_AUTHORIZED


def test_state_dirs_are_the_given_one_or_the_users_and_the_services(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert state_dirs("somewhere") == [Path("somewhere")]
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert state_dirs(None) == [tmp_path, Path("/var/lib/smtppseudo")]
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/smtppseudo")
    assert state_dirs(None) == [Path("/var/lib/smtppseudo")]


def test_access_reads_the_magic_file(tmp_path: Path) -> None:
    path = word_file(tmp_path, b"short")
    options = argparse.Namespace(
        host=None, monitor_port=None, tls="auto", pin=None, state_dir=str(tmp_path), magic_file=str(path)
    )
    with pytest.raises(exits.CommandError, match="8 to 128"):
        access_to(options, [None])


def test_user_without_a_home_directory_has_no_pins_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert user_keyring("somewhere").pin_for("mail.example.org", 26) is None
