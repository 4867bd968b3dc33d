"""Answers: what is said to a command, by its argument, as functions with their replies made ready."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from smtppseudo.config.settings import Settings
from smtppseudo.smtp import replies
from smtppseudo.smtp.replies import Reply, echo, encode_lines

if TYPE_CHECKING:
    from smtppseudo.smtp.session import Said, SmtpSession

# Takes the session, what was said, and the argument (of an unknown verb: the verb itself, as sent); gives the reply's
# bytes.
Answer: TypeAlias = Callable[["SmtpSession", "Said", bytes], bytes]
HasRoom: TypeAlias = Callable[[], bool]  # whether TLS can be had at the moment

# RFC 5321 section 4.1.2; a quoted local part may hold spaces and ">". Each alternative begins differently,
# so the match takes linear time whatever a peer sends.
_PATH: Final = rb'\s*(<(?:"(?:[^"\\]|\\.)*"|[^">])*>|\S+)'
_FROM: Final = re.compile(rb"(?i:FROM):" + _PATH)
_TO: Final = re.compile(rb"(?i:TO):" + _PATH)


class Answers:
    """Makes answers of replies, their bytes made ready, for one set of settings."""

    __slots__ = ("_enhanced", "_hostname")

    def __init__(self, settings: Settings) -> None:
        self._hostname = settings.hostname
        self._enhanced = settings.enhanced_status_codes

    def data(self, reply: Reply) -> bytes:
        """Return the bytes of a reply that nothing is filled in."""
        return self._template(reply) % ()

    def always(self, reply: Reply) -> Answer:
        """Say the same, whatever the argument."""
        data = self.data(reply)
        return lambda session, said, argument: data

    def with_argument(self, reply: Reply, bare: Reply) -> Answer:
        """Say one thing to an argument, another where there is none."""
        data, missing = self.data(reply), self.data(bare)
        return lambda session, said, argument: data if argument else missing

    def without_argument(self, reply: Reply) -> Answer:
        """Say no to an argument (RFC 5321 section 4.1.1: servers SHOULD reject what takes none)."""
        data, wrong = self.data(reply), self.data(replies.R501_NO_ARGUMENT)
        return lambda session, said, argument: wrong if argument else data

    def hello(self, bare: Reply, keywords: tuple[str, ...] = ()) -> Answer:
        """Greet by name, with keywords behind; of HELO and EHLO."""
        template, missing = self._template(replies.R250_HELLO), self.data(bare)
        if keywords:
            template = b"250-" + template[4:] + encode_lines(250, list(keywords)).replace(b"%", b"%%")

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            if not argument:
                return missing
            said.helo = name = echo(argument.split(None, 1)[0])
            return template % (name, session.ip.encode())

        return answer

    def sender(self, reply: Reply) -> Answer:
        """Say a reply that echoes the reverse-path; of MAIL."""
        template, missing = self._template(reply), self.data(replies.R501_SENDER)

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            match = _FROM.match(argument)
            if match is None:
                return missing
            said.mail_from = path = echo(match[1])
            return template % path

        return answer

    def recipient(self, reply: Reply) -> Answer:
        """Say a reply that echoes the forward-path, or names the peer's address; of RCPT."""
        template, missing = self._template(reply), self.data(replies.R501_RECIPIENT)
        by_ip = "{ip}" in reply.text[0]

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            match = _TO.match(argument)
            if match is None:
                return missing
            return template % (session.ip.encode() if by_ip else echo(match[1]))

        return answer

    def message(self) -> Answer:
        """Ask for the message; of DATA."""
        go_ahead, wrong = self.data(replies.R354_ENTER_MAIL), self.data(replies.R501_NO_ARGUMENT)

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            if argument:
                return wrong  # as in `without_argument`
            session.expect_message()
            return go_ahead

        return answer

    def start_tls(self, has_room: HasRoom) -> Answer:
        """Ask for the handshake, if there is room for one more; of STARTTLS."""
        go_ahead, no_room = self.data(replies.R220_TLS), self.data(replies.R454_NO_TLS)
        no_parameters = self.data(replies.R501_STARTTLS)

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            if argument:
                return no_parameters
            if not has_room():
                return no_room
            session.close_reason = "tls"  # unless the handshake comes about
            return go_ahead

        return answer

    def quit(self) -> Answer:
        """Say goodbye."""
        goodbye = self.data(replies.R221_QUIT)

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            session.close_reason = "quit"
            return goodbye

        return answer

    def unrecognized(self) -> Answer:
        """Say that there is no such verb."""
        template = self._template(replies.R500_UNRECOGNIZED)
        return lambda session, said, verb: template % echo(verb)

    def _template(self, reply: Reply) -> bytes:
        return reply.encode(self._hostname, enhanced=self._enhanced)
