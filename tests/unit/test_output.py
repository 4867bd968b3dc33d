"""Every text that a command prints passes through `cli/messages.py`, which escapes it. The screen has its own tests."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.cli import messages
from smtppseudo.events import printable, printable_lines
from tests.running import CHECKOUT

PACKAGE: Final = CHECKOUT / "smtppseudo"
MESSAGES: Final = PACKAGE / "cli" / "messages.py"
SOURCES: Final = [path for path in sorted(PACKAGE.rglob("*.py")) if path != MESSAGES]

# What prints, whatever the module is called in which it stands.
_PRINTS: Final = {"print", "write", "writelines", "input", "getpass", "pager", "print_usage", "print_help", "exit"}
_ESCAPES: Final = {"printable", "printable_lines", "as_shown"}


def name_of(called: ast.expr) -> str:
    return ast.unparse(called).rpartition(".")[2]


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def ways_out(source: str) -> Iterator[str]:
    """Yield the calls that could print a text that is not escaped."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or name_of(node.func) not in _PRINTS:
            continue
        called = ast.unparse(node.func)
        if name_of(node.func) in ("write", "writelines") and not called.startswith(("sys.std", "stdout.", "stderr.")):
            continue  # a file or a socket
        first = node.args[0] if node.args else None
        is_escaped = isinstance(first, ast.Call) and name_of(first.func) in _ESCAPES
        is_own = first is None or isinstance(first, ast.Constant)
        is_status = called == "sys.exit" and first is not None and not any(map(is_text, ast.walk(first)))
        if not (is_escaped or is_own or is_status):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(PACKAGE)) for path in SOURCES])
def test_nothing_else_prints(path: Path) -> None:
    found = list(ways_out(path.read_text()))
    if path.name == "__main__.py":
        found = [call for call in found if "this is Python" not in call]  # numbers; older Pythons lack the module
    assert found == []


@pytest.mark.parametrize(
    "code",
    ["print(name)", "sys.stdout.write(name)", "sys.stderr.writelines(names)", "input(name)", "sys.exit(f'{name}')"],
)
def test_a_way_out_is_found(code: str) -> None:
    assert list(ways_out(code))


HOSTILE: Final = "\x1b[2J\n\x7f\x9b\u2028\u202e\ud800\udcff\t\\ä"
ESCAPED: Final = r"\x1b[2J\x0a\x7f\xc2\x9b\xe2\x80\xa8\xe2\x80\xae\xed\xa0\x80\xff\x09\ä".replace("ä", r"\xc3\xa4")


def test_all_but_printable_ascii_is_escaped() -> None:
    # A whole run with half a surrogate pair is no file name, so its bytes are those of UTF-8.
    assert printable(HOSTILE.replace("\ud800", " ")) == ESCAPED.replace(r"\xed\xa0\x80", " ")
    assert printable("\ud800") == r"\xed\xa0\x80"
    assert printable_lines("a\n\x1b\n") == "a\n\\x1b\n"
    assert printable("") == printable_lines("") == ""


def test_every_way_to_the_terminal_escapes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    name = "\x1b]0;x\x07\udcff\u202e"
    shown = r"\x1b]0;x\x07\xff\xe2\x80\xae"
    messages.print_line(f"{name}\n")
    messages.print_text(f"{name}\n{messages.BAR}\n")
    messages.say(f"{name}\n")
    monkeypatch.setattr("sys.stdin.readline", lambda: "y\n", raising=False)
    assert messages.ask(f"{name}\n") == "y\n"
    messages.show_progress(f"{name}\n")
    out, err = capsys.readouterr()
    assert out == f"{shown}\\x0a\n{shown}\n{messages.BAR}\n"
    assert err == f"smtppseudo: {shown}\\x0a\n{shown}\n\r{shown}\\x0a"


def test_a_message_that_must_not_fail_is_escaped(capfd: pytest.CaptureFixture[str]) -> None:
    messages.say_if_possible("\x1b\n\udcff")
    assert capfd.readouterr().err == "smtppseudo: \\x1b\\x0a\\xff\n"
