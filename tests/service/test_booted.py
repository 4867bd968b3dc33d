"""The service under a real systemd: its ports, restarts, reloads, permissions and sandbox."""

import contextlib
import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from smtppseudo.service.units import SOCKETS
from tests.certificates import Certificate
from tests.clients import Client, connect, wait_until
from tests.service.machine import DROP_IN, LIMIT_S, PROGRAM, SERVICE, SETTINGS, Machine, machine_with_program
from tests.service.tree import SUITES

pytestmark = pytest.mark.timeout(600)

LOGS = "/var/log/smtppseudo"


@pytest.fixture(scope="module", params=SUITES)
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the service installed as in README, a user in its group and a user outside it."""
    with machine_with_program(tmp_path_factory.mktemp("booted"), request.param) as machine:
        done = machine.run(PROGRAM, "install-service")
        assert done.stdout.splitlines()[-3:] == [
            "port 25 answers, on 0.0.0.0 and ::",
            "port 26 answers, on 127.0.0.1 and ::1",
            "next: `smtppseudo probe localhost:25` plays a sender, `sudo smtppseudo status` prints the counters",
        ]
        machine.run("useradd", "--create-home", "--groups=smtppseudo", "member")
        machine.run("useradd", "--create-home", "stranger")
        yield machine


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """The machine with a running service; settings file and drop-in of a test are removed afterwards."""
    assert booted.show("ActiveState") == "active"
    yield booted
    if not any(booted.path(each).exists() for each in (SETTINGS, DROP_IN)):
        return
    for each in (SETTINGS, DROP_IN):
        booted.path(each).unlink(missing_ok=True)
    booted.run("systemctl", "daemon-reload")
    booted.restart(SERVICE)


def kill(machine: Machine, number: int) -> str:
    """Send a signal to the server's process; return its number."""
    pid = machine.show("MainPID")
    machine.run("kill", f"-{number}", pid)
    return pid


