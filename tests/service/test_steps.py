"""Steps are carried out in order; an error says which were done."""

import pytest

from smtppseudo.cli.exits import CommandError
from smtppseudo.cli.service import carry_out
from smtppseudo.service.steps import Step
from smtppseudo.service.systemd import ToolError


def nothing() -> None:
    """Do nothing."""


def fail_for_a_file() -> None:
    raise PermissionError(1, "Operation not permitted", "/etc/a")


def fail_for_a_tool() -> None:
    raise ToolError("it broke")


def test_each_step_is_printed_and_returned(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [Step("do a", "did a", nothing), Step("do b", "did b", nothing)]
    assert carry_out(steps, "undo") == ["did a", "did b"]
    assert capsys.readouterr().out == "did a\ndid b\n"


def test_the_error_says_what_was_done_and_how_to_undo_it(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [Step("do a", "did a", nothing), Step("do b", "did b", nothing), Step("do c", "did c", fail_for_a_tool)]
    with pytest.raises(CommandError) as caught:
        carry_out(steps, "`x` undoes it")
    assert str(caught.value) == "cannot do c: it broke; done so far: did a, did b; `x` undoes it"
    assert capsys.readouterr().out == "did a\ndid b\n"


def test_the_error_of_the_first_step_says_that_nothing_was_changed() -> None:
    with pytest.raises(CommandError) as caught:
        carry_out([Step("do a", "did a", fail_for_a_file)], "undo")
    assert str(caught.value) == "cannot do a: /etc/a: Operation not permitted; nothing was changed"


def test_no_step_begins_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError):
        carry_out([Step("a", "a", fail_for_a_tool), Step("b", "b", nothing)], "undo")
    assert capsys.readouterr().out == ""
