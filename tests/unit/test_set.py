"""`set`: values in TOML, or plain strings."""

import pytest

from smtppseudo.cli import exits
from smtppseudo.cli.set import read_changes, read_value


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
def test_value_is_toml_or_a_plain_string(word: str, value: object) -> None:
    (found,) = read_changes([word]).values()
    assert found == value
    assert type(found) is type(value)


def test_value_cannot_contain_another_key() -> None:
    assert read_value("accept_mail", "true\nreject_at = 'data'") == "true\nreject_at = 'data'"


@pytest.mark.parametrize("words", [["greeting"], ["=x"], ["greeting=a", "greeting=b"], ["a=1", ""]])
def test_word_without_key_and_value_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(exits.CommandError) as caught:
        read_changes(words)
    assert caught.value.status == exits.USAGE