def wait_for_another(machine: Machine, pid: str) -> None:
    """Wait until the service runs as another process than `pid`."""
    wait_until(
        lambda: machine.show("ActiveState") == "active" and machine.show("MainPID") not in (pid, "0"),
        "another process that serves",
        LIMIT_S,
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_both_ports_answer_in_both_families(machine: Machine, address: str) -> None:
    with machine.connect(25, address) as client:
        client.expect("220 Welcome!")
        client.say("MAIL FROM:<a@example.org>", "553 ")
        client.say("QUIT", "221 ")
    with machine.connect(26, address) as client:
        hello = json.loads(client.sock.makefile("rb").readline())
        assert hello["type"] == "hello"


def test_systemctl_status_shows_the_status_line(machine: Machine) -> None:
    status = machine.read("systemctl", "status", SERVICE)
    assert re.search(r"Active: active \(running\)", status)
    assert re.search(r'Status: "Online: [0-9]+ of 25 slots', status)
    assert machine.show("User") == "smtppseudo"
    assert machine.show("UnitFileState") == "enabled"


@pytest.mark.parametrize(("user", "status"), [("root", 0), ("member", 0), ("stranger", 77)])
def test_only_root_and_the_group_log_in_without_the_magic_word(machine: Machine, user: str, status: int) -> None:
    assert machine.run(PROGRAM, "status", user=user, check=False).returncode == status


def test_only_the_group_can_read_the_logs(machine: Machine) -> None:
    assert machine.answers()
    (log,) = machine.path(LOGS).iterdir()
    path = f"{LOGS}/{log.name}"
    assert " connected slot=1 " in machine.read("cat", path, user="member")
    assert machine.run("cat", path, user="stranger", check=False).returncode != 0
    assert machine.run("ls", LOGS, user="stranger", check=False).returncode != 0


@pytest.mark.parametrize("user", ["root", "member"])
def test_report_reads_the_logs_of_the_service(machine: Machine, user: str) -> None:
    assert machine.answers()
    report = machine.run(PROGRAM, "report", user=user, env={"HOME": f"/home/{user}"}).stdout
    assert re.search(r"^connections +[1-9]", report, re.MULTILINE)


def test_report_says_who_may_read_the_logs(machine: Machine) -> None:
    done = machine.run(PROGRAM, "report", user="stranger", env={"HOME": "/home/stranger"}, check=False)
    assert done.returncode == 1
    assert done.stderr == f"smtppseudo: {LOGS}: Permission denied; only root and the server's group can read the logs\n"


def test_a_reload_applies_the_settings_file(machine: Machine) -> None:
    pid = machine.show("MainPID")
    machine.write_settings('greeting = "Reloaded "\n')
    machine.run("systemctl", "reload", SERVICE)

    def has_new_greeting() -> bool:
        with machine.connect() as client:
            return client.expect("220 ").startswith("220 Reloaded ")

    wait_until(has_new_greeting, "the new greeting", LIMIT_S)
    assert machine.show("MainPID") == pid
    assert machine.show("ActiveState") == "active"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nslots = 0\n", f"{SETTINGS}, line 2: slots must be a whole number from 1 to 60000"),
        ('tls_cert = "/nowhere"\ntls_key = "/nowhere"\n', "tls_cert: /nowhere: No such file or directory; "),
    ],
)
def test_a_reload_with_a_mistake_fails_and_the_server_says_so_until_it_is_mended(
    machine: Machine, text: str, said: str
) -> None:
    pid = machine.show("MainPID")
    machine.write_settings(text)
    assert machine.run("systemctl", "reload", SERVICE, check=False).returncode != 0
    machine.wait_for_log(f"smtppseudo: {said}")
    assert machine.answers()
    status = machine.read(PROGRAM, "status")
    assert f"\nsettings        not changed by the last reload: {said}" in status
    assert json.loads(machine.read(PROGRAM, "status", "--format=json"))["settings_error"].startswith(said)
    metric = "\nsmtppseudo_config_last_reload_successful"
    assert f"{metric} 0\n" in machine.read(PROGRAM, "status", "--format=prometheus")
    assert f"; settings not changed by the last reload: {said}" in machine.show("StatusText")
    assert (machine.show("MainPID"), machine.show("ActiveState")) == (pid, "active")

    machine.write_settings("slots = 25\n")
    machine.run("systemctl", "reload", SERVICE)
    wait_until(lambda: "not changed" not in machine.show("StatusText"), "the new status line", LIMIT_S)
    assert "not changed" not in machine.read(PROGRAM, "status")
    assert f"{metric} 1\n" in machine.read(PROGRAM, "status", "--format=prometheus")


def test_a_reload_checks_what_only_the_service_can_read(machine: Machine, certificate: Certificate) -> None:
    for name, file in (("cert", certificate.cert), ("key", certificate.key)):
        machine.path(f"/root/{name}.pem").write_bytes(file.read_bytes())
    machine.write_drop_in("[Service]\nLoadCredential=cert.pem:/root/cert.pem\nLoadCredential=key.pem:/root/key.pem\n")
    machine.write_settings('tls_cert = "%d/cert.pem"\ntls_key = "%d/key.pem"\n')
    machine.restart(SERVICE)
    machine.run("systemctl", "reload", SERVICE)
    assert 'settings_error": ""' in machine.read(PROGRAM, "status", "--format=json")
    with machine.connect() as client:
        client.expect("220 ")
        assert "STARTTLS" in client.say("EHLO x", "250")


def test_a_restart_loses_no_connection(machine: Machine) -> None:
    restarts_over = threading.Event()
    greeted = 0
    failures: list[Exception] = []

    def call() -> None:
        nonlocal greeted
        try:
            while not restarts_over.is_set():
                with machine.connect() as client:
                    client.expect("220 ")
                    greeted += 1
                    # Read to its end, so that it holds no slot when the next begins. A restart may cut it short.
                    with contextlib.suppress(ConnectionError):
                        client.send("QUIT")
                        client.rest()
        except (OSError, AssertionError) as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        for _ in range(3):
            before = greeted
            machine.restart(SERVICE)
            wait_until(lambda seen=before: greeted > seen + 5 or failures, "callers", LIMIT_S)  # type: ignore[misc]
    finally:
        restarts_over.set()
        thread.join()
    assert not failures


