"""The blocks of README and the guide that need root and a systemd, run as printed in a booted system.

The tests run in the order in which a reader would: the program is installed before the first, and removed by the last.
"""

import shutil
from collections.abc import Iterator, Mapping

import pytest

from smtppseudo import __version__
from smtppseudo.cli.exits import NOT_AUTHORIZED
from tests.certificates import Certificate
from tests.clients import wait_until
from tests.documents import README, Block, block
from tests.loopback.test_guide_blocks import BOOTED, HOW
from tests.running import CHECKOUT
from tests.service.machine import LIMIT_S, SERVICE, SETTINGS, VENV, Machine, require_containers
from tests.service.tree import SUITES, wheels_of_others

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

CLONE = "/root/smtppseudo"
ADDRESS = "192.0.2.25"
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PIP_NO_INDEX": "1",  # there is no network
    "PIP_FIND_LINKS": "/root/wheels",
}
RUN: set[Block] = set()
"""The blocks that were run."""


def take(page: str, start: str) -> str:
    """Return the text of a block that is run."""
    RUN.add(block(page, start))
    return block(page, start).text


def run(machine: Machine, page: str, start: str, env: Mapping[str, str] | None = None, user: str | None = None) -> str:
    """Run a block in the clone; return its output."""
    script = f"cd {CLONE if user is None else '/'} && {{\n{take(page, start)}}}"
    words = ("bash", "-euo", "pipefail", "-c", script)
    return machine.run(*words, env={**ENVIRONMENT, **(env or {})}, user=user).stdout


