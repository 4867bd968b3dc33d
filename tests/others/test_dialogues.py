"""The same dialogues with this server in accept mode, with Postfix and with aiosmtpd: differences of reply classes.

A table lists every difference with its reason. The test fails for an unlisted difference, and for a listed one that no
longer occurs.
"""

import socket
from typing import NamedTuple

import pytest
from aiosmtpd.controller import Controller

from tests.loopback import postfix
from tests.others.dialogues import Dialogue, Message, Step, dialogues
from tests.others.play import CLOSED, classes
from tests.running import Servers

DIALOGUES = dialogues()


class Difference(NamedTuple):
    """The reply classes of the two servers to a step, which is in capitals."""

    step: Step
    ours: str
    theirs: str


NO_HELO = "RFC 5321 section 4.1.4 allows mail without HELO; this server wants to log such callers, too"
QUIT_IS_QUIT = "RFC 5321 section 4.1.1 says SHOULD; QUIT with an argument ends the session, as in Postfix"
BLANKS = "Spaces before a verb are ignored, as by Postfix"

POSTFIX = {
    Difference(
        ".", "5", "2"
    ): "Postfix replies 221 to a line that does not begin with a letter, and closes; this server logs what follows",
    **dict.fromkeys(
        [Difference(line, "5", "2") for line in ("GET / HTTP/1.1", "POST /HOOK HTTP/1.1", "MAILFROM:<A@B>")]
        + [Difference("CONNECT MX.EXAMPLE.ORG:25 HTTP/1.1", "5", "2")],
        "The same with HTTP, and with lines like headers; this server replies 500, and closes only after HTTP",
    ),
    Difference("HELP", "2", "5"): "Postfix has no HELP, which RFC 5321 section 4.5.1 allows",
    Difference("ETRN SERVER.TEST", "5", "4"): "Postfix has ETRN, but not for this name",
    Difference("ETRN EXAMPLE.ORG", "5", "4"): "The same with another name",
    Difference("XYZZY", "4", "5"): "Postfix closes one error later",
}
AIOSMTPD = {
    Difference("MAIL FROM:<A@CLIENT.TEST>", "2", "5"): NO_HELO,
    Difference("MAIL FROM: <A@CLIENT.TEST>", "2", "5"): NO_HELO,
    Difference("MAIL FROM:A@CLIENT.TEST", "2", "5"): NO_HELO,
    Difference("MAIL FROM:<>", "2", "5"): NO_HELO,
    Difference('MAIL FROM:<"A B"@CLIENT.TEST>', "2", "5"): NO_HELO,
    Difference("MAIL FROM:<A@CLIENT.TEST> SIZE=1000", "2", "5"): NO_HELO,
    Difference("MAIL FROM:<A@CLIENT.TEST> BODY=8BITMIME", "2", "5"): NO_HELO,
    Difference("QUIT NOW", "2", "5"): QUIT_IS_QUIT,
    Difference(" NOOP", "2", "5"): BLANKS,
    Difference("STARTTLS", "5", "4"): "aiosmtpd replies 454, try later; but there will be no TLS later",
    Difference("NOOP", CLOSED, "2"): "This server closes after an HTTP request without HELO before it",
    Difference("XYZZY", "5", CLOSED): "aiosmtpd closes after five unknown commands, this server after twenty errors",
}


class AcceptingHandler:
    """Accepts every message for aiosmtpd."""

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802
        """Accept the message."""
        return "250 accepted"


def first_difference(dialogue: Dialogue, ours: list[str], theirs: list[str]) -> Difference | None:
    """Return the first difference; after it the dialogues diverge."""
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        if mine != other:
            step = dialogue[number]
            return Difference(step.upper() if isinstance(step, str) else step, mine, other)
    assert len(ours) == len(theirs)
    return None


def compare(ours: int, theirs: int, table: dict[Difference, str]) -> None:
    """Play all dialogues with both ports; fail for differences not in the table, and for unused entries of it."""
    unexpected, seen = {}, set()
    for name, dialogue in DIALOGUES.items():
        found = first_difference(dialogue, classes(ours, dialogue), classes(theirs, dialogue))
        if found in table:
            seen.add(found)
        elif found is not None:
            unexpected[name] = found
    assert unexpected == {}
    assert set(table) - seen == set()


def test_there_are_dialogues() -> None:
    assert len(DIALOGUES) >= 200
    assert sum(isinstance(step, Message) for dialogue in DIALOGUES.values() for step in dialogue) >= 18


@pytest.mark.skipif(bool(postfix.missing()), reason=postfix.missing() or "-")
def test_postfix(servers: Servers) -> None:
    server = servers.start({"accept_mail": True})
    throws_away = {"relayhost": "", "default_transport": "discard:", "smtpd_error_sleep_time": "0"}
    with postfix.running(9, {"elsewhere.test": 9}, more=throws_away) as other:
        compare(server.port, other.port, POSTFIX)


def test_aiosmtpd(servers: Servers) -> None:
    server = servers.start({"accept_mail": True})
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    controller = Controller(AcceptingHandler(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        compare(server.port, port, AIOSMTPD)
    finally:
        controller.stop()