def test_a_monitor_can_stop_and_start_the_listener(machine: Machine) -> None:
    machine.run(PROGRAM, "stop")
    with pytest.raises(ConnectionRefusedError):
        machine.connect()
    wait_until(lambda: machine.show("StatusText").startswith("Offline"), "systemd knowing that it is offline", LIMIT_S)
    machine.run(PROGRAM, "start")
    assert machine.answers()


def test_stopping_the_sockets_stops_the_service(machine: Machine) -> None:
    machine.run("systemctl", "stop", *SOCKETS)
    assert machine.show("ActiveState") == "inactive"
    assert not machine.answers()
    machine.run("systemctl", "start", SERVICE)
    assert machine.answers()


def test_killed_while_offline_it_restarts_online(machine: Machine) -> None:
    machine.run(PROGRAM, "stop")
    pid = kill(machine, signal.SIGKILL)
    wait_for_another(machine, pid)
    assert machine.answers()


def test_restarted_while_offline_it_is_online_again(machine: Machine) -> None:
    machine.run(PROGRAM, "stop")
    machine.restart(SERVICE)
    assert machine.answers()
    assert machine.show("Result", "smtppseudo.socket") == "success"


@pytest.mark.slow
def test_after_ten_crashes_in_a_row_it_still_restarts(machine: Machine) -> None:
    for _ in range(10):
        pid = kill(machine, signal.SIGKILL)
        assert machine.answers()  # the connection waits until there is a server again
        wait_for_another(machine, pid)


def test_after_crashes_without_callers_it_answers(machine: Machine) -> None:
    for _ in range(2):
        wait_for_another(machine, kill(machine, signal.SIGKILL))
    assert machine.answers()


def test_a_hanging_server_is_restarted_by_the_watchdog(machine: Machine) -> None:
    machine.write_drop_in("[Service]\nWatchdogSec=1\n")
    machine.restart(SERVICE)
    pid = kill(machine, signal.SIGSTOP)
    wait_for_another(machine, pid)
    machine.wait_for_log(f"{SERVICE}: Watchdog timeout")
    assert machine.answers()


def test_systemctl_status_shows_a_mistake_in_the_settings(machine: Machine) -> None:
    machine.write_settings("\nslots = 0\n")
    said = f"{SETTINGS}, line 2: slots must be a whole number from 1 to 60000"
    assert machine.run("systemctl", "restart", SERVICE, check=False).returncode != 0
    status = machine.run("systemctl", "status", SERVICE, check=False).stdout
    assert f"smtppseudo: {said}" in status
    assert f'Status: "{said}' in status
    assert machine.show("SubState") == "failed"
    with machine.connect() as caller:  # for which the service is started again, until that succeeds
        wait_until(lambda: machine.show("SubState") != "failed", "another start", LIMIT_S)
        machine.path(SETTINGS).unlink()
        caller.expect("220 ")


def test_after_a_mistake_in_the_settings_a_restart_is_enough_whoever_calls(machine: Machine) -> None:
    """Without the pause after each mistake, so that the starts in a row are many."""
    machine.write_drop_in("[Service]\nExecStopPost=\n")
    machine.write_settings("slots = 0\n")
    is_over = threading.Event()

    def count_starts() -> int:
        return machine.read("journalctl", "--output=cat", "--boot", "--unit", SERVICE).count(
            f"{SETTINGS}, line 1: slots"
        )

    def call(port: int) -> None:
        while not is_over.wait(0.01):
            with contextlib.suppress(OSError):
                connect("127.0.0.1", port).close()

    callers = [threading.Thread(target=machine.in_its_network, args=(partial(call, port),)) for port in (25, 26)]
    for caller in callers:
        caller.start()
    try:
        before = count_starts()
        assert machine.run("systemctl", "restart", "smtppseudo", check=False).returncode != 0
        wait_until(lambda: count_starts() >= before + 30, "many starts", LIMIT_S, 0.5)
        machine.path(SETTINGS).unlink()
        machine.restart("smtppseudo")
        for unit in (SERVICE, *SOCKETS):
            assert machine.show("ActiveState", unit) == "active"
    finally:
        is_over.set()
        for caller in callers:
            caller.join()
    assert machine.answers()


