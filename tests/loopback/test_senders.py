"""Real senders: the permanent no reaches each as what it is, at once."""

import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.events import Closed, Command
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
"""By stage, what a bounce must quote."""

TARPIT = {"tarpit": True, "greet_delay_s": 0.5, "reply_delay_s": 0.2, "stutter_bytes_per_s": 40}
"""The preset, some forty times as fast."""


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """A server for each stage of refusal, and one that takes all."""
    servers = Servers(tmp_path_factory.mktemp("stages"))
    try:
        running = {stage: servers.start({"reject_at": stage}) for stage in ("connect", *REFUSALS)}
        running["accept"] = servers.start({"accept_mail": True})
        running["tarpit"] = servers.start(TARPIT)
        yield running
    finally:
        servers.stop_all()


@pytest.fixture(scope="module")
def sender(stages: dict[str, Running]) -> Iterator[postfix.Postfix]:
    """A Postfix that relays to the server of the default stage, and to that of a stage what is for its domain."""
    if reason := postfix.missing():
        pytest.skip(reason)
    routes = {f"{stage}.test": server.port for stage, server in stages.items()}
    with postfix.running(stages["mail"].port, routes) as running:
        yield running


def why_bounced(sender: postfix.Postfix, recipient: str) -> str:
    """Have a message to one recipient bounce; return what Postfix says was the reason."""
    sender.submit([recipient])
    ((status, why),) = sender.verdicts([recipient])
    assert status == "bounced"
    return why


@pytest.mark.parametrize("stage", REFUSALS)
def test_postfix_bounces_at_once(sender: postfix.Postfix, stage: str) -> None:
    assert REFUSALS[stage] in why_bounced(sender, f"someone@{stage}.test")


def test_postfix_bounces_through_the_relayhost(sender: postfix.Postfix, stages: dict[str, Running]) -> None:
    assert REFUSALS["mail"] in why_bounced(sender, "someone@elsewhere.test")
    stages["mail"].wait_for_event(Closed, reason="quit")


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "message"])
def test_postfix_bounces_all_of_forty_recipients(sender: postfix.Postfix, stage: str) -> None:
    recipients = [f"user{number}@{stage}.test" for number in range(40)]
    sender.submit(recipients)
    verdicts = sender.verdicts(recipients)
    assert [status for status, _ in verdicts] == ["bounced"] * 40
    assert all(REFUSALS[stage] in why for _, why in verdicts)


def test_postfix_waits_for_its_no_in_a_tarpit(sender: postfix.Postfix, stages: dict[str, Running]) -> None:
    assert REFUSALS["mail"] in why_bounced(sender, "someone@tarpit.test")
    stages["tarpit"].wait_for_event(Closed, reason="quit")


def test_postfix_defers_at_connect_as_the_documentation_warns(sender: postfix.Postfix) -> None:
    recipients = ["someone@connect.test"]
    sender.submit(recipients)
    ((status, why),) = sender.verdicts(recipients)
    assert status == "deferred"
    assert "521 sink.test does not accept mail" in why


def test_postfix_delivers_where_mail_is_accepted(sender: postfix.Postfix, stages: dict[str, Running]) -> None:
    recipients = [f"user{number}@accept.test" for number in range(3)]
    sender.submit(recipients)
    for status, why in sender.verdicts(recipients):
        assert status == "sent"
        assert "250 Spam Message sent to the bit bucket!" in why
    stages["accept"].wait_for_event(Closed, reason="quit")
    assert b"DATA" in [command.data for command in events(stages["accept"].records(), Command)]


def test_smtplib_is_refused_for_good(servers: Servers) -> None:
    server = servers.start()
    client = smtplib.SMTP("127.0.0.1", server.port, "client.test", timeout=LIMIT_S)
    with client, pytest.raises(smtplib.SMTPSenderRefused) as caught:
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


def deliver(program: str, server: Running, directory: Path) -> subprocess.CompletedProcess[str]:
    """Let a program send a mail."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    message = directory / "message"
    message.write_text(MESSAGE)
    place = f"127.0.0.1:{server.port}"
    words = {
        "swaks": f"--server {place} --helo me.test --from a@b.test --to c@d.test",
        "curl": f"-sS smtp://{place} --mail-from a@b.test --mail-rcpt c@d.test -T {message}",
        "msmtp": f"--file=/dev/null --host=127.0.0.1 --port={server.port} --from=a@b.test c@d.test",
        "s-nail": f"-:/ -S v15-compat -S mta=smtp://{place} -S smtp-auth=none -S from=a@b.test"
        " -S sendwait -S nosave -s test c@d.test",
    }[program].split()
    return subprocess.run(
        [program, *words],
        input=MESSAGE,
        env=environment(HOME=str(directory), DEAD="/dev/null"),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize(("program", "status"), [("swaks", 23), ("curl", 55), ("msmtp", 65), ("s-nail", 4)])
def test_a_command_line_client_fails_for_good(servers: Servers, tmp_path: Path, program: str, status: int) -> None:
    server = servers.start()
    done = deliver(program, server, tmp_path)
    assert done.returncode == status, done.stderr
    assert "553" in done.stdout + done.stderr
    server.wait_for_event(Closed)
    command = events(server.records(), Command)
    assert command[1].reply == b"553 Sender <a@b.test> is Invalid!"


@pytest.mark.parametrize("program", ["swaks", "curl", "msmtp", "s-nail"])
def test_a_command_line_client_is_content_where_mail_is_accepted(
    servers: Servers, tmp_path: Path, program: str
) -> None:
    server = servers.start({"accept_mail": True})
    done = deliver(program, server, tmp_path)
    assert done.returncode == 0, done.stderr
    server.wait_for_event(Closed)
    assert events(server.records(), Command)[-1].data in (b"QUIT", b"DATA")
