"""The Windows service: its access lists, its command line, its steps and its states, none of which need Windows."""

from pathlib import Path

import pytest

from smtppseudo.cli.exits import CommandError
from smtppseudo.cli.service import carry_out
from smtppseudo.service.layout import Program
from smtppseudo.service.systemd import ToolError
from smtppseudo.service.units import Endpoint
from smtppseudo.service.windows.plan import Plan, install_steps, options_in, service_argv, uninstall_steps
from smtppseudo.service.windows.status import State, Status, status_after
from smtppseudo.win32 import MODIFY, access_list, service_sid

OURS = "S-1-5-80-3728353102-1194623020-2992966334-2667543629-2824137647"


class FakeWindows:
    """Records what the steps do. `fails` names a method that raises an error."""

    def __init__(self, state: State | None, fails: str = "") -> None:
        self.calls: list[str] = []
        self._state = state
        self._fails = fails

    def state(self) -> State | None:
        return self._state

    def make_directory(self, path: Path, sddl: str) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._call(f"close {path.name}")

    def register(self, plan: Plan) -> None:
        self._state = self._state or State.STOPPED
        self._call("register")

    def start(self) -> None:
        self._call("start")

    def stop(self) -> None:
        self._call("stop")

    def delete(self) -> None:
        self._call("delete")

    def _call(self, name: str) -> None:
        if name == self._fails:
            raise ToolError("it broke")
        self.calls.append(name)


def plan_in(home: Path) -> Plan:
    pinned = {"config": str(home / "a.toml"), "state-dir": str(home / "state"), "log-dir": str(home / "log")}
    return Plan(("python.exe", "-I"), pinned, (Endpoint(("0.0.0.0",), 25), Endpoint(("::1",), 26)), home)


# Access lists


def test_the_sid_of_a_service_is_that_of_windows() -> None:
    # As `sc showsid TrustedInstaller` prints it on every Windows.
    known = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
    assert service_sid("TrustedInstaller") == service_sid("TRUSTEDINSTALLER") == known
    assert service_sid("smtppseudo") == OURS


@pytest.mark.parametrize(
    ("user", "entries"),
    [
        ("S-1-5-18", "(A;OICI;FA;;;S-1-5-18)(A;OICI;FA;;;S-1-5-32-544)"),
        ("S-1-5-21-7", "(A;OICI;FA;;;S-1-5-21-7)(A;OICI;FA;;;S-1-5-18)(A;OICI;FA;;;S-1-5-32-544)"),
    ],
)
def test_the_access_list_is_protected_and_lets_nobody_else_in(user: str, entries: str) -> None:
    assert access_list(MODIFY, user) == f"D:PAI{entries}(A;OICI;0x1301bf;;;{OURS})"


# The command line


def test_the_service_runs_the_base_interpreter_without_site_packages() -> None:
    program = Program(Path("venv/python.exe"), Path("base"), Path("venv"), Path("venv/Lib/site-packages/smtppseudo"))
    assert service_argv(program) == (
        str(Path("base/python.exe")),
        "-I",
        "-S",
        str(Path("venv/Lib/site-packages/smtppseudo/__main__.py")),
    )


@pytest.mark.parametrize(
    "options",
    [
        {"config": r"C:\ProgramData\smtppseudo\smtppseudo.toml", "state-dir": r"D:\s", "log-dir": "E:\\"},
        {"config": r"C:\a b\c.toml", "state-dir": r"C:\x --port 3", "port": "2525", "monitor-port": "2626"},
        {"log-dir": r"\\server\share\a-b"},
        {},
    ],
)
def test_an_upgrade_reads_the_options_back(tmp_path: Path, options: dict[str, str]) -> None:
    argv = (r"C:\Program Files\Python313\python.exe", "-I", "-S", r"C:\Program Files\smtppseudo\__main__.py")
    command = plan_in(tmp_path)._replace(argv=argv, pinned=options).command
    assert command.startswith(r'"C:\Program Files\Python313\python.exe" -I -S "C:\Program Files\smtppseudo')
    assert options_in(command) == options


def test_a_directory_that_ends_with_a_backslash_is_read_back_without_it(tmp_path: Path) -> None:
    command = plan_in(tmp_path)._replace(pinned={"log-dir": "C:\\a b\\"}).command
    assert command.endswith(' --log-dir "C:\\a b\\\\"')
    assert options_in(command) == {"log-dir": r"C:\a b"}


