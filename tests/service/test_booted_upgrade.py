"""An upgrade of a service of commit 6869f68 in a booted machine, and the way back.

That version has other names in settings, logs and state. The test needs the commit: a clone with its history.
"""

import io
import json
import re
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from smtppseudo.service.units import SOCKETS
from tests.clients import Client
from tests.running import CHECKOUT
from tests.service.machine import LIMIT_S, PROGRAM, SERVICE, SETTINGS, VENV, Machine, machine_with_program
from tests.service.tree import DEBIAN_12

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

OLD = "6869f68a2f525107e5b0cf0853c581995300bcf0"
LIST = "/var/lib/smtppseudo/list"
WORD = "a word that outlives versions"
WORD_FILE = "/root/word"
CALLERS = ("20.1.1.1", "20.1.1.2", "20.1.1.3")
"""Who calls the old server, the new one, and the old one again."""


@pytest.fixture(scope="module")
def old_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the old version."""
    done = subprocess.run(["git", "archive", OLD], cwd=CHECKOUT, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no commit {OLD[:7]} here: {done.stderr.decode().strip()}")
    directory = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(build, cwd=directory, capture_output=True, check=True, timeout=LIMIT_S)
    (wheel,) = directory.glob("dist/*.whl")
    return wheel


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the program of today, and no service yet."""
    with machine_with_program(tmp_path_factory.mktemp("booted"), DEBIAN_12) as machine:
        yield machine


def install(machine: Machine, wheel: Path) -> None:
    """Put another version in the place of the program, then upgrade the service as the guide says."""
    place = machine.path("/root") / wheel.name
    place.write_bytes(wheel.read_bytes())
    options = ("--quiet", "--no-index", "--no-deps", "--force-reinstall")
    machine.run(f"{VENV}/bin/pip", "install", *options, f"/root/{wheel.name}")
    machine.run(PROGRAM, "install-service")
    assert machine.show("ActiveState") == "active"


def call(machine: Machine, address: str) -> None:
    """Send a mail from an address, which is one of the machine's for that time only.

    The server reads its own addresses when it starts, and lists none of them.
    """

    def send() -> None:
        with Client(socket.create_connection(("127.0.0.1", 25), LIMIT_S, (address, 0))) as client:
            client.expect("220 Kept ")
            client.say("HELO me", "250 ")
            client.say("MAIL FROM:<a@example.org>", "553 ")
            client.say("QUIT", "221 ")

    machine.run("ip", "address", "add", address, "dev", "lo")
    machine.in_its_network(send)
    machine.run("ip", "address", "delete", address, "dev", "lo")


def assert_kept(machine: Machine, callers: Sequence[str]) -> None:
    """Check what must survive: hits, list, logs, a monitor's setting, the magic word."""
    machine.run("systemctl", "stop", *SOCKETS)
    assert machine.path(LIST).read_text().split() == [*callers]
    machine.run("systemctl", "start", SERVICE)
    top = json.loads(machine.read(PROGRAM, "report", "--json"))["by"]["address"]["top"]
    assert {row["value"] for row in top} == {"127.0.0.1", *callers}  # loopback is install-service's own check
    assert re.search("^idle_timeout_s += 77 +# monitor$", machine.read(PROGRAM, "config"), re.MULTILINE)
    machine.run(PROGRAM, "status", "--magic-file", WORD_FILE, "--state-dir", "/nowhere")


def test_an_upgrade_keeps_everything_and_so_does_the_way_back(machine: Machine, old_wheel: Path) -> None:
    (new_wheel,) = machine.path("/root/wheels").glob("smtppseudo-*.whl")
    machine.path(WORD_FILE).write_text(WORD)
    machine.path(WORD_FILE).chmod(0o600)
    machine.path(SETTINGS).parent.mkdir()
    machine.write_settings(
        f'greeting = "Kept "\nblocklist_file = "{LIST}"\nblocklist_min_hits = 1\n'
        "stutter_octets_per_s = 0\nlog_max_octets_per_day = 100000000\n"
    )
    install(machine, old_wheel)
    machine.run(PROGRAM, "magic-word", "--stdin", stdin=WORD)
    machine.run(PROGRAM, "set", "idle_timeout_s=77")
    call(machine, CALLERS[0])
    assert_kept(machine, CALLERS[:1])
    for number, wheel in enumerate((new_wheel, old_wheel), 2):
        install(machine, wheel)
        call(machine, CALLERS[number - 1])
        assert_kept(machine, CALLERS[:number])
