"""No name of a file, a process or a server sends commands to the terminal: every command prints printable ASCII."""

import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from smtppseudo.cli.parser import COMMANDS
from smtppseudo.net.port_holder import holder_of
from tests.clients import LIMIT_S
from tests.running import command, environment

HOSTILE: Final = os.fsdecode(b"\x1b]0;pwned\x07\nforged \xc2\x9b31m\xe2\x80\xae\xff\xfe")
ESCAPED: Final = r"\x1b]0;pwned\x07\x0aforged \xc2\x9b31m\xe2\x80\xae\xff\xfe"

# For each command, command lines that name a hostile thing. `{}` is a directory that holds a file of that name.
RUNS: Final[dict[str, list[list[str]]]] = {
    "serve": [["--config", "{}/missing/" + HOSTILE], ["--state-dir", "{}/" + HOSTILE, "--run-as", HOSTILE]],
    "monitor": [[HOSTILE], ["--magic-file", HOSTILE]],
    **{
        name: [[*words, "--magic-file", "{}/missing/" + HOSTILE], [*words, "--host", HOSTILE]]
        for name, words in {
            "start": [],
            "stop": [],
            "reload": [],
            "set": ["greeting=x"],
            "unset": ["greeting"],
            "disconnect": ["1"],
            "block": ["20.1.1.1"],
            "unblock": ["20.1.1.1"],
            "blocked": [],
            "magic-word": ["--generate"],
        }.items()
    },
    "watch": [["--magic-file", "{}/missing/" + HOSTILE], [HOSTILE]],
    "status": [["--magic-file", "{}/missing/" + HOSTILE], [HOSTILE]],
    "probe": [[HOSTILE, "--timeout", "3"]],
    "report": [
        ["{}/" + HOSTILE],
        ["{}/missing/" + HOSTILE],
        ["--since", HOSTILE, "{}"],
        ["--config", "{}/" + HOSTILE],
        ["--html", "{}/missing/" + HOSTILE, "{}/empty.log"],
    ],
    "find": [
        ["x22", "{}/" + HOSTILE],
        ["x", "{}/missing/" + HOSTILE],
        ["--sender", HOSTILE, "--since", HOSTILE, "{}"],
        ["--ip", HOSTILE],
    ],
    "blocklist": [
        ["{}/" + HOSTILE],
        ["{}/missing/" + HOSTILE],
        ["--never", "{}/" + HOSTILE, "{}/" + HOSTILE],
        ["--explain", HOSTILE, "{}/" + HOSTILE],
        ["--output", "{}/missing/" + HOSTILE, "--force", "{}/empty.log"],
    ],
    "config": [["--config", "{}/" + HOSTILE], ["--log-dir", "{}/" + HOSTILE], ["--check", "{}/" + HOSTILE]],
    "install-service": [["--root", "{}/tree/" + HOSTILE], ["--root", "{}/tree/" + HOSTILE, "--dry-run"]],
    "uninstall-service": [["--root", "{}/tree/" + HOSTILE, "--purge"], ["--root", "{}/" + HOSTILE]],
    "guide": [[HOSTILE]],
    "demo": [["--no-screen", "--seconds", HOSTILE]],
}


def printed(*arguments: str, **env: str) -> bytes:
    """Run a command; return all that it prints."""
    done = subprocess.run(
        command(*arguments),
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stdout, "it printed nothing"
    assert b"Traceback" not in done.stdout
    return done.stdout


def require_plain(output: bytes) -> None:
    assert re.fullmatch(rb"[ -~\n]*", output), output
    assert not re.search(rb"^forged", output, re.MULTILINE), output


def test_every_command_is_tried() -> None:
    assert RUNS.keys() == COMMANDS.keys()


@pytest.mark.parametrize(
    ("name", "words"),
    [pytest.param(name, words, id=f"{name}-{number}") for name in RUNS for number, words in enumerate(RUNS[name])],
)
def test_hostile_names_are_printed_escaped(tmp_path: Path, name: str, words: list[str]) -> None:
    (tmp_path / HOSTILE).write_bytes(gzip.compress(b"x" * 1000)[:-9] + HOSTILE.encode("utf-8", "surrogateescape"))
    (tmp_path / "empty.log").touch()
    (tmp_path / "tree" / HOSTILE).mkdir(parents=True)
    output = printed(name, *(word.replace("{}", str(tmp_path)) for word in words), HOME=str(tmp_path))
    require_plain(output)


@pytest.mark.parametrize("name", COMMANDS)
def test_hostile_word_is_printed_escaped(name: str) -> None:
    """A shell's `*` makes options of file names."""
    require_plain(printed(name, f"--{HOSTILE}"))


def test_hostile_steps_are_printed_escaped(tmp_path: Path) -> None:
    if shutil.which("systemctl") is None:
        pytest.skip("systemctl is not installed")
    tree = tmp_path / HOSTILE
    tree.mkdir()
    installed = printed("install-service", "--root", str(tree))
    require_plain(installed)
    assert f"wrote {tmp_path}/{ESCAPED}/etc/".encode() in installed
    kept = printed("uninstall-service", "--root", str(tree))
    require_plain(kept)
    assert f"not removed: {tmp_path}/{ESCAPED}/etc/smtppseudo".encode() in kept


def test_hostile_process_name_is_printed_escaped(tmp_path: Path) -> None:
    code = (
        "import ctypes, socket, sys; ctypes.CDLL(None).prctl(15, b'\\x1b]0;x\\x07\\n\\xff\\xfe')\n"
        "sock = socket.create_server(('127.0.0.1', 0)); print(sock.getsockname()[1], flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        shown = rf"\x1b]0;x\x07\x0a\xff\xfe (pid {holder.pid})"
        assert holder_of(port) == shown  # install-service prints this, too
        places = ["--config", "", "--log-dir", str(tmp_path), "--state-dir", str(tmp_path)]
        output = printed("serve", "--port", str(port), "--listen", "127.0.0.1", "--monitor-port", "0", *places)
        holder.communicate()
    require_plain(output)
    assert shown.encode() in output


def test_status_of_the_service_is_escaped(tmp_path: Path) -> None:
    """`systemctl status` prints it as it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        output = printed("serve", "--config", str(tmp_path / HOSTILE), NOTIFY_SOCKET=str(tmp_path / "notify"))
        status = manager.recv(4096)
    require_plain(output)
    require_plain(status)
    assert ESCAPED.replace(r"\x0a", " ").encode() in status
