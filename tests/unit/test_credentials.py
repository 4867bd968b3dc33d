"""The keys that a server keeps instead of a secret: derivation, decoys, text form, fields."""

import pytest
import scramp

from smtppseudo.monitor.credentials import WORD_ITERATIONS, WORD_SALT_BYTES, Credentials, cookie_id, decoy, derive
from tests.unit.scram_vectors import RFC_CREDENTIALS, RFC_SALT, RFC_SECRET, SECRETS, SERVER_SECRET, stand_in

SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
KEYS = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
FORM = r"credentials must be SCRAM-SHA-256\$ITERATIONS:SALT\$STOREDKEY:SERVERKEY"


@pytest.mark.parametrize("secret", SECRETS)
def test_a_foreign_library_derives_the_same_keys(secret: str) -> None:
    salt, stored_key, server_key, iterations = scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info(
        secret, iteration_count=4096, salt=RFC_SALT
    )
    assert derive(secret, RFC_SALT, 4096) == Credentials(salt, iterations, stored_key, server_key)


def test_a_decoy_depends_on_the_user() -> None:
    assert stand_in("nobody") == stand_in("nobody")
    assert stand_in("nobody").salt != stand_in("somebody").salt
    assert decoy(b"x" * 32, "nobody", 4096).salt != stand_in("nobody").salt
    parts = stand_in("nobody")
    assert len({parts.salt, parts.stored_key[:16], parts.server_key[:16]}) == 3
    assert len(parts.salt) == len(decoy(SERVER_SECRET, "nobody", 600_000).salt) == WORD_SALT_BYTES == 16


@pytest.mark.parametrize(
    ("salt", "iterations", "reason"),
    [
        (b"1234567", 4096, "salt must be 8 to 64 bytes"),
        (b"x" * 65, 4096, "salt must be 8 to 64 bytes"),
        (RFC_SALT, 4095, "iterations must be 4096 to 10000000"),
        (RFC_SALT, 10_000_001, "iterations must be 4096 to 10000000"),
    ],
)
def test_derive_checks_the_bounds(salt: bytes, iterations: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        derive(RFC_SECRET, salt, iterations)


@pytest.mark.parametrize("salt_bytes", [8, 64])
def test_the_bounds_of_the_salt_are_allowed(salt_bytes: int) -> None:
    assert len(derive(RFC_SECRET, b"x" * salt_bytes, 4096).salt) == salt_bytes


def test_the_values_for_a_new_magic_word() -> None:
    assert (WORD_ITERATIONS, WORD_SALT_BYTES) == (600_000, 16)


def test_a_cookie_id_is_16_hexadecimal_digits_of_its_sha_256() -> None:
    assert cookie_id("0123456789abcdef" * 4) == "a8ae6e6ee929abea"


def test_the_text_form() -> None:
    text = RFC_CREDENTIALS.to_text()
    assert text == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    for end in ("", "\n", "\r\n"):
        assert Credentials.from_text(text + end) == RFC_CREDENTIALS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"credentials must begin with SCRAM-SHA-256\$"),
        (f"SCRAM-SHA-1$4096:{SALT}${KEYS}", r"credentials must begin with SCRAM-SHA-256\$"),
        (f" SCRAM-SHA-256$4096:{SALT}${KEYS}", r"credentials must begin with SCRAM-SHA-256\$"),
        ("SCRAM-SHA-256", FORM),
        ("SCRAM-SHA-256$", FORM),
        (f"SCRAM-SHA-256$4096${SALT}:{KEYS}", FORM),
        (f"SCRAM-SHA-256$4096:{SALT}:{KEYS}", FORM),
        (f"SCRAM-SHA-256$4096:{SALT}${KEYS}:", FORM),
        (f"SCRAM-SHA-256$4096:{SALT}${KEYS}$", FORM),
        (f"SCRAM-SHA-256$x:{SALT}${KEYS}", "iterations must be an integer"),
        (f"SCRAM-SHA-256$:{SALT}${KEYS}", "iterations must be an integer"),
        (f"SCRAM-SHA-256$\u0664\u0660\u0669\u0666:{SALT}${KEYS}", "iterations must be an integer"),
        (f"SCRAM-SHA-256$04096:{SALT}${KEYS}", "iterations must be an integer"),
        (f"SCRAM-SHA-256$4096:W22Z\naJ0SNY7soEsUEjb6gQ==${KEYS}", "salt must be base64"),
        (f"SCRAM-SHA-256$4096:{SALT}=${KEYS}", "salt must be base64"),
        (f"SCRAM-SHA-256${'9' * 5000}:{SALT}${KEYS}", "iterations must be an integer"),
        (f"SCRAM-SHA-256$4095:{SALT}${KEYS}", "iterations must be 4096 to 10000000"),
        (f"SCRAM-SHA-256$4096:{SALT[:-1]}${KEYS}", "salt must be base64"),
        (f"SCRAM-SHA-256$4096:${KEYS}", "salt must be 8 to 64 bytes"),
        (f"SCRAM-SHA-256$4096:{SALT}$WG5d:{KEYS[45:]}", "stored_key must be 32 bytes"),
        (f"SCRAM-SHA-256$4096:{SALT}$:{KEYS[45:]}", "stored_key must be 32 bytes"),
        (f"SCRAM-SHA-256$4096:{SALT}${KEYS[:-1]}", "server_key must be base64"),
        (f"SCRAM-SHA-256$4096:{SALT}${KEYS} ", "server_key must be base64"),
        (f"SCRAM-SHA-256$4096:{SALT}${KEYS[:45]}wfPL", "server_key must be 32 bytes"),
        (f"SCRAM-SHA-256$4096:{SALT}${KEYS[:45]}w\xe4PL", "server_key must be base64"),
    ],
)
def test_the_error_of_a_bad_text_form(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Credentials.from_text(text)
    assert "WG5d" not in str(caught.value)
    assert "wfPL" not in str(caught.value)


def test_the_fields_round_trip() -> None:
    fields = RFC_CREDENTIALS.to_fields()
    assert list(fields) == ["salt", "iterations", "stored_key", "server_key"]
    assert Credentials.from_fields(fields) == RFC_CREDENTIALS


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("salt", None, "salt must be base64"),
        ("salt", 7, "salt must be base64"),
        ("salt", "AAAA", "salt must be 8 to 64 bytes"),
        ("iterations", True, "iterations must be an integer"),
        ("iterations", 4096.0, "iterations must be an integer"),
        ("iterations", "4096", "iterations must be an integer"),
        ("iterations", None, "iterations must be an integer"),
        ("iterations", 10**30, "iterations must be 4096 to 10000000"),
        ("stored_key", [], "stored_key must be base64"),
        ("stored_key", SALT, "stored_key must be 32 bytes"),
        ("server_key", {}, "server_key must be base64"),
        ("server_key", "A", "server_key must be base64"),
    ],
)
def test_the_error_names_the_bad_field(name: str, value: object, reason: str) -> None:
    fields = {**RFC_CREDENTIALS.to_fields(), name: value}
    with pytest.raises(ValueError, match=reason):
        Credentials.from_fields(fields)
