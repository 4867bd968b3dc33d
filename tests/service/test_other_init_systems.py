"""The scripts of the page `other-init-systems`, run by Debian's OpenRC and runit.

Each runs in a copy of a small Debian tree, in namespaces of its own, and only with this service: nothing is booted.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from smtppseudo.cli.exits import BAD_SETTINGS
from tests.clients import LIMIT_S, wait_until
from tests.documents import block
from tests.running import CHECKOUT
from tests.service.machine import require_containers
from tests.service.tree import DEBIAN_12, tree_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = "other-init-systems"
PACKAGES = ("openrc", "runit", "python3", "procps")
# $1 is the pristine tree, $2 an empty directory, $3 the program. All mounts and processes end with the last process.
_ENTER = """
set -e
ip link set lo up
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mount -t proc proc "$2/root/proc"
mount -t tmpfs tmpfs "$2/root/run"
install -D "$3" "$2/root/opt/smtppseudo/bin/smtppseudo"
exec chroot "$2/root" sh -c "while sleep 0.1; do :; done"  # it reaps processes whose parent has ended
"""


# OpenRC makes this at boot; without it, `rc-service` does nothing.
_OPENRC_RUNS = "cd /run && mkdir -p openrc && cd openrc && touch softlevel && mkdir exclusive started starting stopping"


class Init(NamedTuple):
    """An init system: where it has the script, what prepares it, and the command that acts on the service."""

    script: str
    prepare: str
    act: str
    reload: str = "reload"


OPENRC = Init("etc/init.d/smtppseudo", _OPENRC_RUNS, "rc-service smtppseudo {}")
RUNIT = Init(
    "etc/sv/smtppseudo/run",
    f"mkdir -p /etc/service && {block(PAGE, 'ln -s').text} (runsvdir /etc/service > /dev/null 2>&1 &)",
    "sv {} smtppseudo",
    "hup",
)


class Tree:
    """A Debian tree in namespaces of its own, held by a shell that waits."""

    def __init__(self, directory: Path, program: Path) -> None:
        directory.mkdir()
        words = ["sh", "-c", _ENTER, "sh", *map(str, (tree_of(DEBIAN_12, PACKAGES), directory, program))]
        self._holder = subprocess.Popen(["unshare", "-m", "-p", "-n", "-i", "--fork", "--kill-child", *words])
        pid = self._holder.pid
        self._enter = ["nsenter", f"--target={pid}", "-m", "-n", "-i", f"--pid=/proc/{pid}/ns/pid_for_children"]
        self._enter += ["chroot", str(directory / "root")]
        wait_until(lambda: not self.try_run("test -d /proc/1").returncode, "the tree", LIMIT_S)

    def run(self, script: str, stdin: str = "") -> str:
        """Run a script of the shell, and return its output."""
        done = self.try_run(script, stdin)
        assert done.returncode == 0, f"{script}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def try_run(self, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._enter, "sh", "-c", script],
            env={"PATH": "/opt/smtppseudo/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def write(self, path: str, text: str) -> None:
        """Write a file that can be executed."""
        self.run(f"mkdir -p $(dirname /{path}) && cat > /{path} && chmod 755 /{path}", text)

    def pid(self) -> str:
        """Return the process of the server, which runs as its own user; empty if there is none."""
        return self.try_run("pgrep -u smtppseudo").stdout.strip()

    def greets_with(self, text: str) -> bool:
        """Return whether a sender is greeted so, and refused."""
        said = self.try_run("smtppseudo probe 127.0.0.1").stdout
        return f" S: 220 {text}" in said and "\nverdict: refused permanently\n" in said

    def close(self) -> None:
        """End every process in it."""
        self._holder.kill()
        self._holder.wait()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A tree with the program, as one file, and its user."""
    require_containers()
    program = tmp_path / "program"
    subprocess.run([sys.executable, CHECKOUT / ".ci/pyz.py", program], check=True)
    tree = Tree(tmp_path / "tree", program)
    try:
        tree.run(block(PAGE, "useradd").text.splitlines()[0])
        yield tree
    finally:
        tree.close()


@pytest.mark.parametrize(
    ("init", "start"), [(OPENRC, "#!/sbin/openrc-run"), (RUNIT, "#!/bin/sh")], ids=["openrc", "runit"]
)
def test_the_script_starts_reloads_restarts_and_stops_the_service(tree: Tree, init: Init, start: str) -> None:
    tree.write(init.script, block(PAGE, start).text)
    tree.run(init.prepare)
    wait_until(lambda: tree.try_run(init.act.format("start")).returncode == 0, "a start", LIMIT_S)
    wait_until(lambda: tree.greets_with("Welcome!"), "the service", LIMIT_S)

    tree.write("etc/smtppseudo/smtppseudo.toml", 'greeting = "Changed "\n')
    tree.run(init.act.format(init.reload))
    wait_until(lambda: tree.greets_with("Changed "), "the new greeting", LIMIT_S)

    killed = tree.pid()
    tree.run(f"kill -9 {killed}")
    wait_until(lambda: tree.pid() not in ("", killed), "another process", LIMIT_S)
    wait_until(lambda: tree.greets_with("Changed "), "the service", LIMIT_S)

    if init is OPENRC:  # runit would start it every second
        tree.write("etc/smtppseudo/smtppseudo.toml", "greting = 1\n")
        refused = tree.try_run(init.act.format("reload"))
        assert refused.returncode == BAD_SETTINGS
        assert "unknown setting 'greting'" in refused.stderr
        assert tree.greets_with("Changed ")

    tree.run(init.act.format("stop"))
    assert tree.pid() == ""
    assert "offline by=shutdown" in tree.run("tail -n 1 /var/log/smtppseudo/*.log")
