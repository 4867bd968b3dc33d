"""Running tools, and the state of the service from the properties of its unit."""

import pytest

from smtppseudo.service.systemd import ToolError, run_tool, state_from


def test_a_missing_tool_is_an_error() -> None:
    with pytest.raises(ToolError, match=r"^no-such-tool is not installed$"):
        run_tool("no-such-tool")


def test_the_message_of_a_failing_tool_becomes_one_line() -> None:
    with pytest.raises(ToolError, match=r"^one two$"):
        run_tool("sh", "-c", "echo one >&2; echo two >&2; exit 3")


def test_a_tool_that_fails_silently_gives_its_exit_status() -> None:
    with pytest.raises(ToolError, match=r"^sh ended with exit status 3$"):
        run_tool("sh", "-c", "exit 3")


def test_a_tool_that_runs_too_long_is_an_error() -> None:
    with pytest.raises(ToolError, match=r"^sleep did not end within 0.1 s$"):
        run_tool("sleep", "60", timeout_s=0.1)


def test_the_output_of_a_tool_is_returned() -> None:
    assert run_tool("echo", "a") == "a\n"


def test_the_state_is_read_from_the_properties_of_the_unit() -> None:
    found = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}
    assert state_from(found)[:3] == ("yes", "yes (running)", "yes")
    assert state_from({**found, "ActiveState": "failed", "UnitFileState": "disabled"})[1:3] == (
        "no (failed)",
        "no",
    )
    assert state_from({"LoadState": "not-found"}) == ("no", "no", "no", "")
