"""What a caller has said so far, and which part of it may be logged: no password, and no text of a message."""

import re
from typing import Final

from smtppseudo.events import Command, escape

REDACTED: Final = "[redacted]"
LOG_SHARE_BYTES: Final = 65_536
_NONE: Final[frozenset[str]] = frozenset()

# AUTH and a known mechanism. Or a word that begins with AUTH: a misspelt command, or `Authorization:` of HTTP.
_AUTH: Final = re.compile(
    rb"(?i)\s*AUTH"
    rb"(?:\s+(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|EXTERNAL|ANONYMOUS|XOAUTH2|OAUTHBEARER|SCRAM-[A-Z0-9-]{1,20})(?!\S))?"
)
HTTP_LINES_MAX: Final = 20
# A request line whose method is a command of mail, as from `curl -X MAIL`: its target, and the version at its end.
_HTTP_KNOWN: Final = re.compile(rb"(?is)\s*\S+[ \t]+(?:/|https?://|\*).*\sHTTP/\d\.\d\s*$")
# Any other: a word and a target, or with the version at its end. Or the header that every request has.
_HTTP: Final = re.compile(
    rb"(?is)\s*(?:\S+[ \t]+(?:/|https?://|\*(?!\S)|[\w.:\[\]-]+:\d{1,5}(?!\S))|\S.*\sHTTP/\d\.\d\s*$|HOST:)"
)
# What ends the text of a message: a command that hardly any text looks like.
_ENDS_TEXT: Final = re.compile(
    rb"(?is)\s*(?:QUIT|RSET|DATA|\.|(?:HELO|EHLO)\s+\S+|MAIL\s+FROM:\s*\S.*|RCPT\s+TO:\s*\S.*|STARTTLS|AUTH(?:\s.*)?)\s*"
)


class Said:
    """What the caller has said so far. Created at its first command, because most open connections say nothing.

    `follows_auth`: the caller said AUTH, so unknown lines may be user names or passwords. `is_text`: DATA was refused,
    and the caller may send the message all the same. `mails_refused` counts mail transactions that got the refusal of
    the stage, and `is_refused` is true once the present one did. After `log_share_bytes`, without those of messages,
    only the first event of each kind of evidence is logged. The recorder keeps the kinds in `kinds_logged`, and counts
    the other data events in `not_logged`. With `is_hidden` it logs nothing.
    """

    __slots__ = (
        "commands",
        "errors",
        "follows_auth",
        "helo",
        "is_hidden",
        "is_refused",
        "is_text",
        "kinds_logged",
        "last",
        "log_share_bytes",
        "mail_from",
        "mails_refused",
        "not_logged",
    )

    def __init__(self, log_share_bytes: float = LOG_SHARE_BYTES, *, is_hidden: bool = False) -> None:
        self.log_share_bytes = log_share_bytes
        self.is_hidden = is_hidden
        self.kinds_logged: frozenset[str] = _NONE
        self.commands = self.errors = self.mails_refused = self.not_logged = 0
        self.helo: bytes | None = None
        self.mail_from: bytes | None = None
        self.last: Command | None = None
        self.follows_auth = self.is_text = self.is_refused = False

    def is_http(self, line: bytes, *, is_known: bool) -> bool:
        """Return whether a line belongs to an HTTP request. `is_known`: its verb is known, and it is not too long."""
        is_early = self.commands <= HTTP_LINES_MAX and self.helo is None and self.mail_from is None
        return is_early and not self.is_text and (_HTTP_KNOWN if is_known else _HTTP).match(line) is not None

    def redact(self, line: bytes, first_line: str, verb: bytes, *, is_unknown: bool, is_http: bool) -> tuple[str, str]:
        """Return a line and the first line of its reply as text for the log, without passwords and mail."""
        if self.is_text and _ENDS_TEXT.fullmatch(line):
            self.is_text = False
        hides = self.is_text or (is_unknown and self.follows_auth)
        auth = _AUTH.match(line)
        if auth is not None:
            self.follows_auth = True
        if hides:
            if verb not in (b"HELO", b"EHLO"):
                return REDACTED, redact_echo(first_line)
            self.helo = None
            return REDACTED, first_line[:4] + REDACTED
        head, rest = (line, b"") if auth is None else (auth[0], line[auth.end() :])
        if not rest.strip():
            return escape(line), first_line
        if rest[:1].isspace() and not is_http:
            return f"{escape(head)} {REDACTED}", first_line
        # Without a space, a misspelt AUTH or one of HTTP is no evidence.
        return escape(head) + REDACTED, redact_echo(first_line)


def redact_echo(first_line: str) -> str:
    """Return a reply line for the log without the echoed text, which follows the colon."""
    code_and_text, colon, _ = first_line.partition(": ")
    return code_and_text + colon + REDACTED if colon else first_line
