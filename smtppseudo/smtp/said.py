"""What a caller has said so far, and which part of it may be logged: nothing that follows AUTH."""

import re
from typing import Final

from smtppseudo.events import Command

REDACTED: Final = b"[redacted]"

_AUTH: Final = re.compile(
    rb"\s*AUTH"
    rb"(?:\s+(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|EXTERNAL|ANONYMOUS|XOAUTH2|OAUTHBEARER|SCRAM-[A-Z0-9-]{1,20})(?!\S))?",
    re.IGNORECASE,
)


class Said:
    """What the caller has said so far. Created at its first command, because most open connections say nothing.

    `not_logged` counts the data events that were not logged.
    """

    __slots__ = ("commands", "errors", "helo", "last", "logged_bytes", "mail_from", "not_logged")

    def __init__(self) -> None:
        self.commands = 0
        self.errors = 0
        self.helo: bytes | None = None
        self.mail_from: bytes | None = None
        self.last: Command | None = None
        self.logged_bytes = 0
        self.not_logged = 0

    @property
    def follows_auth(self) -> bool:
        """Whether the last command was AUTH, or a line after AUTH that may be a user name or a password."""
        last = self.last
        return last is not None and (last.data is REDACTED or _AUTH.match(last.data) is not None)


def redact_auth(line: bytes) -> bytes:
    """Return an AUTH line for the log: everything after the verb and a known mechanism may be a password."""
    match = _AUTH.match(line)
    if match is None or not line[match.end() :].strip():
        return line
    return match[0] + b" " + REDACTED


def redact_echo(first_line: bytes) -> bytes:
    """Return a reply line for the log without the echoed text, which follows the colon."""
    code_and_text, colon, _ = first_line.partition(b": ")
    return code_and_text + colon + REDACTED if colon else first_line
