"""The servers that are compared, each a subprocess on a free loopback port, and the build of the C programs."""

import argparse
import contextlib
import importlib.util
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent

SLOTS = 15_000
_SETTINGS = f"slots = {SLOTS}\n"
BACKLOG = 4096
READY_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.0005
PORTS = range(20_000, 32_768)
"""Below Linux's ephemeral ports, so that a probe of a closed port cannot connect to itself."""

OURS = "smtppseudo"
_DEBIAN_PYTHON = Path("/usr/bin/python3.11")
PYTHON = str(_DEBIAN_PYTHON if _DEBIAN_PYTHON.exists() else Path(sys.executable).resolve())
"""The interpreter of a distribution, as on servers. Those of pyenv are built without profile: sessions cost more."""


class BenchError(Exception):
    """A thing that the benchmark needs is missing or has failed; the text says what to do."""


@dataclass(frozen=True)
class Tools:
    """The interpreter that runs the servers in Python, and the C programs, built."""

    python: str
    load: Path
    epoll_server: Path
    tarpit_load: Path
    wheel_server: Path


@dataclass(frozen=True)
class Server:
    """A server under test that is running."""

    name: str
    port: int
    pid: int
    process: subprocess.Popen[bytes]
    directory: Path

    def error(self, text: str) -> BenchError:
        """Return an error with this text and the end of the server's output."""
        said = (self.directory / "output").read_text(errors="replace").strip()[-2000:]
        return BenchError(f"{self.name} {text}" + (f"; it said:\n{said}" if said else ""))


