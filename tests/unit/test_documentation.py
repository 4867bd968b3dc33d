"""README, guide, help and man page say the same: commands, options, settings, defaults, exit statuses."""

import argparse
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import pytest

from smtppseudo import events
from smtppseudo.cli import exits
from smtppseudo.cli.guide import TOPICS
from smtppseudo.cli.parser import parser
from smtppseudo.config.file import parse_file, to_toml
from smtppseudo.config.settings import BLOCKLIST_FORMATS, KEYS, TARPIT, Settings
from smtppseudo.link import pins
from smtppseudo.report.report import KINDS
from tests.documents import BLOCKS, FENCED, GUIDE, README, TEXTS, Block, block
from tests.loopback.test_guide_blocks import HOW
from tests.running import CHECKOUT

MAN_PAGE: Final = (CHECKOUT / "smtppseudo/share/man/man1/smtppseudo.1").read_text()
MAN_PAGE_OF_SETTINGS: Final = (CHECKOUT / "smtppseudo/share/man/man5/smtppseudo.toml.5").read_text()
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


def blocks_of(page: str) -> list[Block]:
    return [each for each in BLOCKS if each.page == page]


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
def test_a_command_has_help_with_an_example_and_is_in_the_man_page_and_on_a_page(
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
    assert any(re.search(rf"`{name}`|smtppseudo {name}\b", text) for text in TEXTS.values())


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
    text = MAN_PAGE_OF_SETTINGS.replace(r"\-", "-")
    assert rf"\fB{name}\fR = {to_toml(getattr(Settings(), name))}" in text


@pytest.mark.parametrize("page", TEXTS)
def test_a_page_names_only_settings_that_exist(page: str) -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)(?: = [^`]+)?`", TEXTS[page]))
    named |= set(re.findall(r"\b(?:un)?set ([a-z_]+)\b(?==|\s)", "\n".join(each.commands for each in blocks_of(page))))
    fields = {field for kind in events.NAMES for field in kind._fields}
    assert named - KEYS.keys() - fields - MODULES - {pins.PINS_FILE} == set()


def test_the_pages_explain_most_settings() -> None:
    text = "\n".join(TEXTS.values())
    assert len([name for name in KEYS if f"`{name}" in text]) >= 30


def test_a_default_on_a_page_is_the_real_one() -> None:
    """As in "after 600 s in all (`session_timeout_s`)"."""
    checked = set()
    for page, text in TEXTS.items():
        for before, name in re.findall(r"([^()|]{1,100})\(`([a-z_]+)`", text):
            default = getattr(Settings(), name, None)
            if isinstance(default, int | float) and not isinstance(default, bool) and default:
                numbers = re.findall(r"\b(\d[\d,]*)(?: ([KMG]iB))?", before)
                values = {int(digits.replace(",", "")) * UNITS[unit] for digits, unit in numbers}
                assert default in values, f"{name} is {default}; {page}: {before}"
                checked.add(name)
    assert len(checked) >= 7


def test_the_table_of_settings_in_readme_has_their_defaults() -> None:
    section = TEXTS[README].partition("\n## Settings that matter\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`\w+`.*?) \| (`.*?`) \| ", section, re.MULTILINE)
    assert len(rows) == 10
    for names, defaults in rows:
        stated = zip(re.findall(r"`(\w+)`", names), re.findall(r"`(.*?)`", defaults), strict=False)
        for name, default in stated:
            assert default == to_toml(getattr(Settings(), name)), name


def test_the_tarpit_page_has_the_values_of_the_tarpit() -> None:
    stated = re.findall(r"([\d,]+|one)\b[^(]*?\(`(\w+)`", TEXTS["tarpit"])
    numbers = {name: 1 if number == "one" else int(number) for number, name in stated}
    assert numbers == {name: TARPIT[name] for name in ("greet_delay_s", "reply_delay_s", "stutter_bytes_per_s")}


@pytest.mark.parametrize("page", TEXTS)
def test_a_command_on_a_page_is_understood(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for each in blocks_of(page):
        for words in command_lines(each.commands):
            assert_parses(words, capsys)


@pytest.mark.parametrize("page", TEXTS)
def test_a_command_or_option_in_the_text_of_a_page_exists(page: str) -> None:
    text = " ".join(FENCED.sub("", TEXTS[page]).split())
    every_option = options_of(_TOP).union(*map(options_of, COMMANDS.values()))
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= every_option | {"--quick"}  # that of the benchmarks
    for name, rest in re.findall(r"`(?:sudo )?smtppseudo ([a-z-]+)( [^`]*)?`", text):
        assert name in COMMANDS
        assert set(re.findall(r"--[a-z-]+", rest)) <= options_of(COMMANDS[name])
        assert name != "guide" or rest.strip() in (*TOPICS, "TOPIC", "")


def test_the_settings_page_names_every_setting_that_needs_a_restart() -> None:
    text = " ".join(TEXTS["settings"].split())
    (sentence,) = re.findall(r"These settings need a restart (.*?)\.(?: |$)", text)
    exceptions = dict(re.findall(r"begins with `(\w+_)` except (`\w+`(?: and `\w+`)?)", sentence))
    others = {name for names in exceptions.values() for name in re.findall(r"\w+", names)}
    named = {name for name in re.findall(r"`(\w+)`", sentence) if name in KEYS}
    named |= {name for name in KEYS if name.startswith(tuple(exceptions))}
    named -= others
    assert named == {name for name, key in KEYS.items() if key.at_start}


def test_the_settings_page_names_every_setting_that_a_monitor_can_set() -> None:
    text = " ".join(TEXTS["settings"].split())
    (sentence,) = re.findall(r"These can be set: (.*?)\.(?: |$)", text)
    assert sorted(re.findall(r"`(\w+)`", sentence)) == sorted(name for name, key in KEYS.items() if key.by_monitor)


def test_the_reports_page_names_every_table() -> None:
    text = " ".join(TEXTS["reports"].split())
    (sentence,) = re.findall(r"`--by` chooses the tables: (.*?)\.(?: |$)", text)
    assert sorted(re.findall(r"`(\w+)`", sentence)) == sorted(KINDS)


def test_the_block_lists_page_names_formats_and_evidence() -> None:
    text = " ".join(TEXTS["block-lists"].split())
    (sentence,) = re.findall(r"The formats are (.*?)\. ", text)
    assert re.findall(r"`(\w+)`", sentence) == list(BLOCKLIST_FORMATS)
    assert Settings().blocklist_evidence == ("mail", "auth", "pregreet", "errors")
    assert "Evidence is MAIL with a reverse-path, AUTH, a command before the greeting, or too many errors" in text


def test_the_settings_on_the_pages_are_valid() -> None:
    tables = [each for each in BLOCKS if each.kind == "toml"]
    for each in tables:
        assert parse_file(each.text, each.page, pytest.fail)
    assert len(tables) >= 6


def test_the_layout_on_the_design_page_is_the_one_that_is_checked() -> None:
    contracts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [each["layers"] for each in contracts if each["type"] == "layers"]
    height = {name: at for at, layer in enumerate(layers) for name in layer.split(" | ")}
    lines = [re.split(r"\s{2,}", line)[0].split(", ") for line in block("design", "cli  ").text.splitlines()]
    drawn = [name for names in lines for name in names]
    assert sorted(drawn) == sorted(height.keys() - {"__main__"})
    assert [height[name] for name in drawn] == sorted(height[name] for name in drawn)
    assert MODULES - height.keys() == {"guide", "share"}


def test_the_contributing_page_names_the_variables_of_the_tests() -> None:
    sources = "".join(path.read_text() for path in (CHECKOUT / "tests").rglob("*.py"))
    named = set(re.findall(r"\bSMTPPSEUDO_[A-Z_]+\b", sources))
    assert len(named) >= 6
    assert named == set(re.findall(r"`(SMTPPSEUDO_[A-Z_]+)=", TEXTS["contributing"]))


@pytest.mark.parametrize("page", TEXTS)
def test_a_file_that_a_page_names_exists(page: str) -> None:
    folder = CHECKOUT if page == README else GUIDE
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXTS[page]):
        assert (folder / link).exists(), link
    for name in re.findall(r"`((?:smtppseudo|tests|\.ci)/[\w./-]+)`", TEXTS[page]):
        assert (CHECKOUT / name).exists(), name
    if page in ("design", "contributing"):
        for name in re.findall(r"`([a-z]+(?:/\w+)*(?:\.\w+|/))`", TEXTS[page]):
            assert any((folder / name).exists() for folder in (CHECKOUT, CHECKOUT / "smtppseudo")), name


def test_every_block_is_run_by_a_test_or_listed_with_a_reason() -> None:
    listed = [block(page, start) for page, blocks in HOW.items() for start in blocks]
    assert sorted(listed) == sorted(each for each in BLOCKS if each.kind != "toml")


def test_readme_lists_the_pages_of_the_guide() -> None:
    section = TEXTS[README].partition("\n## The guide\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"\[([a-z0-9-]+)\]\(smtppseudo/guide/\1\.md\)", section)) == sorted(TOPICS)
    assert sorted(TOPICS) == sorted(TEXTS.keys() - {README})


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_begins_with_a_heading_its_purpose_and_a_command(topic: str) -> None:
    text = TEXTS[topic]
    assert text.isascii()  # so that every terminal shows it
    assert re.match(r"# [A-Z][^\n]{10,70}\n\nFor [^`]+?\.\s", text)
    assert blocks_of(topic)[0].kind in ("sh", "bat")
    assert text.index("```") < 700


def test_readme_is_short() -> None:
    assert TEXTS[README].count("\n") < 200


def test_the_test_commands_are_where_ci_looks_for_them() -> None:
    tests = TEXTS[README].partition("\n## Tests\n")[2].partition("\n## ")[0]
    first, second = (text for _, text in FENCED.findall(tests))
    assert first.count("\n") == second.count("\n") == 1
    assert first.endswith("&& .venv/bin/pytest\n")
    assert second == ".venv/bin/pytest -m slow\n"


def test_exit_statuses() -> None:
    in_man_page = set(map(int, re.findall(r"^\.TP\n\.B (\d+)$", man_section(".SH EXIT STATUS"), re.MULTILINE)))
    assert in_man_page == STATUSES
    (sentence,) = re.findall(r"Exit statuses of all commands: (.*?)\. ", TEXTS["monitor"].replace("\n", " "))
    on_the_page = set(map(int, re.findall(r"\b\d+\b", sentence)))
    assert on_the_page | {exits.DEFERRED} == STATUSES
    for command in COMMANDS.values():
        said = re.search(r"Exit status: ([^.]*)\.", command.description or "")
        assert {int(status) for status in re.findall(r"\b\d+\b", said[1] if said else "")} <= STATUSES
