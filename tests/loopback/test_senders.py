"""Real senders get the permanent refusal at once, in the clear and under TLS."""

import re
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smtppseudo.events import Closed, Command, Handshake
from tests.certificates import Certificate, trusting
from tests.clients import LIMIT_S
from tests.loopback import postfix
from tests.running import Running, Servers, environment, events

MESSAGE = "Subject: A test\n\nHello.\n"
REFUSALS = {
    "helo": "550 sink.test does not accept mail.",
    "mail": f"553 Sender <{postfix.SENDER}> is Invalid!",
    "rcpt": "550 127.0.0.1 will not find any valid users on this server.",
    "data": "554 No valid recipients.",
    "message": "554 Message refused.",
}
"""By stage, the reply that a bounce must quote."""

TARPIT = {"tarpit": True, "greet_delay_s": 0.5, "reply_delay_s": 0.2, "stutter_bytes_per_s": 40}
"""The preset, about forty times as fast."""

CLEAR, TLS = "clear", "tls"
IN_BOTH_WAYS = pytest.mark.parametrize("way", [CLEAR, TLS])

# Postfix as a sender


@pytest.fixture(scope="module")
def destinations(lasting_servers: Servers, certificate: Certificate) -> dict[str, Running]:
    """Servers by the domain that Postfix relays to them: each stage in both ways, accept, and a tarpit."""
    offering: dict[str, dict[str, Any]] = {CLEAR: {}, TLS: certificate.settings()}
    settings = {f"{stage}.{way}.test": {"reject_at": stage, **offering[way]} for stage in REFUSALS for way in offering}
    settings |= {f"accept.{way}.test": {"accept_mail": True, **offering[way]} for way in offering}
    settings |= {"connect.clear.test": {"reject_at": "connect"}, "tarpit.clear.test": TARPIT}
    return {domain: lasting_servers.start(table) for domain, table in settings.items()}


@pytest.fixture(scope="module")
def sender(destinations: dict[str, Running]) -> Iterator[postfix.Postfix]:
    """A Postfix that relays to the server of a domain, to `.tls.test` only under TLS, and else to `mail.clear.test`."""
    if reason := postfix.missing():
        pytest.skip(reason)
    ports = {domain: server.port for domain, server in destinations.items()}
    encrypted = [f"{{ [127.0.0.1]:{port} = encrypt }}" for domain, port in ports.items() if domain.endswith("tls.test")]
    policy = {"smtp_tls_policy_maps": f"inline:{{ {', '.join(encrypted)} }}"}
    with postfix.running(ports["mail.clear.test"], ports, more=policy) as running:
        yield running


def reason_of_bounce(sender: postfix.Postfix, recipient: str) -> str:
    """Submit a message to one recipient, which must bounce; return the reason that Postfix gives."""
    sender.submit([recipient])
    ((status, why),) = sender.verdicts([recipient])
    assert status == "bounced", why
    return why


@IN_BOTH_WAYS
@pytest.mark.parametrize("stage", REFUSALS)
def test_postfix_bounces_at_once(
    sender: postfix.Postfix, destinations: dict[str, Running], stage: str, way: str
) -> None:
    domain = f"{stage}.{way}.test"
    assert REFUSALS[stage] in reason_of_bounce(sender, f"someone@{domain}")
    commands = [command.data for command in destinations[domain].events(Command)]
    assert ("STARTTLS" in commands) is (way == TLS and stage != "helo")


def test_postfix_bounces_through_the_relayhost(sender: postfix.Postfix, destinations: dict[str, Running]) -> None:
    assert REFUSALS["mail"] in reason_of_bounce(sender, "someone@elsewhere.test")
    destinations["mail.clear.test"].wait_for_event(Closed, reason="quit")


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "message"])
def test_postfix_bounces_all_of_forty_recipients(sender: postfix.Postfix, stage: str) -> None:
    recipients = [f"user{number}@{stage}.clear.test" for number in range(40)]
    sender.submit(recipients)
    verdicts = sender.verdicts(recipients)
    assert [status for status, _ in verdicts] == ["bounced"] * 40
    assert all(REFUSALS[stage] in why for _, why in verdicts)


