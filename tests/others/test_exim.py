"""A real Exim, in a chroot, against a BDAT that is refused: it does not wait for the reply, and bounces at once."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from smtppseudo.config import checks
from smtppseudo.events import Closed, Command
from tests.conftest import MakeInside
from tests.inside import Inside
from tests.service.tree import DEBIAN_12, tree_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mmdebstrap") is None,
        reason="needs root and mmdebstrap",
    ),
]
CONFIG = """\
primary_hostname = sender.test
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
host_lookup =
disable_ipv6 = true
never_users = 0
keep_environment =
begin routers
r:
 driver = manualroute
 domains = *
 transport = t
 route_list = * 127.0.0.1
 self = send
begin transports
t:
 driver = smtp
 port = {port}
 allow_localhost
 hosts_try_fastopen =
begin retry
* * F,2h,1m
"""


@pytest.fixture
def server(inside: MakeInside, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A server that announces CHUNKING, which the settings do not allow."""
    monkeypatch.setattr(checks, "_NOT_SPOKEN", ())
    return inside(reject_at="data", ehlo_keywords=("CHUNKING", "PIPELINING"))


def test_exim_bounces_at_once_and_its_message_is_not_read_as_commands(server: Inside, tmp_path: Path) -> None:
    root = tmp_path / "root"
    tree = tree_of(DEBIAN_12, ("exim4-daemon-light",))
    subprocess.run(["cp", "-a", f"{tree}/.", root], check=True)  # not copytree, which reads /dev/full without end
    (root / "etc/exim4/t.conf").write_text(CONFIG.format(port=server.port))
    words = ["exim4", "-C", "/etc/exim4/t.conf", "-odf", "-f", "a@sender.test", "victim@sink.test"]
    with subprocess.Popen(["chroot", str(root), *words], stdin=subprocess.PIPE, text=True) as exim:
        assert exim.stdin is not None
        exim.stdin.write("Subject: x\n\npassword is hunter2\nQUIT\n")
        exim.stdin.close()
        server.turn_until(lambda: exim.poll() is not None, "the end of Exim")
    log = (root / "var/log/exim4/mainlog").read_text()
    assert " ** victim@sink.test " in log  # a permanent failure
    assert "500 Command unrecognized: BDAT" in log
    said = [command.data for command in server.events(Command)]
    assert [line.split()[0] for line in said[:5]] == ["EHLO", "MAIL", "RCPT", "BDAT", "QUIT"]
    assert "hunter2" not in "".join(said)
    assert server.events(Closed)[0].reason == "quit"
