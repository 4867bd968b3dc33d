"""The command lines that the screen runs."""

import pytest

from smtppseudo.service.commands import ServiceAction, argv_for, as_root


def test_root_runs_the_command_itself() -> None:
    assert as_root(["a", "b c"], is_root=True, which=lambda name: None) == ["a", "b c"]


def test_other_users_run_it_by_sudo() -> None:
    assert as_root(["a", "b c"], is_root=False, which=lambda name: f"/usr/bin/{name}") == ["sudo", "a", "b c"]


def test_other_users_run_it_by_su_without_sudo() -> None:
    assert as_root(["a", "b c"], is_root=False, which=lambda name: None) == ["su", "-c", "a 'b c'"]


@pytest.mark.parametrize(
    ("action", "end"),
    [
        (ServiceAction.INSTALL, ["-I", "-m", "smtppseudo", "install-service"]),
        (ServiceAction.UNINSTALL, ["-I", "-m", "smtppseudo", "uninstall-service"]),
        (ServiceAction.START, ["systemctl", "start", "smtppseudo.service"]),
        (
            ServiceAction.STOP,
            ["systemctl", "stop", "smtppseudo.socket", "smtppseudo-monitor.socket", "smtppseudo.service"],
        ),
    ],
)
def test_the_command_line_of_each_action(
    action: ServiceAction, end: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert argv_for(action)[-len(end) :] == end