def add_python_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--python`."""
    parser.add_argument(
        "--python",
        default=PYTHON,
        metavar="FILE",
        help="the interpreter that runs the servers in Python, not a shim; default: %(default)s",
    )


def build(directory: Path, python: str = PYTHON) -> Tools:
    """Compile the C programs into `directory`. Raises BenchError without a compiler, or if it fails."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchError("no C compiler (cc, gcc or clang) found: on Debian, apt-get install gcc libc6-dev")
    programs = [directory / name for name in ("load", "epoll_server", "tarpit_load", "wheel_server")]
    for program in programs:
        command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(HERE / f"{program.name}.c")]
        built = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if built.returncode != 0:
            raise BenchError(f"{compiler} cannot build {program.name}.c:\n{built.stderr}")
    return Tools(python, *programs)


def ours(port: int, directory: Path, tools: Tools, settings: str, place: Path = CHECKOUT) -> list[str]:
    """Return the command line of this server with a settings file of its own; its package is in `place`."""
    code = f"import sys; sys.path.insert(0, {str(place)!r}); from smtppseudo.cli import main; sys.exit(main())"
    for name in ("log", "state"):
        (directory / name).mkdir(exist_ok=True)
    (directory / "settings.toml").write_text(settings, encoding="ascii")
    arguments = ["serve", "--config", str(directory / "settings.toml")]
    arguments += ["--port", str(port), "--listen", "127.0.0.1"]
    arguments += ["--monitor-port", "0", "--monitor-listen", "127.0.0.1"]
    arguments += ["--log-dir", str(directory / "log"), "--state-dir", str(directory / "state")]
    return [tools.python, "-I", "-S", "-c", code, *arguments]


def _ours(port: int, directory: Path, tools: Tools) -> list[str]:
    return ours(port, directory, tools, _SETTINGS)


def _aiosmtpd(port: int, directory: Path, tools: Tools) -> list[str]:
    packages = ":".join(path for path in sys.path if path.endswith("site-packages"))
    command = [tools.python, str(HERE / "aiosmtpd_server.py"), str(port), str(directory / "log.txt")]
    return ["env", f"PYTHONPATH={packages}", *command]


def _smtp_sink(port: int, directory: Path, tools: Tools) -> list[str]:
    program = _smtp_sink_path()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    limits = ["-4", "-m", str(SLOTS)]
    return [program or "smtp-sink", *user, *limits, "-f", "mail", f"127.0.0.1:{port}", str(BACKLOG)]


def _epoll(port: int, directory: Path, tools: Tools) -> list[str]:
    return [str(tools.epoll_server), str(port)]


COMMANDS: dict[str, Callable[[int, Path, Tools], list[str]]] = {
    OURS: _ours,
    "aiosmtpd": _aiosmtpd,
    "smtp-sink": _smtp_sink,
    "c-epoll": _epoll,
}


def _smtp_sink_path() -> str | None:
    return shutil.which("smtp-sink", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def is_ours(name: str) -> bool:
    """Whether a server is smtppseudo: the one of this checkout, or, with a slash, that in another directory."""
    return name == OURS or "/" in name


def command_for(name: str, port: int, directory: Path, tools: Tools) -> list[str]:
    """Return the command line of a server."""
    if "/" in name:
        return ours(port, directory, tools, _SETTINGS, Path(name).resolve())
    return COMMANDS[name](port, directory, tools)


def missing(name: str) -> str | None:
    """Return why this server cannot run here, or None."""
    if "/" in name and not (Path(name) / "smtppseudo").is_dir():
        return f"{name} has no smtppseudo"
    if name == OURS and importlib.util.find_spec("smtppseudo.cli") is None:
        return f"{CHECKOUT} has no smtppseudo.cli"
    if name == "aiosmtpd" and importlib.util.find_spec("aiosmtpd") is None:
        return "aiosmtpd is not installed for this Python: pip install aiosmtpd"
    if name == "smtp-sink" and _smtp_sink_path() is None:
        return "smtp-sink is not installed: on Debian, apt-get install postfix"
    return None


def free_port() -> int:
    """Return a free loopback port. Raises BenchError if there is none."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError(f"no free port from {PORTS.start} to {PORTS.stop - 1}")


def running(name: str, directory: Path, tools: Tools) -> contextlib.AbstractContextManager[Server]:
    """Start a server with its files below `directory`, wait for its 220, and stop it after the block."""
    return running_by(name, lambda port: command_for(name, port, directory, tools), directory)


@contextlib.contextmanager
def running_by(name: str, command_on: Callable[[int], list[str]], directory: Path) -> Iterator[Server]:
    """Start a server by the command line for its port; as `running`."""
    with started_by(name, command_on, directory) as server:
        wait_until_connectable(server)
        wait_until_greeted(server)
        yield server


def started(name: str, directory: Path, tools: Tools) -> contextlib.AbstractContextManager[Server]:
    """Start a server without waiting, and stop it after the block. Its output goes to `directory`/output."""
    return started_by(name, lambda port: command_for(name, port, directory, tools), directory)


@contextlib.contextmanager
def started_by(name: str, command_on: Callable[[int], list[str]], directory: Path) -> Iterator[Server]:
    """Start a server by the command line for its port; as `started`."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = command_on(port)
    with (directory / "output").open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory)
    try:
        yield Server(name, port, process.pid, process, directory)
    finally:
        stop(process)


@contextlib.contextmanager
def watching(server: Server) -> Iterator[None]:
    """Connect a monitor that reads every event of this server."""
    words = [sys.executable, "-m", "smtppseudo", "watch", "--json", "--state-dir", str(server.directory / "state")]
    process = subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any]) -> None:
    """Stop a process with SIGTERM, after 10 s with SIGKILL."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_connectable(server: Server) -> None:
    """Try every half millisecond until a connection succeeds. Raises BenchError after 15 s."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        if server.process.poll() is not None:
            raise server.error(f"ended with status {server.process.returncode}")
        if time.monotonic() > deadline:
            raise server.error(f"does not listen after {READY_TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)


def wait_until_greeted(server: Server) -> None:
    """Connect and read the 220. Raises BenchError for another greeting or none."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), READY_TIMEOUT_S) as client:
            greeting = client.recv(512)
            client.sendall(b"QUIT\r\n")
            while client.recv(512):
                pass
    except OSError as error:
        raise server.error(f"does not greet: {error}") from error
    if not greeting.startswith(b"220"):
        raise server.error(f"greets with {greeting!r}")
