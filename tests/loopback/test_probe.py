"""`probe` against real servers: this one at each stage, Postfix, aiosmtpd, and a closed port."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from smtppseudo.config.settings import STAGES
from tests.certificates import make_certificate
from tests.loopback import postfix
from tests.running import Running, Servers, run

ACCEPTED, REFUSED, UNREACHABLE, DEFERRED = 1, 0, 69, 75


@contextlib.contextmanager
def playing(play: Callable[[socket.socket], object]) -> Iterator[int]:
    """Run a server that plays one connection and closes it; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as sock, contextlib.suppress(OSError):  # the probe has left
                play(sock)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(timeout=10)


@contextlib.contextmanager
def aiosmtpd(**options: Any) -> Iterator[int]:
    """Run aiosmtpd, to which no message may be sent; yield its port."""

    class Taker:
        async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802
            raise AssertionError("a message was sent")

    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = sock.getsockname()[1]
    controller = Controller(Taker(), hostname="127.0.0.1", port=number, **options)
    controller.start()
    try:
        yield number
    finally:
        controller.stop()


def answering(data: bytes) -> contextlib.AbstractContextManager[int]:
    """Run a server that sends some bytes to one connection and closes it; yield its port."""
    return playing(lambda sock: sock.sendall(data))


@pytest.fixture(scope="module")
def stages(lasting_servers: Servers) -> dict[str, Running]:
    """A server for each stage of refusal."""
    return {stage: lasting_servers.start({"reject_at": stage}) for stage in STAGES}


@pytest.mark.parametrize("options", [[], ["--pipeline"], ["--helo"]], ids=["", "pipeline", "helo"])
@pytest.mark.parametrize("stage", STAGES)
def test_probe_of_this_server_at_each_stage(stages: dict[str, Running], stage: str, options: list[str]) -> None:
    probe = run("probe", "--port", str(stages[stage].port), *options, "127.0.0.1")
    # At `message` the no comes only after a message, and none is sent.
    accepted = stage == "message"
    assert (probe.returncode, probe.stderr) == (ACCEPTED if accepted else REFUSED, "")
    assert probe.stdout.endswith(f"verdict: {'accepted' if accepted else 'refused permanently'}\n")


def test_probe_prints_both_sides_with_times(unchanged: Running) -> None:
    probe = run("probe", "--port", str(unchanged.port), "--ehlo", "me.test", "--from", "<a@b.test>", "127.0.0.1")
    lines = [line.split(maxsplit=1) for line in probe.stdout.splitlines()[:-1]]
    assert all(float(time) >= 0 for time, _ in lines)
    said = [text for _, text in lines]
    assert said[1] == "C: EHLO me.test"
    assert said[-4:] == [
        "C: MAIL FROM:<a@b.test>",
        "S: 553 Sender <a@b.test> is Invalid!",
        "C: QUIT",
        "S: 221 Server Disconnecting",
    ]


def test_probe_detects_accept_mode(servers: Servers) -> None:
    server = servers.start({"accept_mail": True})
    assert run("probe", "--port", str(server.port), "127.0.0.1").returncode == ACCEPTED


@pytest.mark.skipif(bool(postfix.missing()), reason=postfix.missing() or "-")
def test_probe_detects_that_postfix_accepts() -> None:
    with postfix.running(9, {"elsewhere.test": 9}) as server:
        probe = run("probe", "--port", str(server.port), "--to", "someone@example.org", "--pipeline", "127.0.0.1")
        assert (probe.returncode, probe.stderr) == (ACCEPTED, "")
        probe = run("probe", "--port", str(server.port), "--ehlo", "-", "--to", "a b@@", "127.0.0.1")
        assert probe.returncode == REFUSED


def test_probe_detects_that_aiosmtpd_accepts() -> None:
    with aiosmtpd() as port:
        assert run("probe", "--port", str(port), "127.0.0.1").returncode == ACCEPTED


