"""Debian's rbldnsd as an unprivileged process on a loopback port, and dig to ask it."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from tests.clients import LIMIT_S, wait_until

ZONE = "bl.test"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def is_installed() -> bool:
    """Whether both programs are there."""
    return all(shutil.which(program, path=PATH) for program in ("rbldnsd", "dig"))


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """Make a directory that every user can enter, as rbldnsd must; remove it at the end."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


class Rbldnsd:
    """One that serves a file, and looks every second whether it has changed. `prefix` is a command that runs it."""

    def __init__(self, file: Path, port: int, prefix: Sequence[str] = ()) -> None:
        self.port = port
        self._prefix = prefix
        drop = ["-u", "nobody:nogroup"] if os.geteuid() == 0 else []
        words = [*prefix, "rbldnsd", "-n", *drop, "-c", "1s", "-w", str(file.parent), "-b", f"127.0.0.1/{port}"]
        self.process = subprocess.Popen(
            [*words, f"{ZONE}:combined:{file.name}"],
            env={**os.environ, "PATH": PATH},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, name: str, kind: str) -> list[str]:
        """Return what dig prints of the answers."""
        words = ["dig", "+short", "+time=1", "+tries=1", "-p", str(self.port), "@127.0.0.1", name, kind]
        done = subprocess.run(
            [*self._prefix, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False, env={"PATH": PATH}
        )
        return [line for line in done.stdout.splitlines() if not line.startswith(";")]

    def look_up(self, ip: str, kind: str = "A") -> list[str]:
        """Ask for an address, as a mail server does (RFC 5782 sections 2.1 and 2.4)."""
        address = ip_address(ip)
        digits = ip.split(".") if address.version == 4 else list(address.exploded.replace(":", ""))
        return self.ask(".".join([*reversed(digits), ZONE]), kind)

    def wait_until_loaded(self) -> None:
        """Wait until it answers."""
        wait_until(lambda: self.process.poll() is not None or self.look_up("127.0.0.2"), "an answer of rbldnsd")

    def stop(self) -> str:
        """End it; return what it said."""
        self.process.terminate()
        return self.process.communicate(timeout=LIMIT_S)[0]


@contextlib.contextmanager
def serving(file: Path, port: int, prefix: Sequence[str] = ()) -> Iterator[Rbldnsd]:
    """Serve a file until the end."""
    server = Rbldnsd(file, port, prefix)
    try:
        server.wait_until_loaded()
        yield server
    finally:
        said = server.stop()
        assert "terminating" in said, said
