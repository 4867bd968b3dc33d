"""The dialogue: which command is answered how, and where it leads. All that decides a transition is here.

A `Dialogue` is the table of a stage of refusal, its replies made ready, and is shared by all sessions begun under the
same settings.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from smtppseudo.events import CloseReason
from smtppseudo.settings import STAGES, Settings
from smtppseudo.smtp import replies
from smtppseudo.smtp.pace import AT_ONCE, Pace
from smtppseudo.smtp.replies import Reply, echo, encode_lines

if TYPE_CHECKING:
    from smtppseudo.smtp.session import Said, SmtpSession


class SmtpState(Enum):
    """Where a session stands (RFC 5321 section 4.1.4)."""

    GREETED = "no HELO or EHLO yet, and none is demanded"
    READY = "no mail transaction under way"
    MAIL = "a sender is given"
    RCPT = "a recipient is given"
    DATA = "a message is arriving"
    STARTTLS = "the peer may begin the TLS handshake; nothing in clear is heard any more"
    CLOSING = "the last reply is said; what arrives is ignored"


Answer: TypeAlias = Callable[["SmtpSession", "Said", bytes], bytes]
HasRoom: TypeAlias = Callable[[], bool]  # whether TLS can be had at the moment


class Rule(NamedTuple):
    """How a verb is answered.

    `answer` takes the session, what was said, and the argument (of an unknown verb: the verb itself, as sent),
    and gives the reply's octets. Where `states` is given, the verb is in sequence only there, and is answered
    `otherwise` elsewhere. A reply of 2yz or 3yz leads to the state `then`.
    """

    answer: Answer
    states: tuple[SmtpState, ...] | None = None
    otherwise: bytes = b""
    then: SmtpState | None = None


# RFC 5321 section 4.1.2; a quoted local part may hold spaces and ">". Each alternative begins differently,
# so the match takes linear time whatever a peer sends.
_PATH: Final = rb'\s*(<(?:"(?:[^"\\]|\\.)*"|[^">])*>|\S+)'
_FROM: Final = re.compile(rb"(?i:FROM):" + _PATH)
_TO: Final = re.compile(rb"(?i:TO):" + _PATH)

_NOT_IMPLEMENTED: Final = (b"AUTH", b"ETRN", b"EXPN")
_VERBS: Final = (b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"HELP", b"VRFY", b"STARTTLS", *_NOT_IMPLEMENTED)


class Dialogue:
    """The prepared replies, rules and limits of one set of settings.

    `unknown` is the rule for every verb that is not in `rules`. `farewells` holds the last reply for each
    reason that ends a session from our side. Times are in seconds, `max_message_octets` is 0 for no limit.
    `tls_has_room` is None where there is no TLS; `under_tls` is the dialogue for after the handshake, `at_once` the
    same dialogue without its pace.
    """

    __slots__ = (
        "_greeting",
        "at_once",
        "farewells",
        "greets_by_ip",
        "idle_timeout_s",
        "line_too_long",
        "max_message_octets",
        "message_answer",
        "message_too_big",
        "pace",
        "rules",
        "session_timeout_s",
        "too_many_connections",
        "under_tls",
        "unknown",
    )

    def __init__(self, settings: Settings, tls_has_room: HasRoom | None = None, *, is_under_tls: bool = False) -> None:
        prepare = _Prepare(settings)
        self.under_tls = None if tls_has_room is None else Dialogue(settings, is_under_tls=True)
        tls = _tls_rule(prepare, tls_has_room, is_under_tls=is_under_tls)
        self.rules, self.unknown = _rules_of_stage(settings, prepare, tls)
        self._greeting = _greeting_template(settings)
        self.greets_by_ip = "{ip}" in self._greeting
        self.farewells = {reason: prepare.fixed(reply) for reason, reply in _FAREWELLS.items()}
        self.too_many_connections = prepare.fixed(replies.R421_TOO_MANY_CONNECTIONS)
        self.line_too_long = prepare.fixed(replies.R500_TOO_LONG)
        self.message_too_big = prepare.fixed(replies.R552_TOO_BIG)
        self.message_answer = prepare.fixed(replies.R250_BIT_BUCKET if settings.accept_mail else replies.R554_REFUSED)
        self.max_message_octets = _announced_size(settings.ehlo_keywords)
        self.idle_timeout_s = settings.idle_timeout_s
        self.session_timeout_s = settings.session_timeout_s
        self.pace = Pace.of(settings)
        self.at_once = self
        if self.pace != AT_ONCE:
            hasty = settings._replace(**AT_ONCE._asdict())
            self.at_once = Dialogue(hasty, tls_has_room, is_under_tls=is_under_tls)

    def greeting(self, ip: str, date: str) -> bytes:
        """Return the first reply. The same for every peer in the same second, unless `greets_by_ip`."""
        code, _, text = self._greeting.partition(" ")
        return encode_lines(int(code), [text.replace("{date}", date).replace("{ip}", ip)])


_FAREWELLS: Final[dict[CloseReason, Reply]] = {
    "errors": replies.R421_TOO_MANY_ERRORS,
    "idle": replies.R421_IDLE,
    "session": replies.R421_SESSION,
    "quiet": replies.R421_IDLE,
    "evicted": replies.R421_EVICTED,
    "stopped": replies.R421_CLOSING,
    "disconnected": replies.R421_CLOSING,
    "shutdown": replies.R421_CLOSING,
    "fault": replies.R421_FAULT,
}


def _greeting_template(settings: Settings) -> str:
    if settings.reject_at == "connect" and not settings.accept_mail:
        code, text = replies.R521_NO_MAIL.code, replies.R521_NO_MAIL.text[0]
    else:
        code, text = 220, settings.greeting
        if not re.search(r"\{(hostname|date|ip)\}", text):
            text += "{date}"
    return f"{code} " + text.replace("{hostname}", settings.hostname)


def _announced_size(keywords: tuple[str, ...]) -> int:
    for keyword in keywords:
        name, _, octets = keyword.partition(" ")
        if name.upper() == "SIZE" and octets.isdecimal():
            return int(octets)
    return 0


class _Prepare:
    """Turns replies into answers with their octets made ready."""

    __slots__ = ("_enhanced", "_hostname")

    def __init__(self, settings: Settings) -> None:
        self._hostname = settings.hostname
        self._enhanced = settings.enhanced_status_codes

    def template(self, reply: Reply) -> bytes:
        return reply.encode(self._hostname, enhanced=self._enhanced)

    def fixed(self, reply: Reply) -> bytes:
        return self.template(reply) % ()

    def always(self, reply: Reply) -> Answer:
        octets = self.fixed(reply)
        return lambda session, said, argument: octets

    def with_argument(self, reply: Reply, bare: Reply) -> Answer:
        octets, missing = self.fixed(reply), self.fixed(bare)
        return lambda session, said, argument: octets if argument else missing

    def without_argument(self, reply: Reply) -> Answer:
        # RFC 5321 section 4.1.1: servers SHOULD reject arguments of commands that take none.
        octets, wrong = self.fixed(reply), self.fixed(replies.R501_NO_ARGUMENT)
        return lambda session, said, argument: wrong if argument else octets

    def hello(self, bare: Reply, keywords: tuple[str, ...] = ()) -> Answer:
        template, missing = self.template(replies.R250_HELLO), self.fixed(bare)
        if keywords:
            template = b"250-" + template[4:] + encode_lines(250, list(keywords)).replace(b"%", b"%%")

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            if not argument:
                return missing
            said.helo = name = echo(argument.split(None, 1)[0])
            return template % (name, session.ip.encode())

        return answer

    def sender(self, reply: Reply) -> Answer:
        template, missing = self.template(reply), self.fixed(replies.R501_SENDER)

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            match = _FROM.match(argument)
            if match is None:
                return missing
            said.mail_from = path = echo(match[1])
            return template % path

        return answer

    def recipient(self, reply: Reply) -> Answer:
        template, missing = self.template(reply), self.fixed(replies.R501_RECIPIENT)
        by_ip = "{ip}" in reply.text[0]

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            match = _TO.match(argument)
            if match is None:
                return missing
            return template % (session.ip.encode() if by_ip else echo(match[1]))

        return answer

    def message(self) -> Answer:
        go_ahead, wrong = self.fixed(replies.R354_ENTER_MAIL), self.fixed(replies.R501_NO_ARGUMENT)

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            if argument:
                return wrong  # as in `without_argument`
            session.expect_message()
            return go_ahead

        return answer

    def start_tls(self, has_room: HasRoom) -> Answer:
        go_ahead, no_room = self.fixed(replies.R220_TLS), self.fixed(replies.R454_NO_TLS)
        no_parameters = self.fixed(replies.R501_STARTTLS)

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            if argument:
                return no_parameters
            if not has_room():
                return no_room
            session.close_reason = "tls"  # unless the handshake comes about
            return go_ahead

        return answer

    def quit(self) -> Answer:
        goodbye = self.fixed(replies.R221_QUIT)

        def answer(session: "SmtpSession", said: "Said", argument: bytes) -> bytes:
            session.close_reason = "quit"
            return goodbye

        return answer


def _tls_rule(prepare: _Prepare, has_room: HasRoom | None, *, is_under_tls: bool) -> Rule:
    if is_under_tls:
        return Rule(prepare.always(replies.R503_TLS_ACTIVE))
    if has_room is None:
        return Rule(prepare.always(replies.R502_NOT_IMPLEMENTED))
    return Rule(prepare.start_tls(has_room), then=SmtpState.STARTTLS)


def _rules_of_stage(settings: Settings, prepare: _Prepare, tls: Rule) -> tuple[dict[bytes, Rule], Rule]:
    """Return the rule of every verb, and that of all other verbs, for a stage of refusal or accept mode.

    `tls` is the rule of STARTTLS; it is announced where that leads somewhere.
    """
    stage = len(STAGES) if settings.accept_mail else STAGES.index(settings.reject_at)
    farewell = Rule(prepare.quit(), then=SmtpState.CLOSING)
    if stage <= STAGES.index("helo"):
        reply = replies.R521_NO_MAIL if settings.reject_at == "connect" else replies.R550_NO_MAIL
        # The answer to HELO and EHLO never holds an enhanced status code (RFC 2034 section 4).
        hello, other = Rule(prepare.always(reply._replace(enhanced=""))), Rule(prepare.always(reply))
        rules = {**dict.fromkeys(_VERBS, other), b"HELO": hello, b"EHLO": hello, b"QUIT": farewell}
        return rules, Rule(prepare.always(reply))
    rules = _accepting(settings, prepare, announces_tls=tls.then is not None)
    rules[b"QUIT"], rules[b"STARTTLS"] = farewell, tls
    # Beyond the stage of refusal the order of commands no longer matters: the answer is no.
    if stage <= STAGES.index("mail"):
        rules[b"MAIL"] = Rule(prepare.sender(replies.R553_SENDER))
    if stage <= STAGES.index("rcpt"):
        rules[b"RCPT"] = Rule(prepare.recipient(replies.R550_NO_USERS))
    if stage <= STAGES.index("data"):
        rules[b"DATA"] = Rule(prepare.always(replies.R554_NO_RECIPIENTS))
    return rules, Rule(_unrecognized(prepare))


def _accepting(settings: Settings, prepare: _Prepare, *, announces_tls: bool) -> dict[bytes, Rule]:
    ready, mail, rcpt = SmtpState.READY, SmtpState.MAIL, SmtpState.RCPT
    sender_first = prepare.fixed(replies.R503_SENDER_FIRST)
    keywords = settings.ehlo_keywords
    if settings.enhanced_status_codes and "ENHANCEDSTATUSCODES" not in map(str.upper, keywords):
        keywords = (*keywords, "ENHANCEDSTATUSCODES")
    # Announced where it can be had, and only there, whatever the list says (RFC 3207 section 4.2).
    keywords = tuple(keyword for keyword in keywords if keyword.upper() != "STARTTLS")
    if announces_tls:
        keywords = (*keywords, "STARTTLS")
    rules = {
        b"HELO": Rule(prepare.hello(replies.R501_HELO), then=ready),
        b"EHLO": Rule(prepare.hello(replies.R501_EHLO, keywords), then=ready),
        b"MAIL": Rule(
            prepare.sender(replies.R250_SENDER),
            states=(SmtpState.GREETED, ready),
            otherwise=prepare.fixed(replies.R503_SENDER_GIVEN),
            then=mail,
        ),
        b"RCPT": Rule(
            prepare.recipient(replies.R250_RECIPIENT), states=(mail, rcpt), otherwise=sender_first, then=rcpt
        ),
        b"DATA": Rule(
            prepare.message(),
            states=(rcpt,),
            otherwise=prepare.fixed(replies.R554_NO_RECIPIENTS),
            then=SmtpState.DATA,
        ),
        b"RSET": Rule(prepare.without_argument(replies.R250_RESET), then=ready),
        b"NOOP": Rule(prepare.always(replies.R250_OK)),
        b"HELP": Rule(prepare.always(replies.R214_HELP)),
        b"VRFY": Rule(prepare.with_argument(replies.R252_CANNOT_VERIFY, replies.R501_VRFY)),
    }
    rules |= dict.fromkeys(_NOT_IMPLEMENTED, Rule(prepare.always(replies.R502_NOT_IMPLEMENTED)))
    return rules


def _unrecognized(prepare: _Prepare) -> Answer:
    template = prepare.template(replies.R500_UNRECOGNIZED)
    return lambda session, said, verb: template % echo(verb)
