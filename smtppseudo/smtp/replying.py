"""Reply functions: each returns the reply to a command. The texts are encoded once, for one set of settings."""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from smtppseudo.config.settings import Settings
from smtppseudo.smtp import replies
from smtppseudo.smtp.replies import Reply, echo, encode_lines
from smtppseudo.smtp.said import Said

# Arguments: what the caller has said so far, its address, and the argument of the command (for an unknown verb, the
# verb as sent). Returns the bytes of the reply.
ReplyFunction: TypeAlias = Callable[[Said, str, bytes], bytes]
HasRoom: TypeAlias = Callable[[], bool]  # whether one more TLS handshake is possible now

# RFC 5321 section 4.1.2; a quoted local part may hold spaces and ">". Each alternative begins with a different byte,
# so the match takes linear time for any input.
_PATH: Final = rb'\s*(<(?:"(?:[^"\\]|\\.)*"|[^">])*>|\S+)'
_FROM: Final = re.compile(rb"(?i:FROM):" + _PATH)
_TO: Final = re.compile(rb"(?i:TO):" + _PATH)


class ReplyTemplates:
    """Makes reply functions from replies, for one set of settings."""

    def __init__(self, settings: Settings) -> None:
        self._hostname = settings.hostname
        self._enhanced = settings.enhanced_status_codes

    def encode(self, reply: Reply) -> bytes:
        """Return the bytes of a reply without placeholders."""
        return self._template(reply) % ()

    def always(self, reply: Reply) -> ReplyFunction:
        """Send the same reply for any argument."""
        data = self.encode(reply)
        return lambda said, ip, argument: data

    def by_argument(self, given: Reply, absent: Reply) -> ReplyFunction:
        """Send one reply to a command with an argument, another to a command without."""
        to_argument, to_none = self.encode(given), self.encode(absent)
        return lambda said, ip, argument: to_argument if argument else to_none

    def hello(self, absent: Reply, keywords: tuple[str, ...] = ()) -> ReplyFunction:
        """Greet the caller by name, and list the keywords (HELO, EHLO)."""
        template, missing = self._template(replies.R250_HELLO), self.encode(absent)
        if keywords:
            template = b"250-" + template[4:] + encode_lines(250, list(keywords)).replace(b"%", b"%%")

        def reply_to(said: Said, ip: str, argument: bytes) -> bytes:
            if not argument:
                return missing
            said.helo = name = echo(argument.split(None, 1)[0])
            return template % (name, ip.encode())

        return reply_to

    def sender(self, reply: Reply) -> ReplyFunction:
        """Send a reply that echoes the reverse-path (MAIL)."""
        template, missing = self._template(reply), self.encode(replies.R501_SENDER)

        def reply_to(said: Said, ip: str, argument: bytes) -> bytes:
            match = _FROM.match(argument)
            if match is None:
                return missing
            said.mail_from = path = echo(match[1])
            return template % path

        return reply_to

    def recipient(self, reply: Reply) -> ReplyFunction:
        """Send a reply that echoes the forward-path or the caller's address (RCPT)."""
        template, missing = self._template(reply), self.encode(replies.R501_RECIPIENT)
        by_ip = "{ip}" in reply.text

        def reply_to(said: Said, ip: str, argument: bytes) -> bytes:
            match = _TO.match(argument)
            if match is None:
                return missing
            return template % (ip.encode() if by_ip else echo(match[1]))

        return reply_to

    def start_tls(self, has_room: HasRoom) -> ReplyFunction:
        """Ask for the handshake if one more is possible now (STARTTLS)."""
        go_ahead, no_room = self.encode(replies.R220_TLS), self.encode(replies.R454_NO_TLS)
        no_parameters = self.encode(replies.R501_STARTTLS)

        def reply_to(said: Said, ip: str, argument: bytes) -> bytes:
            if argument:
                return no_parameters
            return go_ahead if has_room() else no_room

        return reply_to

    def unrecognized(self) -> ReplyFunction:
        """Refuse an unknown verb, and echo it."""
        template = self._template(replies.R500_UNRECOGNIZED)
        return lambda said, ip, verb: template % echo(verb)

    def _template(self, reply: Reply) -> bytes:
        return reply.encode(self._hostname, enhanced=self._enhanced)