@pytest.mark.slow
def test_postfix_waits_for_the_refusal_of_a_tarpit(sender: postfix.Postfix, destinations: dict[str, Running]) -> None:
    assert REFUSALS["mail"] in reason_of_bounce(sender, "someone@tarpit.clear.test")
    destinations["tarpit.clear.test"].wait_for_event(Closed, reason="quit")


def test_postfix_defers_at_connect_as_the_documentation_warns(sender: postfix.Postfix) -> None:
    recipients = ["someone@connect.clear.test"]
    sender.submit(recipients)
    ((status, why),) = sender.verdicts(recipients)
    assert status == "deferred"
    assert "521 sink.test does not accept mail" in why


@IN_BOTH_WAYS
def test_postfix_delivers_where_mail_is_accepted(
    sender: postfix.Postfix, destinations: dict[str, Running], way: str
) -> None:
    recipients = [f"user{number}@accept.{way}.test" for number in range(3)]
    sender.submit(recipients)
    for status, why in sender.verdicts(recipients):
        assert (status, "250 Spam Message sent to the bit bucket!" in why) == ("sent", True), why
    server = destinations[f"accept.{way}.test"]
    server.wait_for_event(Closed, reason="quit")
    assert "DATA" in [command.data for command in server.events(Command)]


def test_a_postfix_that_knows_rsa_alone_bounces_under_tls(servers: Servers, certificate: Certificate) -> None:
    """The guide's command makes an RSA key. With another kind, this sender shares no cipher and retries for days."""
    if reason := postfix.missing():
        pytest.skip(reason)
    server = servers.start(certificate.settings())
    rsa_alone = {"smtp_tls_exclude_ciphers": "aECDSA", "smtp_tls_protocols": "<=TLSv1.2"}  # TLS 1.3 has no such choice
    with postfix.running(server.port, {"mail.test": server.port}, tls="may", more=rsa_alone) as sender:
        assert REFUSALS["mail"] in reason_of_bounce(sender, "someone@mail.test")
    handshakes = server.events(Handshake)
    assert {(handshake.version, "RSA" in handshake.cipher) for handshake in handshakes} == {("TLSv1.2", True)}


# Other senders


