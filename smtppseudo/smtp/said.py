"""What a caller has said so far, and which part of it may be logged: nothing that follows AUTH."""

import re
from typing import Final

from smtppseudo.events import Command, escape

REDACTED: Final = "[redacted]"

_AUTH: Final = re.compile(
    rb"\s*AUTH"
    rb"(?:\s+(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|EXTERNAL|ANONYMOUS|XOAUTH2|OAUTHBEARER|SCRAM-[A-Z0-9-]{1,20})(?!\S))?",
    re.IGNORECASE,
)


class Said:
    """What the caller has said so far. Created at its first command, because most open connections say nothing.

    `follows_auth`: the last command was AUTH, or a line after AUTH that may be a user name or a password. `not_logged`
    counts the data events that were not logged.
    """

    __slots__ = (
        "commands",
        "errors",
        "follows_auth",
        "helo",
        "last",
        "logged_bytes",
        "mail_from",
        "not_logged",
    )

    def __init__(self) -> None:
        self.commands = 0
        self.errors = 0
        self.helo: bytes | None = None
        self.mail_from: bytes | None = None
        self.last: Command | None = None
        self.logged_bytes = 0
        self.not_logged = 0
        self.follows_auth = False


def starts_with_auth(line: bytes) -> bool:
    """Return whether a line starts with AUTH."""
    return _AUTH.match(line) is not None


def redact_auth(line: bytes) -> str:
    """Return a line as text for the log; in an AUTH line, what follows the verb and a known mechanism is redacted."""
    match = _AUTH.match(line)
    if match is None or not line[match.end() :].strip():
        return escape(line)
    return f"{escape(match[0])} {REDACTED}"


def redact_echo(first_line: str) -> str:
    """Return a reply line for the log without the echoed text, which follows the colon."""
    code_and_text, colon, _ = first_line.partition(": ")
    return code_and_text + colon + REDACTED if colon else first_line
