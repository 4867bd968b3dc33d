"""Debian's Postfix as a private sender: own settings, queue and log in one directory, on loopback alone."""

import contextlib
import os
import random
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.clients import wait_until

START_TIMEOUT_S = 40.0
PORTS = range(20_000, 32_000)
"""Below the ports that the kernel gives to connections."""

SENDER = "sender@sender.test"

_MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/spool
data_directory = {directory}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = sender.test
mydestination =
local_transport = error:no local
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{relay_port}
transport_maps = inline:{{ {routes} }}
smtp_host_lookup = native
disable_dns_lookups = yes
alias_maps =
alias_database =
maillog_file = {directory}/mail.log
maillog_file_prefixes = {directory}
smtpd_relay_restrictions = permit_mynetworks,reject
smtp_tls_security_level = {tls}
"""

_MASTER = """\
127.0.0.1:{listen_port} inet n - n - - smtpd
postlog   unix-dgram n - n - 1 postlogd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
local     unix - n n - - local
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
"""

_STATUS = re.compile(r" to=<([^>]+)>,.* status=(\w+) \((.*)\)$")


def missing() -> str:
    """Say why Postfix cannot run here; empty if it can."""
    if shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        return "postfix is not installed"
    return "" if os.geteuid() == 0 else "postfix runs only as root"


class Postfix:
    """A Postfix that runs."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._log = directory / "mail.log"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def submit(self, recipients: list[str]) -> None:
        """Give it one mail."""
        with smtplib.SMTP("127.0.0.1", self.port, "client.test", timeout=20) as client:
            refused = client.sendmail(SENDER, recipients, "Subject: A test\r\n\r\nHello.\r\n")
        assert refused == {}

    def verdicts(self, recipients: list[str]) -> list[tuple[str, str]]:
        """Wait until it has decided on these recipients; return status and reason of each."""

        def look() -> list[tuple[str, str]] | None:
            said = {to: (status, why) for to, status, why in map(_verdict, self.log.splitlines()) if to}
            return [said[to] for to in recipients] if said.keys() >= set(recipients) else None

        found = wait_until(look, f"a verdict on {recipients[0]}")
        assert found is not None
        return found


def _verdict(line: str) -> tuple[str, str, str]:
    match = _STATUS.search(line)
    return (match[1], match[2], match[3]) if match else ("", "", "")


@contextlib.contextmanager
def running(
    relay_port: int,
    routes: Mapping[str, int],
    tls: str = "none",
    more: Mapping[str, str] | None = None,
    *,
    postscreen: bool = False,
) -> Iterator[Postfix]:
    """Run one that relays to a port of 127.0.0.1; mail to the domains in `routes` goes to theirs.

    `tls` is none, may (where it is offered) or encrypt (else the mail waits); `more` are parameters of main.cf. With
    `postscreen`, that answers the port.
    """
    # Its programs run as another user, who may not look into pytest's own directories.
    with tempfile.TemporaryDirectory(prefix="postfix-test-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        etc = directory / "etc"
        port = _free_port()
        _write(directory, relay_port, port, routes, tls)
        with (etc / "main.cf").open("a") as main:
            main.writelines(f"{name} = {value}\n" for name, value in (more or {}).items())
        if postscreen:
            master = etc / "master.cf"
            behind = "inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd"
            master.write_text(master.read_text().replace("inet n - n - - smtpd", behind))
        try:
            _control(etc, "start")
            postfix = Postfix(directory, port)
            wait_until(lambda: "daemon started" in postfix.log, "the start of Postfix", START_TIMEOUT_S)
            yield postfix
        finally:
            _control(etc, "abort", check=False)


def _write(directory: Path, relay_port: int, listen_port: int, routes: Mapping[str, int], tls: str) -> None:
    for name in ("etc", "spool", "data"):
        (directory / name).mkdir(mode=0o755)
    shutil.chown(directory / "data", "postfix")
    dynamic = Path("/etc/postfix/dynamicmaps.cf")
    if dynamic.exists():
        shutil.copy(dynamic, directory / "etc")
    table = ", ".join(f"{{{domain} = smtp:[127.0.0.1]:{port}}}" for domain, port in routes.items())
    (directory / "etc/main.cf").write_text(
        _MAIN.format(directory=directory, relay_port=relay_port, routes=table, tls=tls)
    )
    (directory / "etc/master.cf").write_text(_MASTER.format(listen_port=listen_port))


def _control(etc: Path, verb: str, *, check: bool = True) -> None:
    done = subprocess.run(
        ["/usr/sbin/postfix", "-c", str(etc), verb],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0 or not check, done.stdout


def _free_port() -> int:
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no free port from {PORTS.start} to {PORTS.stop - 1}")
