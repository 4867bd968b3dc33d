"""The command lines that the screen runs."""

import pytest

from smtppseudo.service.commands import ServiceAction, argv_for

START = ["systemctl", "start", "smtppseudo.service"]


def test_other_users_run_it_by_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert argv_for(ServiceAction.START) == ["sudo", *START]


def test_other_users_run_it_by_su_without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.executable", "/opt/a b/python")
    assert argv_for(ServiceAction.START) == ["su", "-c", "systemctl start smtppseudo.service"]
    assert argv_for(ServiceAction.INSTALL) == ["su", "-c", "'/opt/a b/python' -I -m smtppseudo install-service"]


def test_root_starts_the_service_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert argv_for(ServiceAction.START) == START


@pytest.mark.parametrize(
    ("action", "end"),
    [
        (ServiceAction.INSTALL, ["-I", "-m", "smtppseudo", "install-service"]),
        (ServiceAction.UNINSTALL, ["-I", "-m", "smtppseudo", "uninstall-service"]),
        (ServiceAction.START, START),
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