@pytest.mark.slow
def test_the_machines_addresses_are_known_from_the_start_and_after_a_reload(machine: Machine) -> None:
    file = "/var/lib/smtppseudo/list"
    machine.write_settings(f'blocklist_file = "{file}"\nblocklist_min_hits = 1\n')
    addresses = ["20.1.1.1", "2a01:4f8:1::1", "20.1.1.2", "2a01:4f8:2::1", "20.1.1.3", "2a01:4f8:3::1"]
    for number, address in enumerate(addresses):
        machine.run("ip", "address", "add", address, "dev", "lo")
        if number == 1:
            machine.restart(SERVICE)
        elif number == 3:
            machine.run("systemctl", "reload", SERVICE)

    def call() -> None:  # not by these addresses, which the server would then learn
        for address in addresses:
            host = "::1" if ":" in address else "127.0.0.1"
            with Client(socket.create_connection((host, 25), LIMIT_S, (address, 0))) as client:
                client.expect("220 ")
                client.say("MAIL FROM:<a@example.org>", "553 ")

    machine.in_its_network(call)
    machine.run("systemctl", "stop", *SOCKETS)
    listed = machine.path(file).read_text().split()
    machine.run("systemctl", "start", SERVICE)
    for address in addresses:
        machine.run("ip", "address", "delete", address, "dev", "lo")
    assert listed == ["20.1.1.3", "2a01:4f8:3::/64"]


def test_settings_of_monitors_survive_a_reboot(machine: Machine) -> None:
    machine.run(PROGRAM, "set", "greeting=Survivor ", user="member")
    machine.power_off()
    machine.boot()
    with machine.connect() as client:
        client.expect("220 Survivor ")
    machine.run(PROGRAM, "unset", "greeting")


PROBE = """
import ctypes, json, os, pathlib, socket
tried = {}
def attempt(name, act):
    try:
        tried[name] = repr(act())
    except OSError as error:
        tried[name] = type(error).__name__ + ' ' + os.strerror(error.errno)
for place in %(places)r:
    attempt('write ' + place, lambda: pathlib.Path(place, 'probe').write_text('x'))
attempt('list /home', lambda: os.listdir('/home'))
attempt('read /home', lambda: pathlib.Path('/home/member/secret').read_text())
attempt('read /root', lambda: os.listdir('/root'))
attempt('read /etc/shadow', lambda: pathlib.Path('/etc/shadow').read_text())
attempt('call out', lambda: socket.create_connection(('127.0.0.1', 2600)))
attempt('send out', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53)))
attempt('raw', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
listening = [sock for fd in range(3, 7) if (sock := socket.socket(fileno=fd)).family == socket.AF_INET][0]
listening.shutdown(socket.SHUT_RD)
attempt('call out by a listening socket', lambda: listening.connect(('127.0.0.1', 2600)))
listening.listen()
def set_up_io_uring():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 4, ctypes.create_string_buffer(120)) < 0:
        raise OSError(ctypes.get_errno(), 'io_uring_setup')
attempt('io_uring', set_up_io_uring)
attempt('become root', lambda: os.setuid(0))
attempt('kill', lambda: os.kill(1, 9))
attempt('others', lambda: sorted(each for each in os.listdir('/proc') if each.isdigit() and each != str(os.getpid())))
attempt('capabilities', lambda: [line.split()[1] for line in open('/proc/self/status') if line.startswith('Cap')])
pathlib.Path(os.environ['STATE_DIRECTORY'], 'tried.json').write_text(json.dumps(tried))
"""
OWN = ("/var/lib/smtppseudo", LOGS)
NOT_OWN = ("/", "/etc", "/etc/smtppseudo", "/usr", "/opt/smtppseudo", "/var", "/var/lib", "/var/log", "/run", "/dev")


def test_the_sandbox_allows_an_attacker_nothing(machine: Machine) -> None:
    """The unit, with its sockets, runs attacks in place of the server: what an intruder in the server could do."""
    machine.path("/opt/probe.py").write_text(PROBE % {"places": OWN + NOT_OWN})
    machine.path("/home/member/secret").write_text("secret")
    machine.path("/home/member/secret").chmod(0o644)
    machine.path("/home/member").chmod(0o755)
    tried = run_in_its_place(machine)
    assert {each: tried.pop(f"write {each}") for each in OWN} == dict.fromkeys(OWN, "1")
    assert tried.pop("others") == "[]"
    assert json.loads(tried.pop("capabilities").replace("'", '"')) == ["0" * 16] * 5
    allowed = {name: outcome for name, outcome in tried.items() if not outcome.startswith(("Perm", "OSError", "File"))}
    assert allowed == {}
    assert "list /home" in tried
    assert tried["call out by a listening socket"] == "PermissionError Operation not permitted"
    assert tried["io_uring"] == "PermissionError Operation not permitted"