@pytest.fixture
def offered(way: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the settings of a server that offers TLS, if this test needs it."""
    if way == CLEAR:
        return {}
    certificate: Certificate = request.getfixturevalue("certificate")
    return certificate.settings()


@IN_BOTH_WAYS
def test_smtplib_is_refused_for_good(servers: Servers, offered: dict[str, str], way: str) -> None:
    server = servers.start(offered)
    with smtplib.SMTP("127.0.0.1", server.port, "client.test", timeout=LIMIT_S) as client:
        client.ehlo()
        assert client.has_extn("starttls") is (way == TLS)
        if way == TLS:
            context = ssl.create_default_context(cafile=offered["tls_cert"])
            context.check_hostname = False
            assert client.starttls(context=context)[0] == 220
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            client.sendmail("a@b.test", ["c@d.test", "e@f.test"], MESSAGE)
    assert (caught.value.smtp_code, caught.value.smtp_error) == (553, b"Sender <a@b.test> is Invalid!")
    server.wait_for_event(Closed, reason="quit")


def test_smtplib_is_refused_every_recipient(servers: Servers) -> None:
    server = servers.start({"reject_at": "rcpt"})
    recipients = [f"user{number}@d.test" for number in range(40)]
    client = smtplib.SMTP("127.0.0.1", server.port, "client.test", timeout=LIMIT_S)
    with client, pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        client.sendmail("a@b.test", recipients, MESSAGE)
    assert {code for code, _ in caught.value.recipients.values()} == {550}
    assert caught.value.recipients.keys() == set(recipients)


def run(words: list[str], text: str = MESSAGE, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program with text as its standard input."""
    env = environment(DEAD="/dev/null", **({} if home is None else {"HOME": str(home)}))
    return subprocess.run(words, input=text, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def deliver(program: str, way: str, server: Running, directory: Path) -> subprocess.CompletedProcess[str]:
    """Send a mail with a program."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    if (program, way) == ("swaks", TLS) and "TLS supported" not in run(["swaks", "--support"]).stdout:
        pytest.skip("swaks has no TLS: Net::SSLeay is not installed (Debian: libnet-ssleay-perl)")
    message = directory / "message"
    message.write_text(MESSAGE)
    place = f"127.0.0.1:{server.port}"
    options = {
        "swaks": f"--server {place} --helo me.test --from a@b.test --to c@d.test",
        "curl": f"-sS smtp://{place} --mail-from a@b.test --mail-rcpt c@d.test -T {message}",
        "msmtp": f"--file=/dev/null --host=127.0.0.1 --port={server.port} --from=a@b.test c@d.test",
        "s-nail": f"-:/ -S v15-compat -S mta=smtp://{place} -S smtp-auth=none -S from=a@b.test"
        " -S sendwait -S nosave -s test c@d.test",
    }[program]
    if way == TLS:
        options += {"swaks": " -tls", "curl": " --ssl-reqd -k"}[program]
    return run([program, *options.split()], home=directory)


@pytest.mark.parametrize(
    ("program", "way", "status"),
    [
        ("swaks", CLEAR, 23),
        ("curl", CLEAR, 55),
        ("msmtp", CLEAR, 65),
        ("s-nail", CLEAR, 4),
        ("swaks", TLS, 23),
        ("curl", TLS, 55),
    ],
)
def test_a_command_line_client_fails_for_good(
    servers: Servers, tmp_path: Path, offered: dict[str, str], program: str, way: str, status: int
) -> None:
    server = servers.start(offered)
    done = deliver(program, way, server, tmp_path)
    assert done.returncode == status, done
    assert "553" in done.stdout + done.stderr
    server.wait_for_event(Closed)
    commands = events(server.records(), Command)
    assert ("STARTTLS" in [command.data for command in commands]) is (way == TLS)
    assert commands[3 if way == TLS else 1].reply == "553 Sender <a@b.test> is Invalid!"


@pytest.mark.parametrize("program", ["swaks", "curl", "msmtp", "s-nail"])
def test_a_command_line_client_succeeds_where_mail_is_accepted(servers: Servers, tmp_path: Path, program: str) -> None:
    server = servers.start({"accept_mail": True})
    done = deliver(program, CLEAR, server, tmp_path)
    assert done.returncode == 0, done.stderr
    server.wait_for_event(Closed)
    assert events(server.records(), Command)[-1].data in ("QUIT", "DATA")


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


def test_a_tls_session_leaves_little_memory_behind(servers: Servers, certificate: Certificate) -> None:
    """OpenSSL keeps at most 20,480 sessions of TLS 1.2, 1.2 KiB each; Python cannot switch that off."""
    server = servers.start({**certificate.settings(), "log_data_events": False})
    status = Path(f"/proc/{server.pid}/status")
    if not status.exists():
        pytest.skip("needs Linux's /proc")
    context = trusting(ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_TICKET

    def memory_after(sessions: int) -> int:
        """Play sessions; return the server's memory in KiB."""
        for _ in range(sessions):
            with smtplib.SMTP("127.0.0.1", server.port, "client.test", timeout=LIMIT_S) as client:
                client.starttls(context=context)
        found = re.search(r"VmRSS:\s+(\d+)", status.read_text())
        assert found is not None
        return int(found[1])

    before = memory_after(400)  # until buffers and caches have their usual size
    assert memory_after(400) - before < 1024  # KiB
