"""A machine with a real systemd: a Debian tree, booted in a container without a network."""

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import pytest

from tests.clients import Client, connect, wait_until
from tests.service.tree import Suite, build_wheel, pristine_tree, wheels_of_others

T = TypeVar("T")

LIMIT_S = 120.0
VENV = "/opt/smtppseudo"
PROGRAM = f"{VENV}/bin/smtppseudo"
SERVICE = "smtppseudo.service"
SETTINGS = "/etc/smtppseudo/smtppseudo.toml"
DROP_IN = f"/etc/systemd/system/{SERVICE}.d/test.conf"
_CLONE_NEWNET = 0x40000000  # sched.h
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}


def require_containers() -> None:
    """Skip the test where no container can be booted."""
    if os.geteuid() != 0:
        pytest.skip("booting a container needs root")
    for program, package in (("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container")):
        if shutil.which(program) is None:
            pytest.skip(f"{package} is not installed")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this root may not mount anything")


class Machine:
    """A copy of the pristine tree, in memory, that is booted and powered off."""

    def __init__(self, directory: Path, suite: Suite) -> None:
        self._suite = suite
        self.root = directory / "root"
        self._name = f"smtppseudo-test-{os.getpid()}"
        self._console = directory / "console"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with self._cleanup:
            tree = pristine_tree(self._suite)
            self.root.mkdir()
            # On a disk, the files that a machine is made of cost up to a minute to write and to remove.
            _run("mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "smtppseudo-test", str(self.root))
            self._cleanup.callback(_run, "umount", str(self.root))
            _run("cp", "-a", f"{tree}/.", str(self.root))
            self._cleanup.callback(self.power_off)
            self.boot()
            self._cleanup = self._cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def boot(self) -> None:
        """Boot it, and wait until systemd has started all units."""
        words = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no"]
        words += [f"--machine={self._name}", "--private-network", "--console=pipe"]
        if not Path("/run/systemd/system").is_dir():
            words.append("--keep-unit")  # no systemd here that could make a unit of it
        groups = self._make_control_groups()
        move = 'for group in $GROUPS_TO_JOIN; do echo $$ > "$group/cgroup.procs"; done; exec "$@"'
        env = {**os.environ, "GROUPS_TO_JOIN": " ".join(map(str, groups))}
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", move, "sh", *words], env=env, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        self._leader = wait_until(self._find_leader, "the machine's first process", LIMIT_S)
        wait_until(self._is_up, "the machine's systemd", LIMIT_S)

    def power_off(self) -> None:
        """Shut it down, and remove its control groups."""
        if self._nspawn is None:
            return
        try:
            self.run("systemctl", "poweroff", check=False)
            self._nspawn.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.kill(self._leader, signal.SIGKILL)  # the first process of its name space: all others end with it
            self._nspawn.wait(LIMIT_S)
        finally:
            self._nspawn = None
            for group in self._control_groups():
                for path in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                    path.rmdir()
                if group.exists():
                    group.rmdir()

    def run(
        self,
        *words: str,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and wait for its end; its exit status must be 0 unless `check` is false."""
        enter = ["nsenter", f"--target={self._leader}", "-m", "-u", "-i", "-n", "-p", "-C"]
        become = [] if user is None else ["runuser", "-u", user, "--"]
        done = subprocess.run(
            [*enter, *become, *words],
            env={**_ENVIRONMENT, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def restart(self, *units: str) -> None:
        """Restart units. It may need several tries: a port that was in use a moment ago can still be.

        A process of systemd that removes files of the old service holds it, or a connection from that port.
        """
        restart = ("systemctl", "restart", *units)
        wait_until(lambda: not self.run(*restart, check=False).returncode, "a restart", LIMIT_S, poll_s=1)

    def read(self, *words: str, user: str | None = None) -> str:
        """Run a command inside and return its output."""
        return self.run(*words, user=user).stdout.strip()

    def show(self, prop: str, unit: str = SERVICE) -> str:
        """Return a property of a unit."""
        return self.read("systemctl", "show", unit, f"--property={prop}", "--value")

    def wait_for_log(self, text: str) -> None:
        """Wait until the journal contains a text."""
        wait_until(lambda: text in self.read("journalctl", "--output=cat", "--quiet"), text, LIMIT_S)

    def path(self, inside: str) -> Path:
        """Return the path of one of its files outside the machine."""
        return self.root / inside.removeprefix("/")

    def write_settings(self, text: str) -> None:
        """Write the settings file."""
        self.path(SETTINGS).write_text(text)

    def write_drop_in(self, text: str) -> None:
        """Change the unit as `systemctl edit` does."""
        path = self.path(DROP_IN)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self.run("systemctl", "daemon-reload")

    def connect(self, port: int = 25, address: str = "127.0.0.1") -> Client:
        """Connect a client to one of its ports, from its own network."""
        return self.in_its_network(lambda: connect(address, port))

    def answers(self, port: int = 25, address: str = "127.0.0.1") -> bool:
        """Return whether its server answers on a port."""
        try:
            with self.connect(port, address) as client:
                return client.expect("220") != ""
        except (ConnectionError, AssertionError):
            return False

    def in_its_network(self, act: Callable[[], T]) -> T:
        """Call `act` in a thread inside its network; sockets made there stay in that network."""

        def enter_and_act() -> T:
            with Path(f"/proc/{self._leader}/ns/net").open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return act()

        with ThreadPoolExecutor(1) as threads:
            return threads.submit(enter_and_act).result()

    def _find_leader(self) -> int:
        """Return the first process of the machine; 0 while there is none."""
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, f"no machine: {self._console.read_text()}"
        pid = self._nspawn.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            try:
                status = Path(f"/proc/{child}/status").read_text()
            except OSError:
                continue
            if [line for line in status.splitlines() if line.startswith("NSpid:") and line.split()[1:][-1] == "1"]:
                return int(child)
        return 0

    def _is_up(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        assert state != "degraded", self.read("systemctl", "--failed")
        return state == "running"

    def _make_control_groups(self) -> list[Path]:
        groups = self._control_groups()
        for group in groups:
            group.mkdir(exist_ok=True)
        return groups

    def _control_groups(self) -> list[Path]:
        """Return control groups for this machine alone, in the hierarchies that systemd uses.

        Two machines must not share a group. Where systemd runs here, it makes one itself, and the list is empty.
        """
        if Path("/run/systemd/system").is_dir():
            return []
        roots: list[Path] = []
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, place, kind, options = line.split()[:4]
            if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
                roots.append(Path(place))
        return [root / self._name for root in roots]


@contextmanager
def machine_with_program(directory: Path, suite: Suite) -> Iterator[Machine]:
    """Boot a machine with the program installed as in README, from a wheel and without a network; no service yet."""
    require_containers()
    with Machine(directory, suite) as machine:
        wheels = machine.path("/root/wheels")
        shutil.copytree(wheels_of_others(suite), wheels)
        shutil.copy(build_wheel(directory), wheels)
        machine.run("python3", "-m", "venv", VENV)
        machine.run(f"{VENV}/bin/pip", "install", "--quiet", "--no-index", "--find-links=/root/wheels", "smtppseudo")
        yield machine


def _run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=LIMIT_S, capture_output=True)
