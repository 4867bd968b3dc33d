"""The command line's parser: it imports only the command that argv names, and understands near misses."""

import subprocess
import sys

import pytest

from smtppseudo.cli import main
from smtppseudo.cli.parser import parser
from tests.running import CHECKOUT

SHARED = {"access", "exits", "messages", "options", "parser", "places"}
CODE = """
import sys
from smtppseudo.cli import main
from smtppseudo.cli.parser import parser
try:
    main()
except SystemExit:
    pass
names = [name.removeprefix("smtppseudo.cli.") for name in sys.modules if name.startswith("smtppseudo.cli.")]
print(*names, file=sys.stderr)
"""


def modules_of(*argv: str) -> set[str]:
    """Return the modules of smtppseudo.cli that a command imports."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *argv], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=30
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("argv", "own"),
    [
        (["serve", "--help"], {"serve"}),
        (["unset", "--help"], {"set"}),
        (["watch", "--help"], {"watch"}),
        (["report", "--help"], {"report", "log_files", "pager"}),
        (["find", "--help"], {"find", "log_files"}),
        (["--", "serve", "--help"], {"serve"}),
        (["--help"], set()),
        (["--version"], set()),
        (["nonsense"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_only_the_named_command_is_imported(argv: list[str], own: set[str]) -> None:
    assert modules_of(*argv) - SHARED == own


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        ("statsu", "argument COMMAND: invalid choice: 'statsu'; did you mean status?"),
        ("instal-service", "argument COMMAND: invalid choice: 'instal-service'; did you mean install-service?"),
        ("--verison", "unrecognized arguments: --verison; did you mean --version?"),
        ("status --fromat json", "unrecognized arguments: --fromat; did you mean --format?"),
        ("status --fromat=json", "unrecognized arguments: --fromat=json; did you mean --format?"),
        ("status --format jsno", "argument --format: invalid choice: 'jsno'; did you mean json?"),
        ("set --hots x", "unrecognized arguments: --hots; did you mean --host?"),
        ("serve --monitor-prot 26", "unrecognized arguments: --monitor-prot 26; did you mean --monitor-port?"),
        ("blocked one two", "unrecognized arguments: one two"),
        ("stop --xyzzy", "unrecognized arguments: --xyzzy"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_near_miss_is_answered_with_what_is_similar(
    words: str, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f" error: {mistake}\n")


@pytest.mark.parametrize(
    "words", ["report a b --top 3", "report a --top 3 b", "report --top 3 a b", "report a --top 3 -- b"]
)
def test_options_and_arguments_in_any_order(words: str) -> None:
    options = parser().parse_args(words.split())
    assert (options.logs, options.top) == (["a", "b"], 3)
