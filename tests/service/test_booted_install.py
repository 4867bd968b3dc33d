"""Installing, upgrading and removing the service under a real systemd, and the refusals."""

import re
import shutil
from collections.abc import Iterator
from functools import partial

import pytest

from smtppseudo.service.units import SOCKETS
from tests.clients import wait_until
from tests.service.machine import LIMIT_S, PROGRAM, SERVICE, SETTINGS, VENV, Machine, machine_with_program
from tests.service.tree import SUITES

pytestmark = pytest.mark.timeout(600)

MEMBER_HOME = "/home/member"


@pytest.fixture(scope="module", params=SUITES)
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the program, and a user whose systemd manager runs, as after a login."""
    with machine_with_program(tmp_path_factory.mktemp("booted"), request.param) as machine:
        machine.run("useradd", "--create-home", "member")
        machine.run("systemctl", "start", f"user@{machine.read('id', '-u', 'member')}.service")
        yield machine


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """The machine without the service, before and after each test."""
    assert traces(booted) == []
    yield booted
    booted.run(PROGRAM, "uninstall-service", "--purge")
    assert traces(booted) == []


def traces(machine: Machine) -> list[str]:
    """Return all traces of the service: files outside the program's directories, user, group, units."""
    own = [word for place in (VENV, "/root", MEMBER_HOME) for word in ("-path", place, "-prune", "-o")]
    found = machine.read("find", "/", "/run", "-xdev", *own, "-name", "*smtppseudo*", "-print").splitlines()
    names = machine.run("getent", "passwd", "smtppseudo", check=False).stdout
    names += machine.run("getent", "group", "smtppseudo", check=False).stdout
    units = machine.read("systemctl", "list-units", "--all", "--plain", "--no-legend", "smtppseudo*")
    return [*found, *names.split(), *units.splitlines()]


