"""Real web and TLS clients on the SMTP port: each session ends at once, before anything in a body counts."""

import shutil
import subprocess
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command
from tests.certificates import trusting
from tests.clients import LIMIT_S
from tests.running import Servers

BODY = b"MAIL FROM:<x@y>\r\nRCPT TO:<z@y>\r\nAUTH PLAIN x\r\n" * 1000


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("method", ["POST", "MAIL", "AUTH", "HELO"])
@pytest.mark.parametrize("settings", [{}, {"greet_delay_s": 0.5}, {"reject_at": "connect"}])
def test_curl_posts_to_the_smtp_port(
    servers: Servers, tmp_path: Path, settings: dict[str, object], method: str
) -> None:
    server = servers.start(settings)
    (tmp_path / "body").write_bytes(BODY)
    body = f"@{tmp_path / 'body'}"
    words = ["curl", "-sS", "--http0.9", "-X", method, "--data-binary", body, f"http://127.0.0.1:{server.port}/"]
    done = subprocess.run(words, capture_output=True, timeout=LIMIT_S, check=False)
    assert (
        b"500 Command unrecognized: " + method.encode() in done.stdout + done.stderr
    )  # it comes through: no RST overtakes it
    server.wait_for_event(Closed, reason="http", commands=1)
    (command,) = server.events(Command)
    assert (command.data, command.pregreet) == ("AUTH[redacted]" if method == "AUTH" else f"{method} / HTTP/1.1", False)


def test_a_tls_client_that_does_not_say_starttls(servers: Servers) -> None:
    server = servers.start()
    with server.connect() as client:
        client.expect("220")
        with pytest.raises(OSError, match=r"EOF|reset"):
            trusting().wrap_socket(client.sock)
    server.wait_for_event(Closed, reason="tls_in_clear")
    assert server.events(Command) == []
