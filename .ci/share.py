"""Generate the files that the wheel installs below share/: two man pages, and completions for bash, zsh and fish.

    python3 .ci/share.py [DIRECTORY]      without DIRECTORY: smtppseudo/share

The texts come from the parser and the table of settings; only the prose comes from smtppseudo.1.roff and
smtppseudo.toml.5.roff. The same sources give the same bytes. argparse-manpage and shtab are in the extra `test`. Run
this after a change of a command, an option or a setting; a test fails otherwise.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
CHECKOUT: Final = HERE.parent
sys.path.insert(0, str(CHECKOUT))
os.environ["COLUMNS"] = "10000"  # no line breaks here: the reader's terminal decides

import shtab  # noqa: E402
from argparse_manpage.manpage import Manpage  # noqa: E402

from smtppseudo import __version__  # noqa: E402
from smtppseudo.cli.guide import TOPICS  # noqa: E402
from smtppseudo.cli.parser import parser  # noqa: E402
from smtppseudo.config.file import to_toml  # noqa: E402
from smtppseudo.config.settings import KEYS, Key, Settings  # noqa: E402

PROSE: Final = HERE / "smtppseudo.1.roff"
PROSE_OF_SETTINGS: Final = HERE / "smtppseudo.toml.5.roff"
COMPLETIONS: Final = {
    "bash": "bash-completion/completions/smtppseudo",
    "zsh": "zsh/site-functions/_smtppseudo",
    "fish": "fish/vendor_completions.d/smtppseudo.fish",
}
OF_METAVAR: Final = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}


def main() -> None:
    """Write all files below the directory."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT / "smtppseudo" / "share"
    texts = {"man/man1/smtppseudo.1": man_page(), "man/man5/smtppseudo.toml.5": settings_page()}
    texts |= {name: completion(shell) for shell, name in COMPLETIONS.items()}
    for name, text in texts.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def completion(shell: str) -> str:
    """Return a shell's completions: commands, options, and their known values."""
    top = parser()
    for name, command, summary in commands(top):
        command.description = summary
        for action in command._actions:  # noqa: SLF001 - argparse has no public way to inspect a parser
            if action.metavar in OF_METAVAR:
                action.complete = OF_METAVAR[action.metavar]  # type: ignore[attr-defined]
            if (name, action.metavar) == ("unset", "KEY"):
                action.choices = [name for name, key in KEYS.items() if key.by_monitor]
            if (name, action.metavar) == ("guide", "TOPIC"):
                action.choices = TOPICS
    return without_blanks(shtab.complete(top, shell))


def man_page() -> str:
    """Return the man page: the parser by argparse-manpage, the examples, and the prose."""
    top = parser()
    examples = []
    for name, command, _ in commands(top):
        examples.append((name, command.epilog or ""))
        command.epilog = None
    top.description = top.epilog = None  # the prose has this
    page = Manpage(without_summaries(top), format="single-commands-section")
    page.synopsis = [word.replace("-", r"\-") for word in page.synopsis]
    page.description = "a mail server that takes no mail"
    page.source = f"smtppseudo {__version__}"
    page.manual = "smtppseudo"
    page.date = date()
    page.parse_include(PROSE)
    page.add_section("EXAMPLES", "=", "\n".join(example(*each) for each in examples))
    text = str(page).replace(".SH\nCOMMANDS", ".SH COMMANDS")
    text = text.replace(page.date.replace("-", r"\-"), page.date, 1)  # mandoc reads no date with escapes
    # Neither hyphenate options nor justify lines.
    return without_blanks(text.replace(".SH NAME", ".nh\n.ad l\n.SH NAME", 1))


def settings_page() -> str:
    """Return the man page of the settings file."""
    title = f'.TH SMTPPSEUDO.TOML "5" "{date()}" "smtppseudo {__version__}" "smtppseudo"\n.nh\n.ad l\n'
    return without_blanks(
        title + PROSE_OF_SETTINGS.read_text().replace("@SETTINGS@\n", "".join(map(setting, KEYS, KEYS.values())))
    )


def commands(top: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Yield each command's name, parser and summary."""
    for action in subcommands(top):
        for choice in action._choices_actions:  # noqa: SLF001
            yield choice.dest, action.choices[choice.dest], choice.help or ""


def without_summaries(top: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Remove the commands' summaries, which their descriptions repeat; return the parser."""
    for action in subcommands(top):
        for choice in action._choices_actions:  # noqa: SLF001
            choice.help = None
    return top


def subcommands(top: argparse.ArgumentParser) -> Iterator["argparse._SubParsersAction[argparse.ArgumentParser]"]:
    """Yield the parser's action that holds the commands."""
    return (each for each in top._actions if isinstance(each, argparse._SubParsersAction))  # noqa: SLF001


def setting(name: str, key: Key) -> str:
    """Return a setting as a list entry: name, default, help, and allowed values."""
    changed = " A monitor may change it." if key.by_monitor else ""
    return "\n".join(
        (
            ".TP",
            rf"\fB{escaped(name)}\fR = {escaped(to_toml(getattr(Settings(), name)))}",
            escaped(key.help),
            f"Allowed: {escaped(allowed(key))}.{changed}\n",
        )
    )


def allowed(key: Key) -> str:
    """Return the allowed values of a setting, in the words of its check."""
    try:
        key.check(object())
    except ValueError as error:
        return str(error)
    raise AssertionError(f"takes anything: {key.help}")


def example(name: str, epilog: str) -> str:
    """Return a command's example as a list entry."""
    lines = [line.strip() for line in epilog.splitlines()[1:]]
    return "\n".join((".TP", rf"\fB{escaped(name)}\fR", ".nf", *map(escaped, lines), ".fi"))


def escaped(text: str) -> str:
    """Escape text for roff: no request and no escape sequence is left."""
    for sign, name in (("\\", r"\e"), ("-", r"\-"), ("'", r"\(aq"), ("`", r"\(ga"), ("^", r"\(ha"), ("~", r"\(ti")):
        text = text.replace(sign, name)
    return rf"\&{text}" if text.startswith(".") else text


def date() -> str:
    """Return the date of the last release, or an empty text before the first."""
    found = re.search(r"^## \[[^]]+] - ([0-9-]+)$", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    return found[1] if found else ""


def without_blanks(text: str) -> str:
    """Strip the ends of lines, and end the text with one line feed."""
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).rstrip("\n") + "\n"


if __name__ == "__main__":
    main()
