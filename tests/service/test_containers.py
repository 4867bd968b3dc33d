"""The page `containers`: its image is built and run by Debian's Podman, as its quadlet says.

There is no registry: a Debian tree with wheels takes the place of the image from which the page's image is made.
Everything happens in namespaces of its own, with its own storage.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.clients import LIMIT_S, connect, wait_until
from tests.documents import block
from tests.inherited import Held, prefix_for
from tests.loopback.test_sd_notify import Manager
from tests.running import CHECKOUT, command
from tests.service.machine import require_containers
from tests.service.tree import DEBIAN_12, DEBIAN_13, pristine_tree, tree_of, wheels_of_others

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = "containers"
_BASE = """
FROM localhost/tree
COPY wheels /wheels
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
RUN python3 -m venv /usr/local
"""
# Podman sets limits that are higher than some roots may set.
_RUNTIME = """#!{python}
import json, os, pathlib, sys
for option, name in (("--bundle", "config.json"), ("--process", "")):
    if option in sys.argv:
        path = pathlib.Path(sys.argv[sys.argv.index(option) + 1], name)
        spec = json.loads(path.read_text())
        for key in ("rlimits", "oomScoreAdj"):
            spec.get("process", spec).pop(key, None)
        path.write_text(json.dumps(spec))
os.execv("{crun}", sys.argv)
"""
_CONFIGURATION = """
[containers]
cgroups = "disabled"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
[engine.runtimes]
crun = ["{runtime}"]
"""
# crun refuses a second hierarchy of control groups, which older systems have.
_HOLD = """
set -e
ip link set lo up
umount /sys/fs/cgroup/unified 2> /dev/null || true
for each in /run /var/lib/containers; do mkdir -p $each; mount -t tmpfs tmpfs $each; done
exec sleep infinity
"""


class Podman:
    """Podman in namespaces of its own; all its containers end with them."""

    def __init__(self, directory: Path) -> None:
        runtime, configuration = directory / "crun", directory / "containers.conf"
        runtime.write_text(_RUNTIME.format(python=sys.executable, crun=shutil.which("crun")))
        runtime.chmod(0o755)
        configuration.write_text(_CONFIGURATION.format(runtime=runtime))
        self.env = {**os.environ, "CONTAINERS_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}
        unshare = ["unshare", "-m", "-n", "-p", "-i", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen([*unshare, "sh", "-c", _HOLD])
        pid = self._holder.pid
        self.enter = ["nsenter", f"--target={pid}", "-m", "-n", "-i", f"--pid=/proc/{pid}/ns/pid_for_children"]
        wait_until(lambda: "sleep" in self.run("ps", "ax", check=False).stdout, "the namespaces", LIMIT_S)

    def run(self, *words: str, check: bool = True, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run a program there, and wait for its end."""
        done = subprocess.run(
            [*self.enter, *words], env=self.env, input=stdin, capture_output=True, timeout=120, check=False
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert not check or done.returncode == 0, f"{shlex.join(words)}: {done.returncode}: {out}{err}"
        return subprocess.CompletedProcess(words, done.returncode, out, err)

    def start(self, words: Sequence[str], pass_fds: Sequence[int] = (), **env: str) -> subprocess.Popen[str]:
        """Start a program there."""
        return subprocess.Popen(
            [*self.enter, *words], env={**self.env, **env}, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds
        )

    def log(self) -> str:
        """Return what the server has printed."""
        done = self.run("podman", "logs", "smtppseudo", check=False)
        return done.stdout + done.stderr

    def close(self) -> None:
        """End everything there."""
        self._holder.kill()
        self._holder.wait()


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman with the image, built by the first command of the page's second block."""
    require_containers()
    for program in ("podman", "crun"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    directory = tmp_path_factory.mktemp("podman")
    base, clone = directory / "base", directory / "clone"
    shutil.copytree(wheels_of_others(DEBIAN_12), base / "wheels")
    (base / "Containerfile").write_text(_BASE)
    containerfile = block(PAGE, "FROM").text
    assert len(containerfile.splitlines()) < 10
    ignored = shutil.ignore_patterns(".*", "tests", "__pycache__")
    shutil.copytree(CHECKOUT, clone, ignore=ignored)
    (clone / "Containerfile").write_text(containerfile)
    podman = Podman(directory)
    try:
        not_needed = [f"--exclude=./usr/share/{name}" for name in ("doc", "locale", "perl")]
        tree = ["tar", "-C", str(pristine_tree(DEBIAN_12)), *not_needed, "-c", "."]
        podman.run("sh", "-c", f"{shlex.join(tree)} | podman import --quiet - localhost/tree")
        image = containerfile.split()[1]
        podman.run("podman", "build", "--quiet", "--network=host", "-t", image, str(base))
        build = command_on_page("sudo podman build")
        podman.run("env", "-C", str(clone), *build[:2], "--quiet", "--network=host", *build[2:])
        yield podman
    finally:
        podman.close()


def command_on_page(start: str) -> list[str]:
    """Return a command of the page, without sudo."""
    (line,) = re.findall(rf"^{start}.*", block(PAGE, "sudo podman build").text, re.MULTILINE)
    return shlex.split(line)[1:]


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The service that Debian 13's Podman makes of the quadlet."""
    require_containers()
    directory = tmp_path_factory.mktemp("quadlet")
    (directory / "smtppseudo.container").write_text(block(PAGE, "[Unit]").text)
    quadlet = tree_of(DEBIAN_13, ["podman"], variant="extract") / "usr/libexec/podman/quadlet"
    done = subprocess.run(
        [quadlet, "--dryrun"], env={"QUADLET_UNIT_DIRS": str(directory)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def test_systemd_accepts_the_socket(unit: dict[str, str], tmp_path: Path) -> None:
    socket = tmp_path / "smtppseudo.socket"
    socket.write_text(block(PAGE, "[Socket]").text)
    service = f"[Service]\nType={unit['Type']}\nExecStart=/bin/true\n"
    (tmp_path / "smtppseudo.service").write_text(service)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", socket], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_first_command_serves(podman: Podman) -> None:
    server = podman.start(command_on_page("sudo podman run"))
    assert server.stdout is not None
    assert " online by=start" in server.stdout.readline()
    assert "verdict: refused permanently" in podman.run(*command("probe", "127.0.0.1", "--port", "2525")).stdout
    podman.run("podman", "stop", "--all")
    assert " offline by=shutdown" in server.communicate(timeout=LIMIT_S)[0]
    assert server.returncode == 0


def test_the_quadlet_serves_real_addresses_by_a_user_without_an_entry(
    podman: Podman, unit: dict[str, str], tmp_path: Path
) -> None:
    manager = Manager(tmp_path / "notify")
    settings = tmp_path / "settings/smtppseudo.toml"
    settings.parent.mkdir()
    other_words = {
        "%t/%N": str(tmp_path / "container"),
        "%H": "mx.example.org",
        "/etc/smtppseudo:": f"{settings.parent}:",
        "--cgroups=split": "--passwd=false",  # no systemd has made a control group
    }
    line = unit["ExecStart"]
    for word, other in other_words.items():
        assert word in line
        line = line.replace(word, other, 1)
    words = shlex.split(line)
    in_container = ["podman", "exec", "smtppseudo"]
    with Held("smtp") as held:
        fds = [sock.fileno() for sock in held.socks]
        with podman.start([*prefix_for(held.socks, held.names), *words], fds, **manager.env) as start:
            assert start.wait(LIMIT_S) == 0
        assert manager.receive_until("READY=1")

        with connect("127.0.0.1", held.ports[0], "127.0.0.77") as client:
            client.expect("220")
            client.say("MAIL FROM:<a@b>", "553")
            client.say("QUIT", "221")
        wait_until(lambda: "closed slot=1 session=1 ip=127.0.0.77 " in podman.log(), "the session", LIMIT_S)
        podman.run(
            *in_container, "sh", "-c", "test $(id -u) = 10025 && ! touch /x && ! touch /tmp/x && ! getent passwd 10025"
        )
        health = shlex.split(re.findall(r'--health-cmd "([^"]*)"', unit["ExecStart"])[0])
        assert "state           online" in podman.run(*in_container, *health).stdout

        settings.write_text('greeting = "Changed "\n')
        podman.run(*shlex.split(unit["ExecReload"]))
        wait_until(lambda: " settings keys=greeting " in podman.log(), "the reload", LIMIT_S)

        podman.run(*in_container, "smtppseudo", "stop")
        assert podman.run(*in_container, *health, check=False).returncode == 1
        podman.run("podman", "kill", "--signal", "TERM", "smtppseudo")
        wait_until(lambda: podman.run(*in_container, "true", check=False).returncode, "its end", LIMIT_S)
        assert held.is_listening()
    manager.sock.close()