def refused(machine: Machine, *words: str, program: str = PROGRAM, user: str | None = None) -> str:
    """Run an install that must be refused and change nothing; return its error line."""
    done = machine.run(program, "install-service", *words, user=user, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert not machine.path("/etc/systemd/system/smtppseudo.socket").exists()
    return line


def test_without_root_the_error_names_the_sudo_command(machine: Machine) -> None:
    line = refused(machine, user="member")
    assert f"`sudo {VENV}/bin/python3 -I -m smtppseudo install-service`" in line


def test_a_program_in_a_home_is_refused(machine: Machine) -> None:
    place = f"{MEMBER_HOME}/venv"
    machine.run("cp", "-a", VENV, place)
    done = machine.run(f"{place}/bin/python3", "-m", "smtppseudo", "install-service", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"smtppseudo: the service cannot read {place}/bin/python3, because ")
    assert "sudo /usr/bin/python3 -m venv /opt/smtppseudo && " in done.stderr
    shutil.rmtree(machine.path(place))


def test_a_program_closed_to_others_is_refused_and_the_remedy_works(machine: Machine) -> None:
    machine.path(VENV).chmod(0o700)
    line = refused(machine)
    (mend,) = re.findall(r"`sudo (.*?)`", line)
    machine.run("sh", "-c", mend)
    machine.run(PROGRAM, "install-service")
    assert machine.answers()


def test_the_holder_of_port_25_is_named(machine: Machine) -> None:
    machine.run("systemd-run", "--quiet", "--unit=holder", "/usr/bin/python3", "-m", "http.server", "25")
    wait_until(lambda: ":25 " in machine.read("ss", "-ltn"), "a program that has port 25", LIMIT_S)
    pid = machine.show("MainPID", "holder.service")
    assert f"port 25 is taken by python3 (pid {pid})" in refused(machine)
    machine.run("systemctl", "stop", "holder.service")


def test_a_unit_of_another_origin_is_refused(machine: Machine) -> None:
    path = "/usr/lib/systemd/system/smtppseudo.service"
    machine.path(path).write_text("[Service]\nExecStart=/bin/true\n")
    assert f"{path} was not written by install-service" in refused(machine)
    machine.path(path).unlink()


def test_a_package_can_have_the_units(machine: Machine) -> None:
    """As the page `packaging` says: what --dry-run prints, in the directories of a distribution."""
    printed = machine.read(PROGRAM, "install-service", "--dry-run")
    files = re.split(r"^# (/\S+)\n", printed, flags=re.MULTILINE)[1:]
    units = []
    for path, text in zip(files[::2], files[1::2], strict=True):
        place = path.replace("/etc/sysusers.d", "/usr/lib/sysusers.d").replace("/etc/systemd", "/usr/lib/systemd")
        units.append(place)
        machine.path(place).write_text(re.sub("^# Written by.*\n# To change it.*\n", "", text))
    machine.run("systemd-sysusers")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", "smtppseudo.service")
    assert machine.answers()
    assert "state           online" in machine.read(PROGRAM, "status")
    line = refused(machine)
    assert "/usr/lib/systemd/system/smtppseudo.socket was not written by install-service" in line
    machine.run("systemctl", "disable", "--now", *SOCKETS, "smtppseudo.service")
    machine.run("rm", "-r", *units, "/etc/smtppseudo", "/var/lib/smtppseudo", "/var/log/smtppseudo")
    machine.run("systemctl", "daemon-reload")
    machine.run("userdel", "smtppseudo")


def test_a_masked_unit_is_refused_and_the_remedy_works(machine: Machine) -> None:
    machine.run("systemctl", "mask", SERVICE)
    (mend,) = re.findall(r"`sudo (.*?)`", refused(machine))
    machine.run("sh", "-c", mend)
    machine.run(PROGRAM, "install-service")
    assert machine.answers()


def test_an_upgrade_runs_the_new_version_and_keeps_the_rest(machine: Machine) -> None:
    machine.run(PROGRAM, "install-service")
    machine.path(SETTINGS).write_text('greeting = "Kept "\n')
    machine.run(PROGRAM, "set", "idle_timeout_s=77")
    pid = machine.show("MainPID")
    done = machine.run(PROGRAM, "install-service")
    assert "wrote" not in done.stdout
    assert "closed the ports" not in done.stdout
    assert machine.show("MainPID") != pid
    with machine.connect() as client:
        client.expect("220 Kept ")
    assert "idle_timeout_s = 77  # monitor" in machine.read(PROGRAM, "config")


def test_an_upgrade_keeps_another_port(machine: Machine) -> None:
    machine.run(PROGRAM, "install-service")
    done = machine.run(PROGRAM, "install-service", "--port", "2525", "--monitor-port", "2626")
    assert done.stdout.splitlines()[-3:-1] == [
        "port 2525 answers, on 0.0.0.0 and ::",
        "port 2626 answers, on 127.0.0.1 and ::1",
    ]
    assert machine.run(PROGRAM, "install-service").stdout.splitlines()[-3:] == done.stdout.splitlines()[-3:]
    assert machine.answers(2525)
    assert not machine.answers(25)
    assert machine.run(PROGRAM, "status").stdout.startswith("server          smtppseudo")


def test_no_start_and_no_enable(machine: Machine) -> None:
    machine.run(PROGRAM, "install-service", "--no-start", "--no-enable")
    assert machine.show("ActiveState") == "inactive"
    assert machine.show("UnitFileState") == "disabled"
    assert not machine.answers()


def test_a_failed_install_says_why_and_what_was_done(machine: Machine) -> None:
    machine.path(SETTINGS).parent.mkdir()
    machine.path(SETTINGS).write_text("slots = 0\n")
    done = machine.run(PROGRAM, "install-service", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"smtppseudo: cannot start it: {SETTINGS}, line 1: slots must be ")
    assert "done so far: wrote /etc/sysusers.d/smtppseudo.conf, " in done.stderr
    (undo,) = re.findall(r"`smtppseudo (.*?)` undoes it", done.stderr)
    machine.run(PROGRAM, *undo.split())
    assert "smtppseudo" not in machine.read("systemctl", "list-unit-files")
    assert machine.path(SETTINGS).exists()


def test_uninstall_keeps_the_data_and_purge_removes_all(machine: Machine) -> None:
    machine.run(PROGRAM, "install-service")
    assert machine.answers()
    machine.run("useradd", "--groups=smtppseudo", "reader")
    drop_in = machine.path(f"/etc/systemd/system/{SERVICE}.d/own.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nNice=1\n")
    done = machine.run(PROGRAM, "uninstall-service")
    left = "/etc/smtppseudo, /var/lib/smtppseudo, /var/log/smtppseudo"
    assert done.stdout.endswith(f"not removed: {left} (--purge removes them)\n")
    assert not machine.answers()
    assert list(machine.path("/var/log/smtppseudo").glob("*.log"))
    assert machine.read("id", "-un", "smtppseudo") == "smtppseudo"
    assert sorted(path.name for path in machine.path("/etc/systemd/system").glob("**/*smtppseudo*")) == [
        drop_in.parent.name
    ]
    machine.run(PROGRAM, "uninstall-service", "--purge")
    assert traces(machine) == []
    assert machine.run(PROGRAM, "uninstall-service").stdout == "nothing to remove\n"


def test_the_commands_and_states_that_the_screen_uses(machine: Machine) -> None:
    def python(code: str) -> list[str]:
        imports = "from smtppseudo.service.commands import *; "
        return machine.run(f"{VENV}/bin/python", "-c", f"{imports}print(*{code}, sep='\\n')").stdout.splitlines()

    def do(action: str) -> None:
        machine.run(*python(f"argv_for(ServiceAction.{action})"))

    assert python("query_service()") == ["no", "no", "no", ""]
    do("INSTALL")
    assert python("query_service()") == ["yes", "yes (running)", "yes", ""]
    do("STOP")
    assert not machine.answers()
    assert machine.show("ActiveState") == "inactive"
    assert python("query_service()") == ["yes", "no (inactive)", "yes", ""]
    do("START")
    assert machine.answers()
    do("UNINSTALL")
    assert not machine.answers()


def test_a_user_can_install_a_service_of_his_own(machine: Machine) -> None:
    uid = machine.read("id", "-u", "member")
    env = {"HOME": MEMBER_HOME, "XDG_RUNTIME_DIR": f"/run/user/{uid}", "USER": "member"}
    run = partial(machine.run, user="member", env=env)
    done = run(PROGRAM, "install-service", "--user")
    assert done.stdout.splitlines()[-4:-2] == [
        "port 2525 answers, on 0.0.0.0 and ::",
        "port 2626 answers, on 127.0.0.1 and ::1",
    ]
    assert run(PROGRAM, "status").stdout.startswith("server          smtppseudo")
    run("systemctl", "--user", "reload", SERVICE)
    pid = run("systemctl", "--user", "show", SERVICE, "--property=MainPID", "--value").stdout.strip()
    machine.run("kill", "-KILL", pid)
    wait_until(lambda: machine.answers(2525), "an answer from another process", LIMIT_S)
    assert list(machine.path(f"{MEMBER_HOME}/.local/state/smtppseudo/log").iterdir())
    run(PROGRAM, "uninstall-service", "--user", "--purge")
    assert not machine.answers(2525)
    assert machine.read("find", MEMBER_HOME, "-name", "*smtppseudo*") == ""


def test_a_user_without_a_systemd_manager_is_refused(machine: Machine) -> None:
    done = machine.run(PROGRAM, "install-service", "--user", user="member", env={"HOME": MEMBER_HOME}, check=False)
    assert done.returncode == 1
    assert "loginctl enable-linger" in done.stderr
