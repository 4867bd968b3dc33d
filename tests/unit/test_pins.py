"""Pins: accepted certificates, and the forms of a fingerprint."""

import hashlib
from pathlib import Path

import pytest

from smtppseudo.link.errors import LinkError
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.pins import PINS_FILE, fingerprint_of, name_of, parse_fingerprint

ONE, OTHER = fingerprint_of(b"one"), fingerprint_of(b"other")


def test_fingerprint_has_openssls_form() -> None:
    digits = hashlib.sha256(b"one").hexdigest().upper()
    assert "SHA256:" + ":".join(digits[at : at + 2] for at in range(0, 64, 2)) == ONE


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        ONE.lower(),
        f" {ONE}\n",
        ONE.removeprefix("SHA256:"),
        ONE.removeprefix("SHA256:").replace(":", "").lower(),
        "sha256 Fingerprint=" + ONE.removeprefix("SHA256:"),
        "SHA256 Fingerprint=" + ONE.removeprefix("SHA256:"),
    ],
)
def test_fingerprint_is_parsed_in_all_copied_forms(text: str) -> None:
    assert parse_fingerprint(text) == ONE


@pytest.mark.parametrize(
    "text", ["", "SHA256:", ONE[:-1], ONE + "0", ONE.replace("SHA256", "SHA1"), "SHA256:" + "g" * 64]
)
def test_invalid_fingerprint_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        parse_fingerprint(text)


def test_servers_differ_by_host_and_port(tmp_path: Path) -> None:
    pins = Keyring([], tmp_path / "config")
    assert pins.pin_for("mail.test", 26) is None
    pins.accept("mail.test", 26, ONE)
    pins.accept("2001:db8::1", 26, OTHER)
    assert (pins.pin_for("MAIL.test", 26), pins.pin_for("mail.test", 27), pins.pin_for("2001:db8::1", 26)) == (
        ONE,
        None,
        OTHER,
    )
    path = tmp_path / "config" / PINS_FILE
    assert path.read_text() == f"mail.test:26 {ONE}\n[2001:db8::1]:26 {OTHER}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert name_of("::1", 26) == "[::1]:26"


def test_accepted_certificate_replaces_the_earlier_one(tmp_path: Path) -> None:
    pins = Keyring([], tmp_path)
    for fingerprint in (ONE, OTHER):
        pins.accept("mail.test", 26, fingerprint)
    assert pins.pin_for("mail.test", 26) == OTHER
    assert len((tmp_path / PINS_FILE).read_text().splitlines()) == 1


def test_other_lines_are_kept(tmp_path: Path) -> None:
    (tmp_path / PINS_FILE).write_text(f"# mine\nmail.test:26 SHA256:00\nold.test:26 {ONE}\n")
    pins = Keyring([], tmp_path)
    assert pins.pin_for("mail.test", 26) is None
    pins.accept("new.test", 26, OTHER)
    assert (tmp_path / PINS_FILE).read_text() == (
        f"# mine\nmail.test:26 SHA256:00\nold.test:26 {ONE}\nnew.test:26 {OTHER}\n"
    )


def test_unreadable_pins_raise_instead_of_returning_none(tmp_path: Path) -> None:
    (tmp_path / PINS_FILE).mkdir()
    with pytest.raises(LinkError, match="directory"):
        Keyring([], tmp_path).pin_for("mail.test", 26)
