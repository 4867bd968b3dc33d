"""`log_dir = "-"`: the log on standard output, for containers and journald."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command, Connected, Error, Offline, Online
from tests.clients import LIMIT_S, connect, wait_until
from tests.records import parse
from tests.running import CHECKOUT, command, environment, keep_user_options, run

_PORT = re.compile(r"^smtppseudo \S+: SMTP on 127\.0\.0\.1 port (\d+)$", re.MULTILINE)


def words(directory: Path, *more: str) -> list[str]:
    """Return the command line of a server that logs to its standard output."""
    (directory / "empty").touch()
    places = ["--config", str(directory / "empty"), "--state-dir", str(directory / "state"), "--log-dir", "-"]
    ports = ["--port", "0", "--listen", "127.0.0.1", "--monitor-port", "0"]
    return command("serve", *ports, *places, *keep_user_options(), *more)


class Container:
    """A server whose standard output is a pipe that the test holds."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self._stderr = directory / "stderr"
        reads, writes = os.pipe()
        self.reads = os.fdopen(reads, "rb", buffering=0)
        line = words(directory)
        (directory / "empty").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(line, env=environment(), stdout=writes, stderr=stderr)
        self.writes = writes
        self.port = int(wait_until(lambda: _PORT.findall(self.stderr), "listening")[0])

    @property
    def stderr(self) -> str:
        """Its standard error so far."""
        return self._stderr.read_text()

    def play(self, times: int = 1) -> None:
        """Play sessions of five log lines."""
        for _ in range(times):
            with connect("127.0.0.1", self.port) as client:
                client.expect("220")
                for text, code in (("EHLO x", "250"), ("MAIL FROM:<a@b>", "553"), ("QUIT", "221")):
                    client.say(text, code)
                client.expect_end()

    def end(self) -> bytes:
        """Stop it with SIGTERM; return the rest of the pipe."""
        os.close(self.writes)
        self.process.send_signal(signal.SIGTERM)
        rest = b"" if self.reads.closed else self.reads.readall()
        assert self.process.wait(LIMIT_S) == 0, self.stderr
        assert "Traceback" not in self.stderr
        return rest or b""

    def close(self) -> None:
        """Kill the process, and close the pipe."""
        self.process.kill()
        self.process.wait()
        self.reads.close()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """A server in the default format."""
    container = Container(tmp_path)
    yield container
    container.close()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_stdout_has_one_line_for_each_event_and_nothing_else(tmp_path: Path, log_format: str) -> None:
    container = Container(tmp_path, log_format=f'"{log_format}"')
    try:
        container.play()
        records = [parse(line) for line in container.end().decode().splitlines(keepends=True)]
    finally:
        container.close()
    kinds = [type(record.event) for record in records]
    assert kinds == [Online, Connected, Command, Command, Command, Closed, Offline]
    assert "monitors on" in container.stderr
    assert not (tmp_path / "-").exists()


def test_slow_reader_does_not_delay_the_server_and_lost_lines_are_counted(container: Container) -> None:
    fcntl.fcntl(container.writes, fcntl.F_SETPIPE_SZ, 16_384)
    container.play(60)  # some 35 KiB: nobody reads, and all are answered
    wait_until(lambda: "log lines are lost" in container.stderr, "lines being lost")
    early = container.reads.read(1 << 20) or b""
    container.play()
    records = [parse(line) for line in (early + container.end()).decode().splitlines(keepends=True)]
    lost = sum(record.event.lost for record in records if isinstance(record.event, Error))
    assert lost > 0
    events = [record for record in records if not isinstance(record.event, Error)]
    assert len(events) + lost == 2 + 61 * 5
    assert container.stderr.count("log lines are lost") == 1


def test_reader_that_ends_does_not_end_the_server(container: Container) -> None:
    container.play()
    os.close(container.writes)
    container.reads.close()
    container.play(2)
    wait_until(
        lambda: "Broken pipe; log lines are lost until writing works again" in container.stderr, "lines being lost"
    )
    container.writes = os.open(os.devnull, os.O_WRONLY)  # for `end`
    container.end()


def test_verbose_with_log_to_stdout_is_refused(tmp_path: Path) -> None:
    done = run(*words(tmp_path, "-v")[3:])
    assert done.returncode == 2
    assert done.stderr == 'smtppseudo: -v prints what log_dir = "-" prints already; leave one of them out\n'


def test_closed_stdout_is_never_a_clients_socket(tmp_path: Path) -> None:
    """Descriptor 1 may belong to a socket when the log is written."""
    line = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *words(tmp_path)]
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(line, env=environment(), stderr=stderr)
    try:
        port = int(wait_until(lambda: _PORT.findall((tmp_path / "stderr").read_text()), "listening")[0])
        with connect("127.0.0.1", port) as client:
            client.expect("220")
            client.say("QUIT", "221")
            client.expect_end()
        assert {Path(f"/proc/{process.pid}/fd/{fd}").readlink() for fd in (0, 1)} == {Path(os.devnull)}
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
        assert "lost" not in (tmp_path / "stderr").read_text()
    finally:
        process.kill()
        process.wait()


_JOURNALD = "/lib/systemd/systemd-journald"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace")
@pytest.mark.skipif(not Path(_JOURNALD).exists() or not shutil.which("unshare"), reason="systemd is not installed")
def test_report_reads_the_log_from_journald(tmp_path: Path) -> None:
    """A journald of its own in a mount namespace; the server under systemd-cat, as with StandardOutput=journal."""
    (tmp_path / "script").write_text(_SCRIPT)
    line = ["unshare", "-m", "bash", str(tmp_path / "script"), _JOURNALD, str(tmp_path), *words(tmp_path)]
    process = subprocess.Popen(line, env=environment(), cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        stderr = tmp_path / "stderr"
        port = int(wait_until(lambda: _PORT.findall(stderr.read_text() if stderr.exists() else ""), "listening")[0])
        with connect("127.0.0.1", port) as client:
            client.expect("220")
            client.say('EHLO =\x7f"', "250")
            client.say("QUIT", "221")
            client.expect_end()
        journal, _ = process.communicate(b"stop\n", LIMIT_S)
    finally:
        process.kill()
        process.wait()
    kinds = [type(parse(text).event) for text in journal.decode().splitlines()]
    assert kinds == [Online, Connected, Command, Command, Closed, Offline]
    report = subprocess.run(
        command("report", "-", "--json"),
        env=environment(),
        input=journal,
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )
    found = json.loads(report.stdout)
    assert (found["connected"], found["lines"], found["damaged"]) == (1, 6, 0)


_SCRIPT = """
set -eu
journald=$1 directory=$2
shift 2
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
"$journald" 2> "$directory/journald" & journald=$!
trap 'kill $journald 2> "$directory/trap"; wait' EXIT
until test -S /run/systemd/journal/stdout; do kill -0 $journald; done
systemd-cat --identifier=smtppseudo sh -c 'exec "$@" 2> "$0"' "$directory/stderr" "$@" & server=$!
read -r line
kill -TERM $server
wait $server
journalctl --sync
journalctl --directory=/run/log/journal --identifier=smtppseudo --output=cat
"""
