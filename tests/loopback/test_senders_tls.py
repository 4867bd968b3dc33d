"""Real senders that insist on TLS: each has its permanent no."""

import re
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command
from tests.certificates import Certificate, trusting
from tests.clients import LIMIT_S
from tests.loopback import postfix
from tests.loopback.test_senders import MESSAGE, REFUSALS
from tests.running import Running, Servers, environment


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[dict[str, Running]]:
    """A server for each stage of refusal, and one that takes all."""
    servers = Servers(tmp_path_factory.mktemp("stages"))
    try:
        running = {stage: servers.start({"reject_at": stage, **certificate.settings()}) for stage in REFUSALS}
        running["accept"] = servers.start({"accept_mail": True, **certificate.settings()})
        yield running
    finally:
        servers.stop_all()


@pytest.fixture(scope="module")
def sender(stages: dict[str, Running]) -> Iterator[postfix.Postfix]:
    """A Postfix that delivers under TLS or not at all."""
    if reason := postfix.missing():
        pytest.skip(reason)
    routes = {f"{stage}.test": server.port for stage, server in stages.items()}
    with postfix.running(stages["mail"].port, routes, tls="encrypt") as running:
        yield running


@pytest.mark.parametrize("stage", REFUSALS)
def test_postfix_bounces_at_once(sender: postfix.Postfix, stages: dict[str, Running], stage: str) -> None:
    recipients = [f"someone@{stage}.test"]
    sender.submit(recipients)
    ((status, why),) = sender.verdicts(recipients)
    assert (status, REFUSALS[stage] in why) == ("bounced", True), why
    said = [command.data for command in stages[stage].events(Command)]
    assert (b"STARTTLS" in said) is (stage != "helo")


def test_postfix_delivers_where_mail_is_accepted(sender: postfix.Postfix) -> None:
    sender.submit(["someone@accept.test"])
    ((status, why),) = sender.verdicts(["someone@accept.test"])
    assert (status, "250 Spam Message sent to the bit bucket!" in why) == ("sent", True), why


def test_smtplib(servers: Servers, certificate: Certificate) -> None:
    server = servers.start(certificate.settings())
    with smtplib.SMTP("127.0.0.1", server.port, "client.test", timeout=LIMIT_S) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        context = ssl.create_default_context(cafile=str(certificate.cert))
        context.check_hostname = False
        assert client.starttls(context=context)[0] == 220
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            client.sendmail("a@b.test", ["c@d.test"], MESSAGE)
    assert caught.value.smtp_code == 553
    server.wait_for_event(Closed, reason="quit")


@pytest.mark.parametrize(
    ("program", "options", "status"),
    [
        ("swaks", "-tls --server 127.0.0.1:{port} --from a@b.test --to c@d.test", 23),
        (
            "curl",
            "-sS --ssl-reqd -k smtp://127.0.0.1:{port} --mail-from a@b.test --mail-rcpt c@d.test -T {message}",
            55,
        ),
    ],
)
def test_a_command_line_client_fails_for_good(
    servers: Servers, tmp_path: Path, certificate: Certificate, program: str, options: str, status: int
) -> None:
    if reason := missing(program):
        pytest.skip(reason)
    server = servers.start(certificate.settings())
    message = tmp_path / "message"
    message.write_text(MESSAGE)
    done = run([program, *options.format(port=server.port, message=message).split()])
    assert done.returncode == status, done
    assert "553" in done.stdout + done.stderr
    server.wait_for_event(Closed)
    assert b"STARTTLS" in [command.data for command in server.events(Command)]


def missing(program: str) -> str:
    """Return why a program cannot send under TLS here; empty if it can."""
    if shutil.which(program) is None:
        return f"{program} is not installed"
    if program == "swaks" and "TLS supported" not in run(["swaks", "--support"]).stdout:
        return "swaks has no TLS: Net::SSLeay is not installed (Debian: libnet-ssleay-perl)"
    return ""


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl(servers: Servers, certificate: Certificate, version: str) -> None:
    server = servers.start(certificate.settings())
    place = f"127.0.0.1:{server.port}"
    done = run(["openssl", "s_client", "-starttls", "smtp", version, "-quiet", "-connect", place], "QUIT\r\n")
    assert "221 Server Disconnecting" in done.stdout, done
    old = run(["openssl", "s_client", "-starttls", "smtp", "-tls1_1", "-connect", place], "")
    assert old.returncode != 0
    server.wait_for_event(Closed, reason="tls")
    full = run(["openssl", "s_client", "-starttls", "smtp", version, "-connect", place], "QUIT\r\n")
    assert re.search(r"Compression: NONE", full.stdout), full
    assert "Secure Renegotiation IS supported" in full.stdout or version == "-tls1_3"
    assert "TLS session ticket:" not in full.stdout or version == "-tls1_2"


def run(words: list[str], text: str = MESSAGE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, input=text, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def test_many_one_after_the_other_grow_nothing(servers: Servers, certificate: Certificate) -> None:
    """Sessions are not kept to be resumed."""
    server = servers.start({**certificate.settings(), "log_data_events": False})
    status = Path(f"/proc/{server.pid}/status")
    if not status.exists():
        pytest.skip("needs Linux's /proc")
    context = trusting(ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_TICKET

    def sessions(count: int) -> int:
        for _ in range(count):
            with smtplib.SMTP("127.0.0.1", server.port, "client.test", timeout=LIMIT_S) as client:
                client.starttls(context=context)
        found = re.search(r"VmRSS:\s+(\d+)", status.read_text())
        assert found is not None
        return int(found[1])

    before = sessions(100)
    assert sessions(400) - before < 1024  # KiB
