"""README, help and man page say the same: commands, options, settings, defaults, exit statuses."""

import argparse
import re
import shlex
from collections.abc import Iterator
from typing import Any, Final

import pytest

from smtppseudo import events
from smtppseudo.cli import exits
from smtppseudo.cli.parser import parser
from smtppseudo.config.file import to_toml
from smtppseudo.config.settings import KEYS, Settings
from smtppseudo.link import pins
from tests.running import CHECKOUT

README: Final = (CHECKOUT / "README.md").read_text()
MAN_PAGE: Final = (CHECKOUT / "smtppseudo/share/man/man1/smtppseudo.1").read_text()
BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODULES: Final = {
    path.stem for path in (CHECKOUT / "smtppseudo").iterdir() if re.fullmatch(r"[a-z]\w+(\.py)?", path.name)
}
UNITS: Final = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

_TOP: Final = parser()
_SUBPARSERS: Final = next(each for each in _TOP._actions if isinstance(each, argparse._SubParsersAction))
COMMANDS: Final[dict[str, argparse.ArgumentParser]] = dict(_SUBPARSERS.choices)
SUMMARIES: Final = {choice.dest: choice.help for choice in _SUBPARSERS._choices_actions}
ACTIONS: Final = [
    (name, action)
    for name, command in COMMANDS.items()
    for action in command._actions
    if not isinstance(action, argparse._HelpAction)
]
STATUSES: Final = {value for value in vars(exits).values() if isinstance(value, int)}


def name_of(value: tuple[str, argparse.Action]) -> str:
    command, action = value
    return f"{command} {action.option_strings[-1] if action.option_strings else action.metavar}"


def options_of(command: argparse.ArgumentParser) -> set[str]:
    return {option for action in command._actions for option in action.option_strings}


def man_section(start: str) -> str:
    """Return what stands in the man page below a heading, to the next."""
    assert f"\n{start}\n" in MAN_PAGE, start
    text = MAN_PAGE.partition(f"\n{start}\n")[2]
    return re.split(r"^\.S[HS] ", text, maxsplit=1, flags=re.MULTILINE)[0].replace(r"\-", "-")


def command_lines(text: str) -> Iterator[list[str]]:
    """Give the words of each smtppseudo command in lines for a shell."""
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for word in [*lexer, ";"]:
            if not set(word) <= set(";&|<>()"):
                words.append(word)
                continue
            yield from arguments_of(words)
            words = []


def arguments_of(words: list[str]) -> Iterator[list[str]]:
    """Give the words after smtppseudo, if that is what is run."""
    match words:
        case ["sudo" | "python3" | "-m" | "-I" | "-S", *rest]:
            yield from arguments_of(rest)
        case ["sh", "-c", text]:
            yield from command_lines(text)
        case ["smtppseudo" | "./smtppseudo.pyz" | "smtppseudo.pyz", *rest]:
            yield rest
        case _:
            pass  # another program


