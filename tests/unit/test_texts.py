"""The rules of the texts that can be checked: how help and errors begin and end, and words that have another."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.cli.guide import TOPICS
from smtppseudo.config.settings import KEYS
from smtppseudo.tui.actions import ACTIONS, OTHER_KEYS
from smtppseudo.tui.texts import sentence
from tests.running import CHECKOUT
from tests.unit.test_documentation import ACTIONS as OPTIONS
from tests.unit.test_documentation import COMMANDS, SUMMARIES, name_of

SOURCES: Final = sorted((CHECKOUT / "smtppseudo").rglob("*.py"))
PAGES: Final = (
    *("README.md", "CHANGELOG.md", ".github/SECURITY.md", ".github/CONTRIBUTING.md", "smtppseudo/monitor/PROTOCOL.md"),
    *("smtppseudo/share/man/man1/smtppseudo.1", "smtppseudo/share/man/man5/smtppseudo.toml.5"),
)

# Each thing has one name, and each sentence is understood at first reading: words that must not come back, and what is
# written instead. Names in backticks are not meant.
OTHER_WORDS: Final = {
    "octets?": "bytes",
    "hurr(y|ied)": "not delayed",
    "noes": "refusals",
    "newcomers?": "new callers",
    "visitors?": "callers",
    "who(so)?m?ever": "a noun",
    "port for monitors": "monitor port",
    "by TLS": "over TLS",
    "anew": "again",
    "lest": "so that ... not",
    "be it": "whether",
    "for ever": "permanently",
    "of ours": "of the server",
    "(can|could) be had": "is available",
    "steers?": "controls",
    "wears? out": "an active verb",
}
_OTHER_WORD: Final = re.compile(rf"\b({'|'.join(OTHER_WORDS)})\b", re.IGNORECASE)


def other_words(text: str) -> list[str]:
    """Return the words of a text that have another."""
    prose = re.sub(r"`[^`]*`", "", " ".join(text.split()))
    return [match[0] for match in _OTHER_WORD.finditer(prose)]


def literal(node: ast.expr) -> str:
    """Return a text as it stands in the source, `{}` for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return ""


def errors_in(path: Path) -> Iterator[str]:
    """Give the texts of the errors that a module raises for people."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            text = literal(node.exc.args[0])
            if text:
                yield text


ERRORS: Final = [(path.stem, text) for path in SOURCES for text in errors_in(path)]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_a_phrase_and_a_description_sentences(name: str) -> None:
    assert re.fullmatch(r"[a-z][ -~]+[^.]", SUMMARIES[name] or "")
    assert re.fullmatch(r"[A-Z][ -~]+\.", COMMANDS[name].description or "")
    assert COMMANDS[name].prog == f"smtppseudo {name}"


@pytest.mark.parametrize("value", OPTIONS, ids=name_of)
def test_the_help_of_an_option_is_a_phrase(value: tuple[str, argparse.Action]) -> None:
    _, action = value
    assert re.fullmatch(r"[a-z][ -~]+[^.]", action.help or "")
    if action.nargs != 0 and not action.choices:
        assert str(action.metavar).isupper() or action.metavar == "SHA256:..."


def test_errors_are_phrases_on_one_line() -> None:
    assert len(ERRORS) > 100
    for module, text in ERRORS:
        first = text.partition(" ")[0]
        assert "\n" not in text, (module, text)
        assert not re.search(r"[^.]\.$", text), (module, text)
        # What begins with a capital is a name: an option's value, a variable, TLS.
        assert not re.fullmatch(r"[A-Z][a-z]+", first), (module, text)


def test_what_the_keys_of_the_screen_do_is_said_alike() -> None:
    for text in [action.help for action in ACTIONS] + [text for _, text in OTHER_KEYS]:
        assert re.fullmatch(r"[A-Z][ -~]+[^.]", text)


@pytest.mark.parametrize("page", [*PAGES, *(f"smtppseudo/guide/{topic}.md" for topic in TOPICS)])
def test_pages_use_the_words_of_this_project(page: str) -> None:
    assert other_words((CHECKOUT / page).read_text()) == []


def test_help_settings_and_errors_use_the_words_of_this_project() -> None:
    texts = [text for _, text in ERRORS] + [key.help for key in KEYS.values()]
    texts += [action.help or "" for _, action in OPTIONS] + [command.description or "" for command in COMMANDS.values()]
    assert [(words, text) for text in texts if (words := other_words(text))] == []


def test_the_rule_for_words_finds_them() -> None:
    assert other_words("So many\noctets, and\nno `octets`; Whoever hurried anew for\never.") == [
        "octets",
        "Whoever",
        "hurried",
        "anew",
        "for ever",
    ]
    assert other_words("bytes, hurricane, listen, beit, coursed") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the connection is lost", "The connection is lost."),
        ("it is done.", "It is done."),
        ("is that a monitor port?", "Is that a monitor port?"),
        ("smtppseudo is not installed", "smtppseudo is not installed."),
        ("accept_mail must be true or false", "accept_mail must be true or false."),
        ("127.0.0.1 port 26: Not Authorized!", "127.0.0.1 port 26: Not Authorized!"),
        ("caf\xe9 \x1b", "Caf\\xc3\\xa9 \\x1b."),
    ],
)
def test_a_sentence_on_the_screen(text: str, said: str) -> None:
    assert sentence(text) == said
