"""The service's log in the journal of a booted system: nothing is lost silently, and fail2ban reads it."""

import json
import re
import threading
from collections.abc import Iterator
from itertools import product

import pytest

from tests.clients import connect, wait_until
from tests.loopback.test_fail2ban import FILTER, JAIL, VICTIM, hostile_records, is_refusal
from tests.records import parse, render_json, render_text
from tests.service.machine import DROP_IN, LIMIT_S, PROGRAM, SERVICE, Machine, machine_with_program
from tests.service.tree import SUITES

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

TO_JOURNAL = 'log_dir = "-"\n'
MANY_SLOTS = "slots = 200\nslots_per_client = 0\n"
LINES = 5
"""The log lines of one session of `play`."""
FILTER_PATH = "/etc/fail2ban/filter.d/smtppseudo.conf"
JAIL_PATH = "/etc/fail2ban/jail.d/smtppseudo.conf"


@pytest.fixture(scope="module", params=SUITES)
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the service, and with fail2ban, whose other jails are turned off."""
    with machine_with_program(tmp_path_factory.mktemp("booted"), request.param) as machine:
        machine.run(PROGRAM, "install-service")
        for path in machine.path("/etc/fail2ban/jail.d").iterdir():
            path.unlink()
        machine.path("/etc/fail2ban/jail.local").write_text("[DEFAULT]\nbanaction = dummy\n")
        yield machine


@pytest.fixture
def machine(booted: Machine) -> Machine:
    """The machine with an empty journal, in which no line counts for a rate limit yet."""
    booted.path(DROP_IN).unlink(missing_ok=True)
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "restart", "systemd-journald")
    booted.run("journalctl", "--rotate", "--vacuum-size=1")
    return booted


def restart(machine: Machine, settings: str, drop_in: str = "") -> None:
    """Restart the service with these settings, and with this in its unit."""
    machine.write_settings(settings)
    if drop_in:
        machine.write_drop_in(f"[Service]\n{drop_in}")
    machine.restart(SERVICE)


def play(machine: Machine, sessions: int, threads: int = 1) -> None:
    """Play sessions in every thread."""
    failures: list[Exception] = []

    def call() -> None:
        try:
            for _ in range(sessions):
                with connect("127.0.0.1", 25) as client:
                    client.send("HELO x", "MAIL FROM:<a@b>", "QUIT")
                    client.rest()
        except (OSError, AssertionError) as error:
            failures.append(error)

    def call_in_threads() -> None:
        callers = [threading.Thread(target=call) for _ in range(threads)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    machine.in_its_network(call_in_threads)
    assert not failures


def journal(machine: Machine) -> str:
    """Return what journald has of the service, as the guide tells to read it."""
    return machine.read("journalctl", "-u", "smtppseudo", "-o", "cat")


def report(machine: Machine) -> dict[str, object]:
    """Return the report on the journal."""
    pipe = f"journalctl -u smtppseudo -o cat | {PROGRAM} report --json -"
    found: dict[str, object] = json.loads(machine.read("sh", "-c", pipe))
    return found


def test_a_flood_is_in_the_journal_whole(machine: Machine) -> None:
    """By its own limit, which grows with the free space, journald would keep 25,000 of these 40,000 lines here."""
    restart(machine, TO_JOURNAL + MANY_SLOTS)
    play(machine, 1_000, threads=8)
    wait_until(lambda: journal(machine).count(" closed ") == 8_000, "all sessions in the journal", LIMIT_S, 0.5)
    found = report(machine)
    assert (found["connected"], found["lost"], found["suppressed"]) == (8_000, 0, 0)
    assert "\nlost log lines  0\n" in machine.read(PROGRAM, "status")


def test_report_counts_the_lines_that_journald_suppressed(machine: Machine) -> None:
    restart(machine, TO_JOURNAL + MANY_SLOTS, "LogRateLimitIntervalSec=2s\nLogRateLimitBurst=100\n")
    sessions = 200
    play(machine, sessions)

    def is_told() -> bool:
        nonlocal sessions
        play(machine, 1)  # journald tells it before the first line after the interval
        sessions += 1
        return "Suppressed " in journal(machine)

    wait_until(is_told, "the end of the interval", LIMIT_S, 0.5)
    wait_until(lambda: f" session={sessions} " in journal(machine), "the latest session", LIMIT_S)
    suppressed = report(machine)["suppressed"]
    assert suppressed == sessions * LINES - journal(machine).count(" session=")
    assert suppressed != 0


@pytest.mark.parametrize("settings", ["", 'log_format = "json"\n', 'server_name = "mx1"\n'])
def test_fail2ban_bans_a_caller_by_the_journal(machine: Machine, settings: str) -> None:
    restart(machine, TO_JOURNAL + settings)
    machine.path(FILTER_PATH).write_text(FILTER)
    machine.path(JAIL_PATH).write_text(re.sub("backend.*\nlogpath.*\n", "backend = systemd\n", JAIL))
    machine.run("systemctl", "start", "fail2ban")
    for source, count in (("127.0.0.8", 9), ("127.0.0.9", 10)):
        with machine.in_its_network(lambda source=source: connect("127.0.0.1", 25, source)) as client:  # type: ignore[misc]
            client.expect("220 ")
            for _ in range(count):
                client.say(f'MAIL FROM:<"\\" code=554 ip={VICTIM}>', "553 ")
            client.say("QUIT", "221 ")

    def status() -> str:
        return machine.run("fail2ban-client", "status", "smtppseudo", check=False).stdout

    wait_until(lambda: "Currently banned:\t1\n" in status(), "the ban", LIMIT_S)
    assert "Banned IP list:\t127.0.0.9\n" in status()
    assert "Total failed:\t19\n" in status()
    machine.run("systemctl", "stop", "fail2ban")
    machine.run("rm", "-f", "/var/lib/fail2ban/fail2ban.sqlite3")


def test_no_hostile_line_in_the_journal_bans_another_address(machine: Machine) -> None:
    """The unit prints hostile lines in place of the server."""
    kinds = product((render_text, render_json), ("", "mx1"))
    lines = [line for seed, (render, name) in enumerate(kinds) for line in render(hostile_records(seed), name)]
    machine.path("/opt/lines").write_text("".join(lines))
    restart(machine, TO_JOURNAL, "Type=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\nExecStart=/bin/cat /opt/lines\n")
    wait_until(lambda: lines[-1].rstrip() in journal(machine).splitlines(), "the last line", LIMIT_S)
    machine.path(FILTER_PATH).write_text(FILTER)
    said = machine.read("fail2ban-regex", "--usedns=no", "-o", "<ip> <msg>", "systemd-journal", FILTER_PATH)
    found = [(line.partition(" ")[0], line.partition("]: ")[2]) for line in said.splitlines()]
    refusals = [line.rstrip("\n") for line in lines if is_refusal(parse(line))]
    assert 0 < len(refusals) < len(lines)
    assert found == [(parse(line).ip, line) for line in refusals]
