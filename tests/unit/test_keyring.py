"""The keyring: the cookies, monitor ports and pins that this user can read."""

import os
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.link.errors import LinkError
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.pins import PINS_FILE, fingerprint_of

AS_ROOT: Final = hasattr(os, "geteuid") and os.geteuid() == 0
ONE, OTHER = fingerprint_of(b"one"), fingerprint_of(b"other")


def keyring(*state_dirs: Path) -> Keyring:
    return Keyring(state_dirs, Path(os.devnull))


@pytest.mark.parametrize(
    "text", ["", "x" * 64 + "\n", "0" * 63 + "\n", "0" * 65, "0" * 64 + "\n\n", "A" * 64, "é" * 64]
)
def test_file_without_a_cookie_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "cookie").write_text(text, "utf-8")
    assert keyring(tmp_path).cookies() == ()


def test_cookie_is_read(tmp_path: Path) -> None:
    assert keyring(tmp_path).cookies() == ()
    (tmp_path / "cookie").write_text("0f" * 32 + "\n")
    assert keyring(tmp_path / "none", tmp_path).cookies() == ("0f" * 32,)
    (tmp_path / "cookie").write_bytes(b"0f" * 32 + b"\r\n")
    assert keyring(tmp_path).cookies() == ("0f" * 32,)


@pytest.mark.skipif(AS_ROOT, reason="root can read everything")
def test_unreadable_cookie_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "cookie").write_text("0f" * 32 + "\n")
    (tmp_path / "cookie").chmod(0)
    assert keyring(tmp_path).cookies() == ()


def test_path_that_is_no_state_directory_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert keyring(tmp_path / "file").cookies() == ()
    (tmp_path / "cookie").mkdir()
    assert keyring(tmp_path).cookies() == ()


@pytest.mark.parametrize(
    ("text", "ports"),
    [("27\n", (27,)), ("65535", (65_535,)), *[(text, (26,)) for text in ("0\n", "65536\n", "-1", "25 ", "")]],
)
def test_noted_port_must_be_a_port(tmp_path: Path, text: str, ports: tuple[int, ...]) -> None:
    (tmp_path / "monitor_port").write_text(text)
    assert keyring(tmp_path).ports() == ports


def test_ports_are_the_noted_ones_or_26(tmp_path: Path) -> None:
    assert keyring(tmp_path).ports() == (26,)
    (tmp_path / "monitor_port").write_text("2626\n")
    assert keyring(tmp_path / "none", tmp_path).ports() == (2626,)


def test_pin_option_counts_before_the_saved_pins_until_a_certificate_is_accepted(tmp_path: Path) -> None:
    keys = Keyring([], tmp_path, ONE)
    assert keys.pin_for("mail.example.org", 26) == ONE
    keys.accept("mail.example.org", 26, OTHER)
    assert keys.pin_for("mail.example.org", 26) == OTHER
    assert Keyring([], tmp_path).pin_for("mail.example.org", 26) == OTHER


def test_pin_option_is_saved_for_the_server_that_showed_the_certificate(tmp_path: Path) -> None:
    keys = Keyring([], tmp_path, ONE)
    assert keys.save_pin("mail.example.org", 26) == ""
    assert keys.pin_for("mail.example.org", 26) == ONE
    assert keys.pin_for("other.example.org", 26) is None
    assert keys.save_pin("other.example.org", 26) == ""
    assert Keyring([], tmp_path).pin_for("other.example.org", 26) is None


def test_pin_that_cannot_be_saved_is_still_used(tmp_path: Path) -> None:
    (tmp_path / PINS_FILE).mkdir()
    keys = Keyring([], tmp_path, ONE)
    warning = keys.save_pin("mail.example.org", 26)
    assert str(tmp_path / PINS_FILE) in warning
    assert "the next time asks again" in warning
    assert keys.pin_for("mail.example.org", 26) == ONE


def test_unreadable_pins_are_an_error_and_not_an_unknown_server(tmp_path: Path) -> None:
    (tmp_path / PINS_FILE).mkdir()
    with pytest.raises(LinkError, match="--pin"):
        Keyring([], tmp_path).pin_for("mail.example.org", 26)
