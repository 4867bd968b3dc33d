"""From a session to the reply of rbldnsd, between two network namespaces, because loopback is never listed."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.clients import LIMIT_S, wait_until
from tests.loopback import rbldnsd
from tests.loopback.namespaces import CLIENT_4, CLIENT_6, SERVER_4, SERVER_6, cable
from tests.loopback.rbldnsd import Rbldnsd, serving
from tests.running import Servers

DNS_PORT = 5353
OURS = (SERVER_4, SERVER_6, "127.0.0.1")

_CALL = """
import smtplib, sys
for address in sys.argv[2:]:
    with smtplib.SMTP(address, int(sys.argv[1]), "client.test", timeout=20) as client:
        client.ehlo()
        assert client.mail("a@b")[0] == 553
"""


def call(prefix: Sequence[str], port: int, *addresses: str) -> None:
    """Play a session with the server at each address, from the address on the same network."""
    words = [*prefix, sys.executable, "-c", _CALL, str(port), *addresses]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr


def assert_answers(server: Rbldnsd, *, listed: Sequence[str] = (), not_listed: Sequence[str] = ()) -> None:
    for ip in listed:
        assert server.look_up(ip) == ["127.0.0.2"], ip
    for ip in not_listed:
        assert server.look_up(ip) == [], ip


@pytest.mark.timeout(180)
@pytest.mark.skipif(not rbldnsd.is_installed(), reason="rbldnsd or dig is not installed")
@pytest.mark.parametrize("log_data_events", [True, False])
def test_repeated_caller_is_listed_in_dns(servers: Servers, log_data_events: bool) -> None:
    """Each caller connects twice, and again after a restart. Logging options and own addresses change nothing."""
    with cable() as ends, rbldnsd.open_directory() as directory:
        zone = directory / "zone"
        settings = {"blocklist_file": str(zone), "blocklist_format": "rbldnsd", "log_data_events": log_data_events}
        listen = ("0.0.0.0", "::")
        first = servers.start(settings, prefix=ends.server, listen=listen)
        wait_until(zone.exists, "a list")
        with serving(zone, DNS_PORT, ends.server) as dns:
            call(ends.client, first.port, *[SERVER_4, SERVER_6] * 2)
            call(ends.server, first.port, *[SERVER_4, SERVER_6, "127.0.0.1"] * 3)
            first.stop()
            assert_answers(dns, listed=["127.0.0.2"], not_listed=[CLIENT_4, CLIENT_6, *OURS])
            same_state = ("--state-dir", str(first.directory / "state"))
            second = servers.start(settings, *same_state, prefix=ends.server, listen=listen)
            call(ends.client, second.port, SERVER_4)
            # The list is replaced once a minute: at once, unless the server had written it before the caller came.
            wait_until(lambda: dns.look_up(CLIENT_4), "an answer that the caller is listed", 75)
            assert dns.look_up(CLIENT_4, "TXT")[0].startswith(
                f'"{CLIENT_4} called sink.test, which takes no mail; last: '
            )
            assert_answers(dns, listed=["127.0.0.2"], not_listed=[CLIENT_6, *OURS])
            call(ends.client, second.port, SERVER_6)
            second.stop()  # the list is written once more, before the minute has passed
            wait_until(lambda: dns.look_up(CLIENT_6), "an answer that the other caller is listed")
            assert_answers(dns, listed=[CLIENT_4, "2a01:4f8:1:2:9::9"], not_listed=["2a01:4f8:1:3::9", *OURS])
