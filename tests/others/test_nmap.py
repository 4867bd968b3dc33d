"""The scripts of nmap find no open relay, no user names and no known vulnerability."""

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from typing import Final

import pytest

from tests.running import Servers

SCRIPTS: Final = ("smtp-open-relay", "smtp-commands", "smtp-enum-users", "smtp-vuln-cve2010-4344")
LIMIT_S: Final = 100

pytestmark = [
    pytest.mark.skipif(shutil.which("nmap") is None, reason="nmap is not installed"),
    pytest.mark.timeout(LIMIT_S + 20),
]


def scanned(port: int) -> dict[str, str]:
    """Return the output of each script for a port, which it treats as SMTP whatever its number."""
    scripts = ",".join(f"+{name}" for name in SCRIPTS)
    words = ["nmap", "-Pn", "-n", "-sT", "-p", str(port), "-oX", "-", "--script", scripts, "127.0.0.1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    found = ElementTree.fromstring(done.stdout).iter("script")
    return {script.get("id", ""): script.get("output", "").strip() for script in found}


@pytest.mark.parametrize("reject_at", ["mail", "rcpt"])
def test_nmap_finds_no_open_relay(servers: Servers, reject_at: str) -> None:
    found = scanned(servers.start({"reject_at": reject_at}).port)
    assert found["smtp-open-relay"] == "Server doesn't seem to be an open relay, all tests failed"
    assert found["smtp-enum-users"] == "Couldn't find any accounts"
    assert found["smtp-vuln-cve2010-4344"].endswith("NOT VULNERABLE")
    assert set(found) == set(SCRIPTS)


@pytest.mark.parametrize("settings", [{"accept_mail": True}, {"reject_at": "data"}], ids=["accept", "data"])
def test_a_server_that_accepts_every_recipient_is_reported(servers: Servers, settings: dict[str, object]) -> None:
    """The script goes no further than RCPT, as the guide says."""
    found = scanned(servers.start(settings).port)
    assert "is an open relay" in found["smtp-open-relay"]
