"""The page `windows` of the guide, command by command, under Wine; and what goes wrong.

What Wine does not have (accounts, access lists, restarts after a crash) stands on the page as not tried.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import wait_until
from tests.documents import block
from tests.loopback.namespaces import SERVER_4, cable
from tests.tmux import Tmux
from tests.wine.wine import Wine, wait_for_text, wine

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

_PROGRAM = r'"%ProgramFiles%\smtppseudo\Scripts\smtppseudo" '
_CONTROL = "from smtppseudo.service.windows import control\n"
_RELOAD = 'control._call("ControlService", control._service(control._ALL), 6, (control.DWORD * 7)())'
_PRIVATE = """
import pathlib, smtppseudo.win32
from smtppseudo.files import StateDir
place = pathlib.Path(r"C:\\fresh\\state")
make_private = smtppseudo.win32.make_private
def watched(path):
    print(path == place, list(path.iterdir()))
    make_private(path)
smtppseudo.win32.make_private = watched
StateDir(place).write("credentials", "secret")
print(sorted(path.name for path in place.iterdir()))
"""


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wine]:
    """A Windows with the program of this checkout, and no service."""
    with cable() as ends, wine(tmp_path_factory.mktemp("wine"), ends) as windows:
        yield windows


@pytest.fixture(scope="module")
def installed(windows: Wine) -> Iterator[Wine]:
    """The same with the service, which is removed in the end."""
    windows.smtppseudo("install-service")
    yield windows
    windows.smtppseudo("uninstall-service", "--purge")


@pytest.fixture
def service(installed: Wine) -> Iterator[Wine]:
    """The service, which runs; afterwards it has its default settings again."""
    installed.run("net", "start", "smtppseudo")
    yield installed
    (installed.data / "smtppseudo.toml").write_text("")


def typed(windows: Wine, start: str) -> Iterator[str]:
    """Yield what each line of a block of the page prints; those for a real Python or an editor are left out."""
    for line in block("windows", start).text.splitlines():
        if line.startswith(_PROGRAM) and not line.endswith(" monitor"):
            yield windows.smtppseudo(*line.removeprefix(_PROGRAM).split())
        elif line.startswith("net "):
            yield windows.run(*line.split()).stdout


def test_the_page_from_the_first_command_to_the_last(windows: Wine) -> None:
    (installed,) = typed(windows, "py -m venv")
    assert installed.splitlines()[-4:-1] == [
        "started it",
        "port 25 answers, on 0.0.0.0 and ::",
        "port 26 answers, on 127.0.0.1 and ::1",
    ]
    assert installed.endswith("dir=in action=allow protocol=TCP localport=25`\n")
    probed, status = typed(windows, f"{_PROGRAM}probe")
    assert probed.endswith("verdict: refused permanently\n")
    assert "\nstate           online, up 00:00:" in status
    (windows.data / "smtppseudo.toml").write_text('greeting = "{hostname} ESMTP"\nhostname = "mail.example.org"\n')
    reloaded, stopping, starting, removed = typed(windows, "notepad")
    assert reloaded == "reloaded\n"
    assert "stopped successfully" in stopping
    assert "started successfully" in starting
    assert removed.splitlines()[:2] == ["stopped it", "removed the service smtppseudo"]
    assert not windows.data.exists()
    key = r"HKLM\SYSTEM\CurrentControlSet\Services"
    for place in (rf"{key}\smtppseudo", rf"{key}\EventLog\Application\smtppseudo"):
        assert windows.run("reg", "query", place).returncode != 0
    assert windows.smtppseudo("uninstall-service") == "nothing to remove\n"


def test_a_directory_that_another_user_has_made_is_refused(windows: Wine) -> None:
    windows.data.mkdir()
    os.chown(windows.data, 1000, 1000)
    try:
        said = windows.smtppseudo("install-service", status=1)
    finally:
        windows.data.rmdir()
    place = r"C:\ProgramData\smtppseudo"
    reason = "it belongs to another user, who may have put anything there; remove it; nothing was changed"
    assert said == f"smtppseudo: cannot make {place}: {reason}\n"


def test_the_directory_is_closed_before_a_secret_is_written_to_it(windows: Wine) -> None:
    assert windows.evaluate(_PRIVATE).splitlines() == ["True []", "['credentials']"]


def test_a_program_in_a_profile_is_refused_with_the_remedy(windows: Wine) -> None:
    profile = next(path for path in (windows.disk / "users").iterdir() if path.name != "Public")
    (profile / "Python").symlink_to("../../Program Files/Python313")
    done = windows.run(rf"C:\users\{profile.name}\Python\python.exe", "-m", "smtppseudo", "install-service")
    assert done.returncode == 1
    assert r"Python\python.exe, because C:\users is hidden from it; install Python for all users" in done.stderr


def test_a_sender_on_another_machine_is_refused_and_logged(service: Wine) -> None:
    if shutil.which("swaks") is None:
        pytest.skip("swaks is not installed")
    words = ["swaks", "--server", SERVER_4, "--from", "a@b.test", "--to", "c@d.test"]
    done = subprocess.run([*service.cable.client, *words], capture_output=True, text=True, timeout=60, check=False)
    assert "<** 553 Sender <a@b.test> is Invalid!" in done.stdout
    wait_for_text(log_of(service), "MAIL FROM:<a@b.test>")


def test_a_reload_by_the_manager_and_a_log_renamed_while_open(service: Wine) -> None:
    log = log_of(service)
    (service.data / "smtppseudo.toml").write_text('greeting = "Again"\n')
    service.evaluate(f"{_CONTROL}{_RELOAD}")
    wait_for_text(log, "settings keys=greeting by=SIGHUP")
    here = rf"C:\ProgramData\smtppseudo\log\{log.name}"
    service.evaluate(f"import os; os.rename(r'{here}', r'{here}.1')")
    wait_until(lambda: service.smtppseudo("probe") and log.exists(), "a new log")
    service.evaluate(f"import os; os.remove(r'{here}.1')")


def test_a_mistake_in_the_settings_is_an_event_and_an_exit_status(service: Wine) -> None:
    service.run("net", "stop", "smtppseudo")
    (service.data / "smtppseudo.toml").write_text("slots = 0\n")
    line = service.smtppseudo("install-service", status=78)
    assert line.endswith("smtppseudo.toml, line 1: slots must be a whole number from 1 to 60000\n")
    start = "try: control.start()\nexcept control.ToolError as error: print(error)"
    assert service.evaluate(f"{_CONTROL}{start}").startswith("it ended with exit status 78; ")
    assert "line 1: slots must be a whole number from 1 to 60000" in service.events
    assert "exit_code=1066, exit_status=78" in service.evaluate(f"{_CONTROL}print(control._query())")
    (service.data / "smtppseudo.toml").write_text("accept_mail = true\n")
    assert "started" in service.run("net", "start", "smtppseudo").stdout
    wait_until(lambda: "warning: accept_mail is on" in service.events, "a warning in the event log")


def test_a_port_that_is_taken_is_named(service: Wine) -> None:
    service.run("net", "stop", "smtppseudo")
    code = (
        "import socket, sys, time; s = socket.create_server(('0.0.0.0', 25)); print('up', flush=True); time.sleep(30)"
    )
    with subprocess.Popen(
        [*service.argv, service.python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said = service.smtppseudo("install-service", status=1)
        other.kill()
    assert said.startswith("smtppseudo: port 25 is taken by another program")


def test_the_commands_and_states_that_the_screen_uses(service: Wine) -> None:
    def evaluate(expression: str, before: str = "") -> str:
        return service.evaluate(f"from smtppseudo.service.commands import *\n{before}\nprint(*{expression}, sep='|')")

    assert evaluate("query_service()") == "yes|yes|yes|"
    assert evaluate("[problem_with(action) for action in ServiceAction]") == "|||"
    assert service.run(*evaluate("argv_for(ServiceAction.STOP)").split("|")).returncode == 0
    assert evaluate("query_service()") == "yes|no (stopped)|yes|"
    assert service.run(*evaluate("argv_for(ServiceAction.START)").split("|")).returncode == 0
    assert evaluate("query_service()") == "yes|yes|yes|"
    as_user = "import ctypes; ctypes.windll.shell32.IsUserAnAdmin = lambda: 0"
    advice = 'Only an administrator can do that: in a prompt opened by "Run as administrator", type '
    assert evaluate("[problem_with(ServiceAction.STOP)]", as_user) == f"{advice}`net stop smtppseudo`"
    install = rf'`"{service.python}" -I -m smtppseudo install-service`'
    assert evaluate("[problem_with(ServiceAction.INSTALL)]", as_user) == f"{advice}{install}"


def test_only_the_manager_starts_the_service(windows: Wine) -> None:
    said = windows.smtppseudo("serve", "--service", status=1)
    assert said.startswith("smtppseudo: only the service control manager may use --service: ")


def test_the_screen_starts(service: Wine, tmp_path: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    tmux = Tmux(tmp_path)
    try:
        tmux.start([*service.argv, service.python, "-m", "smtppseudo", "monitor"], {})
        tmux.wait_for("Remote IP")  # the columns of the slots
    finally:
        tmux.run("kill-server")


def test_the_command_line_survives_spaces_and_an_upgrade(service: Wine) -> None:
    service.smtppseudo("install-service", "--log-dir", r"C:\my logs\smtp", "--port", "2525", "--no-enable")
    upgraded = service.smtppseudo("install-service")
    assert "stopped it, to start it again\nstarted it\nport 2525 answers" in upgraded
    assert (service.disk / "my logs/smtp").is_dir()
    assert "at_boot='yes'" in service.evaluate(f"{_CONTROL}print(control.query_service())")
    dry = service.smtppseudo("install-service", "--dry-run", "--monitor-port", "2626")
    assert re.search(r'--log-dir "C:\\my logs\\smtp" --port 2525 --monitor-port 2626$', dry, re.MULTILINE)


def log_of(windows: Wine) -> Path:
    """Return the log, once there is one."""
    wait_until(lambda: list((windows.data / "log").glob("*.log")), "a log")
    (log,) = (windows.data / "log").glob("*.log")
    return log