def assert_parses(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        parser().parse_args(words)
    except SystemExit as end:
        if end.code:
            pytest.fail(f"smtppseudo {shlex.join(words)}: {capsys.readouterr().err}")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_with_an_example_and_a_place_in_man_page_and_readme(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = COMMANDS[name]
    assert SUMMARIES[name]
    assert command.description
    title, _, example = (command.epilog or "").partition("\n")
    assert title == "Example:"
    lines = [line.rpartition(": ")[2].strip() for line in example.splitlines()]
    ours = [words for line in lines for words in command_lines(line)]
    assert ours
    assert {words[0] for words in ours} == {name}
    for words in ours:
        assert_parses(words, capsys)
    assert man_section(rf".SS \fBsmtppseudo {name}\fR".replace("-", r"\-"))
    assert all(line in man_section(".SH EXAMPLES").replace(r"\(aq", "'") for line in lines)
    assert re.search(rf"`{name}`|smtppseudo {name}\b", README)


@pytest.mark.parametrize("value", ACTIONS, ids=name_of)
def test_an_option_has_help_and_a_place_in_the_man_page(value: tuple[str, argparse.Action]) -> None:
    name, action = value
    assert action.help
    text = man_section(rf".SS \fBsmtppseudo {name}\fR".replace("-", r"\-"))
    for option in action.option_strings or [str(action.metavar)]:
        assert rf"\fB{option}\fR" in text
    assert action.help.replace("'", r"\(aq") in text.replace("'", r"\(aq")


@pytest.mark.parametrize("value", ACTIONS, ids=name_of)
def test_a_default_is_what_the_help_says(value: tuple[str, argparse.Action]) -> None:
    _, action = value
    said = re.search(r"\(([^()]*)\)$", action.help or "")
    if action.nargs == 0:  # a switch
        return
    if action.default not in (None, [], ()):
        assert said, "does not say its default"
        assert said[1] == shown(action.default)
    elif action.dest in KEYS and getattr(Settings(), action.dest) not in ("", ()):
        assert said, "does not say its default"
        assert all(part in said[1] for part in parts(getattr(Settings(), action.dest)))


def shown(default: Any) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default)


def parts(default: Any) -> list[str]:
    if default == Settings().listen:
        return ["all"]
    return list(default) if isinstance(default, tuple) else [shown(default)]


@pytest.mark.parametrize("name", KEYS)
def test_a_setting_is_in_the_man_page(name: str) -> None:
    text = man_section(".SH SETTINGS")
    assert rf"\fB{name}\fR = {to_toml(getattr(Settings(), name))}" in text


def test_what_readme_names_as_a_setting_is_one() -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)(?: = [^`]+)?`", README))
    named |= set(re.findall(r"\b(?:un)?set ([a-z_]+)\b(?==|\s)", "\n".join(text for _, text in BLOCK.findall(README))))
    fields = {field for kind in events.NAMES for field in kind._fields}
    assert named - KEYS.keys() - fields - MODULES - {pins.PINS_FILE} == set()
    assert len(named & KEYS.keys()) >= 15


def test_what_readme_gives_as_a_default_is_one() -> None:
    """As in "after 600 s in all (`session_timeout_s`)"."""
    checked = set()
    for before, name in re.findall(r"([^()|]{1,100})\(`([a-z_]+)`", README):
        default = getattr(Settings(), name, None)
        if isinstance(default, int | float) and not isinstance(default, bool) and default:
            numbers = re.findall(r"\b(\d[\d,]*)(?: ([KMG]iB))?", before)
            values = {int(digits.replace(",", "")) * UNITS[unit] for digits, unit in numbers}
            assert default in values, f"{name} is {default}; README: {before}"
            checked.add(name)
    assert len(checked) >= 7


def test_what_readme_says_to_type_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    typed: list[list[str]] = []
    for kind, text in BLOCK.findall(README):
        if kind == "sh":
            typed += command_lines(text)
        elif not kind:
            typed += command_lines("\n".join(re.findall(r"^\$ (.*)$", text, re.MULTILINE)))
    assert len(typed) >= 10
    for words in typed:
        assert_parses(words, capsys)


def test_commands_and_options_in_the_text_of_readme_exist() -> None:
    text = BLOCK.sub("", README)
    every_option = options_of(_TOP).union(*map(options_of, COMMANDS.values()))
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= every_option
    spoken = re.findall(r"`smtppseudo ([a-z-]+)( [^`]*)?`", text)
    assert len(spoken) >= 3
    for name, rest in spoken:
        assert name in COMMANDS
        assert set(re.findall(r"--[a-z-]+", rest)) <= options_of(COMMANDS[name])


def test_what_readme_says_needs_a_restart() -> None:
    (sentence,) = re.findall(r"they began with; (.*?) need a restart", README.replace("\n", " "))
    told = re.sub("^addresses, ports", "`listen`, `monitor_listen`, `port`, `monitor_port`", sentence)
    exceptions = dict(re.findall(r"`(\w+_)` but `(\w+)`", told))
    named = {name for name in re.findall(r"`(\w+)`", told) if name in KEYS} - set(exceptions.values())
    named |= {name for name in KEYS for begin, but in exceptions.items() if name.startswith(begin) and name != but}
    assert named == {key.name for key in KEYS.values() if key.at_start}


def test_the_layout_in_readme_names_every_module() -> None:
    layout = README.partition("\n## Contributing\n")[2].partition("\n| to add |")[0]
    assert set(re.findall(r"`(\w+)/?`", layout)) >= MODULES


def test_exit_statuses() -> None:
    in_man_page = set(map(int, re.findall(r"^\.TP\n\.B (\d+)$", man_section(".SH EXIT STATUS"), re.MULTILINE)))
    assert in_man_page == STATUSES
    (sentence,) = re.findall(r"Exit statuses of all commands: (.*?)\. ", README.replace("\n", " "))
    in_readme = set(map(int, re.findall(r"\b\d+\b", sentence)))
    assert in_readme | {exits.DEFERRED} == STATUSES
    for command in COMMANDS.values():
        said = re.search(r"Exit status: ([^.]*)\.", command.description or "")
        assert {int(status) for status in re.findall(r"\b\d+\b", said[1] if said else "")} <= STATUSES
