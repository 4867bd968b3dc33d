"""The servers that are compared, each a subprocess on a free loopback port, and the build of the C programs."""

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
BACKLOG = 4096
READY_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.0005
PORTS = range(20_000, 32_768)
"""Below Linux's ephemeral ports, so that a probe of a closed port cannot connect to itself."""

OURS = "smtppseudo"


class BenchError(Exception):
    """A thing that the benchmark needs is missing or has failed; the text says what to do."""


@dataclass(frozen=True)
class Tools:
    """The C programs, built."""

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


def build(directory: Path) -> Tools:
    """Compile the C programs into `directory`. Raises BenchError without a compiler, or if it fails."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchError("no C compiler (cc, gcc or clang) found: on Debian, apt-get install gcc libc6-dev")
    programs = [directory / name for name in Tools.__dataclass_fields__]
    for program in programs:
        command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(HERE / f"{program.name}.c")]
        built = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if built.returncode != 0:
            raise BenchError(f"{compiler} cannot build {program.name}.c:\n{built.stderr}")
    return Tools(*programs)


def python() -> str:
    """Return the interpreter's real file: the link of a venv or a shim starts slower."""
    return str(Path(sys.executable).resolve())


def _ours(port: int, directory: Path, tools: Tools) -> list[str]:
    return ours(port, directory, f"slots = {SLOTS}\n")


def ours(port: int, directory: Path, settings: str) -> list[str]:
    """Return the command line of this server with a settings file of its own."""
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from smtppseudo.cli import main; sys.exit(main())"
    for name in ("log", "state"):
        (directory / name).mkdir(exist_ok=True)
    (directory / "settings.toml").write_text(settings, encoding="ascii")
    arguments = ["serve", "--config", str(directory / "settings.toml")]
    arguments += ["--port", str(port), "--listen", "127.0.0.1"]
    arguments += ["--monitor-port", "0", "--monitor-listen", "127.0.0.1"]
    arguments += ["--log-dir", str(directory / "log"), "--state-dir", str(directory / "state")]
    return [python(), "-I", "-S", "-c", code, *arguments]


def _aiosmtpd(port: int, directory: Path, tools: Tools) -> list[str]:
    return [sys.executable, str(HERE / "aiosmtpd_server.py"), str(port), str(directory / "log.txt")]


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


def missing(name: str) -> str | None:
    """Return why this server cannot run here, or None."""
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


@contextlib.contextmanager
def running(name: str, directory: Path, tools: Tools) -> Iterator[Server]:
    """Start a server with its files below `directory`, wait for its 220, and stop it after the block."""
    with started(name, directory, tools) as server:
        wait_until_connectable(server)
        wait_until_greeted(server)
        yield server


def started(name: str, directory: Path, tools: Tools) -> contextlib.AbstractContextManager[Server]:
    """Start a server without waiting, and stop it after the block. Its output goes to `directory`/output."""
    return started_by(name, lambda port: COMMANDS[name](port, directory, tools), directory)


@contextlib.contextmanager
def started_by(name: str, command_for: Callable[[int], list[str]], directory: Path) -> Iterator[Server]:
    """Start a server by the command line for its port; as `started`."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = command_for(port)
    with (directory / "output").open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory)
    try:
        yield Server(name, port, process.pid, process, directory)
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
