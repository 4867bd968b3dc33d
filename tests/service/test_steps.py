"""Steps, and what a failure says."""

import pytest

from smtppseudo.service.commands import Action, argv_for, as_root
from smtppseudo.service.steps import Step, StepError, carry_out
from smtppseudo.service.systemd import ToolError, call, read_properties


def nothing() -> None:
    """Do nothing."""


def fail_for_a_file() -> None:
    raise PermissionError(1, "Operation not permitted", "/etc/a")


def fail_for_a_tool() -> None:
    raise ToolError("it broke")


def test_what_was_done_is_said_and_returned() -> None:
    said: list[str] = []
    steps = [Step("do a", "did a", nothing), Step("do b", "did b", nothing)]
    assert carry_out(steps, "undo", said.append) == said == ["did a", "did b"]


def test_a_failure_says_what_was_done_and_how_to_undo_it() -> None:
    said: list[str] = []
    steps = [Step("do a", "did a", nothing), Step("do b", "did b", nothing), Step("do c", "did c", fail_for_a_tool)]
    with pytest.raises(StepError) as caught:
        carry_out(steps, "`x` undoes it", said.append)
    assert str(caught.value) == "cannot do c: it broke; done so far: did a, did b; `x` undoes it"
    assert said == ["did a", "did b"]


def test_a_failure_of_the_first_step_says_that_nothing_was_done() -> None:
    with pytest.raises(StepError) as caught:
        carry_out([Step("do a", "did a", fail_for_a_file)], "undo", print)
    assert str(caught.value) == "cannot do a: /etc/a: Operation not permitted; nothing was changed"


def test_no_step_is_taken_after_a_failure() -> None:
    said: list[str] = []
    with pytest.raises(StepError):
        carry_out([Step("a", "a", fail_for_a_tool), Step("b", "b", nothing)], "undo", said.append)
    assert said == []


def test_a_tool_that_is_not_there() -> None:
    with pytest.raises(ToolError, match=r"^no-such-tool is not installed$"):
        call("no-such-tool")


def test_a_tool_that_complains() -> None:
    with pytest.raises(ToolError, match=r"^one two$"):
        call("sh", "-c", "echo one >&2; echo two >&2; exit 3")


def test_a_tool_that_fails_without_a_word() -> None:
    with pytest.raises(ToolError, match=r"^sh ended with exit status 3$"):
        call("sh", "-c", "exit 3")


def test_a_tool_that_does_not_end() -> None:
    with pytest.raises(ToolError, match=r"^sleep did not come to an end within 0.1 s$"):
        call("sleep", "60", timeout_s=0.1)


def test_what_a_tool_prints() -> None:
    assert call("echo", "a") == "a\n"


def test_root_needs_no_sudo() -> None:
    assert as_root(["a", "b c"], is_root=True, find=lambda name: None) == ["a", "b c"]


def test_others_go_by_sudo_where_it_is() -> None:
    assert as_root(["a", "b c"], is_root=False, find=lambda name: f"/usr/bin/{name}") == ["sudo", "a", "b c"]


def test_others_go_by_su_elsewhere() -> None:
    assert as_root(["a", "b c"], is_root=False, find=lambda name: None) == ["su", "-c", "a 'b c'"]


@pytest.mark.parametrize(
    ("action", "end"),
    [
        (Action.INSTALL, ["-I", "-m", "smtppseudo", "install-service"]),
        (Action.UNINSTALL, ["-I", "-m", "smtppseudo", "uninstall-service"]),
        (Action.START, ["systemctl", "start", "smtppseudo.service"]),
        (Action.STOP, ["systemctl", "stop", "smtppseudo.socket", "smtppseudo-monitor.socket", "smtppseudo.service"]),
    ],
)
def test_the_commands_for_the_screen(action: Action, end: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert argv_for(action)[-len(end) :] == end


def test_the_state_of_the_unit_is_read() -> None:
    found = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}
    assert read_properties(found)[:3] == ("yes", "yes (running)", "yes")
    assert read_properties({**found, "ActiveState": "failed", "UnitFileState": "disabled"})[1:3] == (
        "no (failed)",
        "no",
    )
    assert read_properties({"LoadState": "not-found"}) == ("no", "no", "no", "")