def test_a_dry_run_names_everything_that_an_install_makes(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    shown = str(plan)
    for part in (plan.command, r"NT SERVICE\smtppseudo", "at boot", "after 1, 10, 60 s", *plan.access_lists.values()):
        assert part in shown
    assert "by hand" in str(plan._replace(at_boot=False))
    assert [sddl.rpartition(";;;")[0][-8:] for sddl in plan.access_lists.values()] == [
        "0x1200a9",  # it may only read the directory of its settings
        "0x1301bf",
        "0x1301bf",
    ]


# The steps


@pytest.mark.parametrize(
    ("state", "last"),
    [
        (None, ["register", "start"]),
        (State.STOPPED, ["register", "start"]),
        (State.RUNNING, ["register", "stop", "start"]),
    ],
)
def test_directories_are_closed_before_anything_is_written(
    tmp_path: Path, state: State | None, last: list[str]
) -> None:
    windows, file = FakeWindows(state), tmp_path / "home/a.toml"
    doing = []
    for step in install_steps(plan_in(tmp_path / "home"), windows, "# all\n", start=True):
        doing.append(step.doing)
        if not step.doing.startswith("connect to port"):
            assert not file.exists() or "close log" in windows.calls
            step.act()
    assert windows.calls == ["close home", "close state", "close log", *last]
    assert file.read_text() == "# all\n"
    assert doing[-2:] == ["connect to port 25", "connect to port 26"]


def test_an_upgrade_keeps_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("slots = 3\n")
    carry_out(install_steps(plan_in(tmp_path), FakeWindows(None), "# all\n", start=False), "undo")
    assert (tmp_path / "a.toml").read_text() == "slots = 3\n"


@pytest.mark.parametrize(("fails", "doing"), [("register", "register it"), ("start", "start it")])
def test_a_step_that_fails_says_what_was_done(tmp_path: Path, fails: str, doing: str) -> None:
    with pytest.raises(CommandError) as caught:
        carry_out(install_steps(plan_in(tmp_path), FakeWindows(None, fails), "", start=True), "`x` undoes it")
    assert str(caught.value).startswith(
        f"cannot {doing}: it broke; done so far: made {tmp_path}, closed to other users"
    )
    assert str(caught.value).endswith("; `x` undoes it")


@pytest.mark.parametrize(
    ("state", "purge", "calls"),
    [
        (None, False, []),
        (State.STOPPED, False, ["delete"]),
        (State.RUNNING, False, ["stop", "delete"]),
        (State.STARTING, True, ["stop", "delete"]),
        (None, True, []),
    ],
)
def test_uninstall_removes_what_there_is(tmp_path: Path, state: State | None, purge: bool, calls: list[str]) -> None:
    windows, home = FakeWindows(state), tmp_path / "home"
    (home / "state").mkdir(parents=True)
    carry_out(uninstall_steps(windows, (home / "state", home / "log", home), purge=purge), "undo")
    assert windows.calls == calls
    assert home.exists() != purge


# The states


def test_the_states_of_a_life_with_their_checkpoints() -> None:
    life = [State.STARTING, State.STARTING, State.RUNNING, State.STOPPING, State.STOPPING, State.STOPPED]
    last, seen = None, []
    for state in life:
        last = status_after(last, state)
        assert last is not None
        seen.append((last.state, last.checkpoint, last.accepted))
    assert seen == [(2, 1, 0), (2, 2, 0), (4, 0, 13), (3, 1, 0), (3, 2, 0), (1, 0, 0)]


@pytest.mark.parametrize(
    ("state", "has_hint"), [(State.STARTING, True), (State.STOPPING, True), (State.RUNNING, False)]
)
def test_a_pending_state_has_a_hint_how_long_to_wait(state: State, has_hint: bool) -> None:
    status = status_after(None, state)
    assert status is not None
    assert (status.wait_hint_ms > 0) == has_hint


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (State.RUNNING, State.STARTING),
        (State.RUNNING, State.RUNNING),
        (State.STOPPING, State.RUNNING),
        (State.STOPPING, State.STARTING),
        *((State.STOPPED, state) for state in State),
    ],
)
def test_no_state_comes_back(last: State, state: State) -> None:
    assert status_after(Status(0x10, last), state) is None


@pytest.mark.parametrize(("exit_status", "codes"), [(0, (0, 0)), (78, (1066, 78)), (1, (1066, 1))])
def test_an_error_is_a_code_of_the_service(exit_status: int, codes: tuple[int, int]) -> None:
    status = status_after(status_after(None, State.STARTING), State.STOPPED, exit_status)
    assert status is not None
    assert (status.exit_code, status.exit_status) == codes