@pytest.fixture(scope="module", params=SUITES)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a clone of the repository, in which the first block of the page `install` was run."""
    require_containers()
    RUN.clear()
    with Machine(tmp_path_factory.mktemp("booted"), request.param) as machine:
        shutil.copytree(wheels_of_others(request.param), machine.path("/root/wheels"))
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "snapshots")
        shutil.copytree(CHECKOUT, machine.path(CLONE), ignore=ignored)
        machine.path("/etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        sudo = machine.path("/usr/local/bin/sudo")
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)
        assert run(machine, "install", "sudo apt install").splitlines()[-3:-1] == [
            "port 25 answers, on 0.0.0.0 and ::",
            "port 26 answers, on 127.0.0.1 and ::1",
        ]
        assert take(README, "sudo apt install") == take("install", "sudo apt install")
        assert machine.read("man", "-w", "smtppseudo", "smtppseudo.toml").split() == [
            "/opt/smtppseudo/share/man/man1/smtppseudo.1",
            "/opt/smtppseudo/share/man/man5/smtppseudo.toml.5",
        ]
        yield machine


def greets_with(machine: Machine, text: str) -> bool:
    """Whether a caller is greeted so."""
    with machine.connect() as client:
        return client.expect("220 ").startswith(f"220 {text}")


def test_a_dry_run_prints_the_units(machine: Machine) -> None:
    assert "ListenStream=0.0.0.0:25\n" in run(machine, "install", "smtppseudo install-service --dry-run")


@pytest.mark.parametrize("page", [README, "install"])
def test_the_service_can_be_checked(machine: Machine, page: str) -> None:
    printed = run(machine, page, "smtppseudo probe")
    assert "\nverdict: refused permanently\n" in printed
    assert "state           online" in printed
    assert ('Status: "Online: ' in printed) is (page == "install")


def test_systemd_rates_the_service(machine: Machine) -> None:
    assert "Overall exposure level for smtppseudo.service: 0." in run(machine, "security", "systemd-analyze security")


def test_fast_open_can_be_turned_off(machine: Machine) -> None:
    """What that changes, test_booted.py shows."""
    assert run(machine, "security", "sudo sysctl") == "net.ipv4.tcp_fastopen = 0\n"


def test_a_new_member_of_the_group_needs_no_magic_word(machine: Machine) -> None:
    machine.run("useradd", "--create-home", "alice")
    status = ("/usr/local/bin/smtppseudo", "status")
    assert machine.run(*status, user="alice", check=False).returncode == NOT_AUTHORIZED
    run(machine, "install", "sudo usermod -aG smtppseudo alice")
    assert machine.run(*status, user="alice").stdout.startswith("server ")


@pytest.mark.parametrize("page", [README, "install"])
def test_a_settings_file_is_made(machine: Machine, page: str) -> None:
    run(machine, page, "sudo sh -c")
    assert '\n# greeting = "Welcome!"\n' in machine.path(SETTINGS).read_text()


def test_a_changed_settings_file_is_checked_and_read_again(machine: Machine) -> None:
    machine.write_settings('greeting = "Changed "\n')
    assert run(machine, "settings", "sudo smtppseudo config --check") == ""
    wait_until(lambda: greets_with(machine, "Changed "), "the new greeting", LIMIT_S)


def test_the_sockets_stop_and_start_the_service(machine: Machine) -> None:
    stop, start = take("install", "sudo systemctl stop").splitlines()
    machine.run("sh", "-c", stop, env=ENVIRONMENT)
    assert machine.show("ActiveState") == "inactive"
    assert not machine.answers()
    machine.run("sh", "-c", start, env=ENVIRONMENT)
    assert machine.answers()


def test_an_upgrade_keeps_the_settings(machine: Machine) -> None:
    pid = machine.show("MainPID")
    run(machine, "install", "sudo /opt/smtppseudo/bin/pip install .")
    assert machine.show("MainPID") != pid
    assert greets_with(machine, "Changed ")


def test_another_port_is_installed(machine: Machine) -> None:
    run(machine, "settings", "sudo smtppseudo install-service --port 2525")
    assert machine.answers(2525)
    assert not machine.answers(25)
    machine.run("/usr/local/bin/smtppseudo", "install-service", "--port", "25")
    assert machine.answers(25)


def test_another_address_for_monitors(machine: Machine, certificate: Certificate) -> None:
    for file, mode in ((certificate.cert, "644"), (certificate.key, "640")):
        shutil.copy(file, machine.path("/etc/smtppseudo"))
        machine.run("chgrp", "smtppseudo", f"/etc/smtppseudo/{file.name}")
        machine.run("chmod", mode, f"/etc/smtppseudo/{file.name}")
    machine.write_settings(block("monitor", "monitor_listen = ").text)
    drop_in = machine.path("/etc/systemd/system/smtppseudo-monitor.socket.d/override.conf")
    drop_in.parent.mkdir()
    drop_in.write_text(take("monitor", "[Socket]"))
    machine.run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    machine.run("systemctl", "daemon-reload")
    machine.restart("smtppseudo-monitor.socket", "smtppseudo")
    status = ("/usr/local/bin/smtppseudo", "status", "--pin", certificate.fingerprint)
    assert f"server          smtppseudo {__version__}, {ADDRESS} port 26" in machine.read(*status, ADDRESS)


def test_a_user_installs_a_service(machine: Machine) -> None:
    machine.run("useradd", "--create-home", "member")
    uid = machine.read("id", "-u", "member")
    machine.run("systemctl", "start", f"user@{uid}.service")
    env = {"HOME": "/home/member", "XDG_RUNTIME_DIR": f"/run/user/{uid}", "USER": "member"}
    run(machine, "install", "smtppseudo install-service --user", env, "member")
    assert machine.answers(2525)
    machine.run("systemctl", "stop", f"user@{uid}.service")


def test_the_service_is_removed_and_another_user_serves_without_it(machine: Machine) -> None:
    assert take(README, "sudo smtppseudo uninstall") == take("install", "sudo smtppseudo uninstall")
    remove_service, *remove_program = take("install", "sudo smtppseudo uninstall").splitlines()
    machine.run("sh", "-c", remove_service, env=ENVIRONMENT)
    assert not machine.answers()
    assert machine.run("getent", "passwd", "smtppseudo", check=False).stdout == ""

    make_user, serve = take("other-init-systems", "useradd --system").splitlines()
    machine.run("sh", "-c", make_user)
    machine.run("systemd-run", "--quiet", "--unit=by-hand", "sh", "-c", f"PATH={ENVIRONMENT['PATH']} exec {serve}")
    wait_until(machine.answers, "an answer", LIMIT_S)
    pid = machine.show("MainPID", "by-hand.service")
    assert machine.read("ps", "-o", "user:20=", "-p", pid) == "smtppseudo"
    machine.run("systemctl", "stop", "by-hand.service")

    machine.run("sh", "-ec", "\n".join(remove_program), env=ENVIRONMENT)
    assert not machine.path(VENV).exists()
    assert machine.read("find", "/usr/local", "-name", "*smtppseudo*") == ""
    assert machine.run("systemctl", "cat", SERVICE, check=False).returncode != 0


def test_every_block_for_a_booted_system_was_run(machine: Machine) -> None:
    booted = [(page, start) for page, blocks in HOW.items() for start, how in blocks.items() if how is BOOTED]
    assert {block(*each) for each in booted} == RUN