@pytest.mark.parametrize("options", [[], ["--pipeline"]], ids=["", "pipeline"])
def test_probe_uses_tls_where_the_server_demands_it(tmp_path: Path, options: list[str]) -> None:
    context = make_certificate(tmp_path / "tls").server_context()
    with aiosmtpd(require_starttls=True, tls_context=context) as port:
        probe = run("probe", "--port", str(port), *options, "127.0.0.1")
    assert (probe.returncode, probe.stderr) == (ACCEPTED, "")
    assert " C: STARTTLS\n" in probe.stdout


def test_probe_of_a_server_that_closes_in_the_handshake_is_deferred() -> None:
    with answering(b"220 x\r\n250 STARTTLS\r\n530 TLS first\r\n220 go\r\n") as port:
        probe = run("probe", "--port", str(port), "--timeout", "5", "127.0.0.1")
    assert (probe.returncode, probe.stderr) == (DEFERRED, "")


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"421 busy\r\n", DEFERRED), (b"554 no\r\n", REFUSED), (b"220 hello\r\n", DEFERRED), (b"", UNREACHABLE)],
)
def test_server_that_hangs_up_is_deferred_or_unreachable(data: bytes, status: int) -> None:
    with answering(data) as port:
        probe = run("probe", "--port", str(port), "--timeout", "5", "127.0.0.1")
    assert probe.returncode == status
    assert "Traceback" not in probe.stderr


def bytes_at_intervals(sock: socket.socket) -> None:
    """Send a reply that has no end, a byte every 0.1 s."""
    sock.sendall(b"220-")
    while True:
        sock.sendall(b"x")
        time.sleep(0.1)  # the pace of the server is the test


def endless(line: bytes) -> Callable[[socket.socket], None]:
    """Send a line again and again."""

    def send(sock: socket.socket) -> None:
        while True:
            sock.sendall(line * 100)

    return send


def refusing_then_endless(sock: socket.socket) -> None:
    """Refuse, and do not end the reply to QUIT."""
    sock.sendall(b"554 no\r\n")
    sock.recv(100)
    endless(b"221-bye\r\n")(sock)


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (endless(b"x\r\n"), "a line is no SMTP reply"),
        (endless(b"220-x\r\n"), "a reply has more than 100 lines"),
        (endless(b"220-" + b"x" * 2_000 + b"\r\n"), "a reply has more than 65,536 bytes"),
        (endless(b"2" * 4_096), "a reply has more than 65,536 bytes"),
        (refusing_then_endless, "a reply has more than 100 lines"),
        (bytes_at_intervals, "no whole reply within 1 s"),
        (lambda sock: sock.recv(1), "no whole reply within 1 s"),
    ],
    ids=["short lines", "lines", "long lines", "no line end", "after the verdict", "slow", "silent"],
)
def test_a_hostile_server_ends_the_probe(server: Callable[[socket.socket], None], reason: str) -> None:
    with playing(server) as port:
        probe = run("probe", "--port", str(port), "--timeout", "1", "127.0.0.1")
    assert probe.returncode == UNREACHABLE
    assert probe.stderr == f"smtppseudo: 127.0.0.1 port {port}: {reason}; is it a mail server?\n"
    assert "verdict" not in probe.stdout


def test_probe_of_a_closed_port_is_unreachable() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound, but it does not listen
        port = sock.getsockname()[1]
        probe = run("probe", "--port", str(port), "127.0.0.1")
    assert probe.returncode == UNREACHABLE
    assert (
        probe.stderr == f"smtppseudo: cannot reach 127.0.0.1 port {port}: Connection refused; check HOST and --port\n"
    )


def test_probe_of_an_invalid_name_is_unreachable() -> None:
    probe = run("probe", "a..b")
    assert probe.returncode == UNREACHABLE
    assert probe.stderr.count("\n") == 1


def test_probe_escapes_what_the_server_sends() -> None:
    with answering(b"554 \x1b[2Jno\r\n") as port:
        assert r"S: 554 \x1b[2Jno" in run("probe", "--port", str(port), "127.0.0.1").stdout