FAST_OPEN = """
import json, os, pathlib, socket, struct
tried = {}
for fd, name in enumerate(os.environ['LISTEN_FDNAMES'].split(':'), 3):
    listening = socket.socket(fileno=fd)
    for side in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        listening.setsockopt(socket.SOL_SOCKET, side, struct.pack('ll', 2, 0))
    listening.shutdown(socket.SHUT_RD)
    host = '20.1.1.2' if listening.family == socket.AF_INET else '2a01:4f8::2'
    for number in (1, 2):
        try:
            listening.sendto(b'hello', socket.MSG_FASTOPEN, (host, 2600))
            outcome = listening.recv(99).decode()
        except OSError as error:
            outcome = os.strerror(error.errno)
        tried[f'{name} to {host}, {number}'] = outcome
    try:
        listening.shutdown(socket.SHUT_RDWR)  # systemd has it, too, and would loop over a connection
    except OSError:
        pass
pathlib.Path(os.environ['STATE_DIRECTORY'], 'tried.json').write_text(json.dumps(tried))
"""
OTHER_SERVER = """
import socket
server = socket.create_server(('::', 2600), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    sock, caller = server.accept()
    sock.send(b'%s from port %d' % (sock.recv(5), caller[1]))
"""
OTHER_HOST = """
ip netns add other
ip link add out type veth peer name in netns other
ip address add 20.1.1.1/24 dev out
ip address add 2a01:4f8::1/64 dev out nodad
ip link set out up
in_other="ip netns exec other"
$in_other ip address add 20.1.1.2/24 dev in
$in_other ip address add 2a01:4f8::2/64 dev in nodad
$in_other ip link set in up
systemd-run --quiet --unit=other $in_other python3 /opt/other.py
"""


@pytest.mark.slow
def test_fast_open_leaves_what_the_guide_says_and_its_sysctl_closes_it(machine: Machine) -> None:
    machine.path("/opt/probe.py").write_text(FAST_OPEN)
    machine.path("/opt/other.py").write_text(OTHER_SERVER)
    machine.run("sh", "-ec", OTHER_HOST)
    wait_until(
        lambda: ":2600 " in machine.read("ip", "netns", "exec", "other", "ss", "-ltn"), "the other host", LIMIT_S
    )
    hosts = ("20.1.1.2", "2a01:4f8::2")
    tried = run_in_its_place(machine)
    assert [tried.pop(f"smtp to {host}, 1") for host in hosts] == ["hello from port 25"] * 2
    assert [tried.pop(f"smtp to {host}, 2") for host in hosts] == ["Transport endpoint is already connected"] * 2
    assert not [outcome for outcome in tried.values() if outcome.startswith("hello")]
    machine.run("sysctl", "net.ipv4.tcp_fastopen=0")
    try:
        assert set(run_in_its_place(machine).values()) == {"Operation not supported"}
    finally:
        machine.run("sysctl", "net.ipv4.tcp_fastopen=1")
        machine.run("systemctl", "stop", "other", *SOCKETS)
        machine.run("ip", "netns", "delete", "other")


def run_in_its_place(machine: Machine) -> dict[str, str]:
    """Run /opt/probe.py as the service, with its sockets; return what it tried, with the outcomes."""
    probe = "ExecStart=\nExecStart=/usr/bin/python3 -I /opt/probe.py\n"
    machine.write_drop_in(f"[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\n{probe}")
    machine.run("systemctl", "stop", *SOCKETS)  # the probe may have left them shut down
    machine.run("systemctl", "start", SERVICE)
    tried: dict[str, str] = json.loads(machine.path("/var/lib/smtppseudo/tried.json").read_text())
    return tried
