"""Reply functions: each returns the reply to a command. The texts are encoded once, for one set of settings."""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from smtppseudo.config.settings import Settings
from smtppseudo.events import ip_of
from smtppseudo.smtp import replies
from smtppseudo.smtp.replies import REPLY_BYTES, Reply, echo, encode_lines
from smtppseudo.smtp.said import Said

# Arguments: what the caller has said so far, the origin of its session (`origin_of`), and the argument of the command
# (for an unknown verb, the verb as sent). Returns the bytes of the reply.
ReplyFunction: TypeAlias = Callable[[Said, str, bytes], bytes]
HasRoom: TypeAlias = Callable[[], bool]  # whether one more TLS handshake is possible now

# RFC 5321 section 4.1.2; a quoted local part may hold spaces and ">". Each alternative begins with a different byte,
# so the match takes linear time for any input.
_PATH: Final = rb'\s*(<(?:"(?:[^"\\]|\\.)*"|[^">])*>|\S+)'
_PLACEHOLDER: Final = re.compile(rb"\{(?:echo|ip)\}")
_FILLED_IN: Final = re.compile(rb"\{(ip|sender|recipient)\}")
_FROM: Final = re.compile(rb"(?i:FROM):" + _PATH)
_TO: Final = re.compile(rb"(?i:TO):" + _PATH)


def path_in(argument: bytes, keyword: bytes, grammar: re.Pattern[bytes]) -> bytes | None:
    """Return the path in the argument of MAIL or RCPT; None if there is none.

    `keyword` is `FROM:<` or `TO:<`. The usual path, in angle brackets and without a quoted string, is cut out without
    the `grammar`: this saves 3 % of a session's instructions. A test compares the two.
    """
    start, end, _ = argument.partition(b">")
    size = len(keyword)
    if end and start[:size].upper() == keyword and 0x22 not in start:
        return start[size - 1 :] + end
    match = grammar.match(argument)
    return None if match is None else match[1]


class ReplyTemplates:
    """Makes reply functions from replies, for one set of settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def encode(self, reply: Reply) -> bytes:
        """Return the bytes of a reply without placeholders."""
        return reply.encode(self._settings.hostname, enhanced=self._settings.enhanced_status_codes)

    def always(self, reply: Reply) -> ReplyFunction:
        """Send the same reply for any argument."""
        data = self.encode(reply)
        return lambda said, origin, argument: data

    def refusing(self, reply: Reply, usual: ReplyFunction | None = None) -> ReplyFunction:
        """Send the refusal of the stage, made by `usual`, and count it once for each MAIL, or session without one."""
        send = self.with_operators_text(reply, usual or self.always(reply))
        code = b"%d " % reply.code

        def reply_to(said: Said, origin: str, argument: bytes) -> bytes:
            given = send(said, origin, argument)
            if not said.is_refused and given.startswith(code):  # else the command was malformed
                said.is_refused = True
                said.mails_refused += 1
            return given

        return reply_to

    def with_operators_text(self, reply: Reply, send_usual: ReplyFunction) -> ReplyFunction:
        """Send a refusal with the operator's text, if there is one."""
        text = self._settings.refusal.replace("{hostname}", self._settings.hostname)
        if not text:
            return send_usual
        code, head = b"%d " % reply.code, self.encode(reply._replace(text="")).removesuffix(b"\r\n")
        pieces = _FILLED_IN.split(text.encode())  # text, name, text, ...

        def reply_to(said: Said, origin: str, argument: bytes) -> bytes:
            given = send_usual(said, origin, argument)
            if not given.startswith(code):
                return given  # the command was malformed
            values = {
                b"ip": ip_of(origin).encode(),
                b"sender": said.mail_from or b"",
                b"recipient": echo(path_in(argument, b"TO:<", _TO) or b""),
            }
            line = head + b"".join([values[piece] if at % 2 else piece for at, piece in enumerate(pieces)])
            return line[: REPLY_BYTES - 2] + b"\r\n"

        return reply_to

    def by_argument(self, given: Reply, absent: Reply) -> ReplyFunction:
        """Send one reply to a command with an argument, another to a command without."""
        to_argument, to_none = self.encode(given), self.encode(absent)
        return lambda said, origin, argument: to_argument if argument else to_none

    def hello(self, absent: Reply, keywords: tuple[str, ...] = ()) -> ReplyFunction:
        """Greet the caller by name, and list the keywords (HELO, EHLO)."""
        before, between, after = self._parts(replies.R250_HELLO)
        missing = self.encode(absent)
        if keywords:
            before = before.replace(b"250 ", b"250-")
            after += encode_lines(250, list(keywords))

        def reply_to(said: Said, origin: str, argument: bytes) -> bytes:
            if not argument:
                return missing
            said.helo = name = echo(argument.split(None, 1)[0])
            return before + name + between + ip_of(origin).encode() + after

        return reply_to

    def sender(self, reply: Reply, *, refuses: bool = False) -> ReplyFunction:
        """Send a reply that echoes the reverse-path (MAIL). With `refuses`, it is the refusal of the stage."""
        # It is counted here, because `refusing` would add 2 % to a session's instructions.
        before, after = self._parts(reply)
        missing = self.encode(replies.R501_SENDER)

        def reply_to(said: Said, origin: str, argument: bytes) -> bytes:
            path = path_in(argument, b"FROM:<", _FROM)
            if path is None:
                return missing
            said.mail_from = path = echo(path)
            said.is_refused = refuses
            said.mails_refused += refuses
            return before + path + after

        return reply_to

    def recipient(self, reply: Reply) -> ReplyFunction:
        """Send a reply that echoes the forward-path or the caller's address (RCPT)."""
        before, after = self._parts(reply)
        missing = self.encode(replies.R501_RECIPIENT)
        by_ip = "{ip}" in reply.text

        def reply_to(said: Said, origin: str, argument: bytes) -> bytes:
            path = path_in(argument, b"TO:<", _TO)
            if path is None:
                return missing
            return before + (ip_of(origin).encode() if by_ip else echo(path)) + after

        return reply_to

    def start_tls(self, has_room: HasRoom) -> ReplyFunction:
        """Ask for the handshake if one more is possible now (STARTTLS)."""
        go_ahead, no_room = self.encode(replies.R220_TLS), self.encode(replies.R454_NO_TLS)
        no_parameters = self.encode(replies.R501_STARTTLS)

        def reply_to(said: Said, origin: str, argument: bytes) -> bytes:
            if argument:
                return no_parameters
            return go_ahead if has_room() else no_room

        return reply_to

    def unrecognized(self) -> ReplyFunction:
        """Refuse an unknown verb, and echo it."""
        before, after = self._parts(replies.R500_UNRECOGNIZED)
        return lambda said, origin, verb: before + echo(verb) + after

    def _parts(self, reply: Reply) -> list[bytes]:
        """Return what stands before, between and after the placeholders. To join it costs half of a `%`."""
        return _PLACEHOLDER.split(self.encode(reply))
