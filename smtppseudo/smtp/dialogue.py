"""The dialogue: which command is answered how, and where it leads. All that decides a transition is here.

A `Dialogue` is the table of a stage of refusal, its replies made ready, and is shared by all sessions begun under the
same settings.
"""

import re
from enum import Enum
from typing import Final, NamedTuple

from smtppseudo.config.settings import STAGES, Settings
from smtppseudo.events import CloseReason
from smtppseudo.smtp import replies
from smtppseudo.smtp.pace import AT_ONCE, Pace
from smtppseudo.smtp.replies import Reply, encode_lines
from smtppseudo.smtp.replying import Answer, Answers, HasRoom


class SmtpState(Enum):
    """Where a session stands (RFC 5321 section 4.1.4)."""

    GREETED = "no HELO or EHLO yet, and none is demanded"
    READY = "no mail transaction under way"
    MAIL = "a sender is given"
    RCPT = "a recipient is given"
    DATA = "a message is arriving"
    STARTTLS = "the peer may begin the TLS handshake; nothing in clear is heard any more"
    CLOSING = "the last reply is said; what arrives is ignored"


class Rule(NamedTuple):
    """How a verb is answered.

    Where `states` is given, the verb is in sequence only there, and is answered `otherwise` elsewhere. A reply of 2yz
    or 3yz leads to the state `then`.
    """

    answer: Answer
    states: tuple[SmtpState, ...] | None = None
    otherwise: bytes = b""
    then: SmtpState | None = None


_NOT_IMPLEMENTED: Final = (b"AUTH", b"ETRN", b"EXPN")
_VERBS: Final = (b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"HELP", b"VRFY", b"STARTTLS", *_NOT_IMPLEMENTED)


class Dialogue:
    """The prepared replies, rules and limits of one set of settings.

    `unknown` is the rule for every verb that is not in `rules`. `farewells` holds the last reply for each
    reason that ends a session from our side. Times are in seconds, `max_message_bytes` is 0 for no limit.
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
        "max_message_bytes",
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
        answers = Answers(settings)
        self.under_tls = None if tls_has_room is None else Dialogue(settings, is_under_tls=True)
        tls = _tls_rule(answers, tls_has_room, is_under_tls=is_under_tls)
        self.rules, self.unknown = _rules_of_stage(settings, answers, tls)
        self._greeting = _greeting_template(settings)
        self.greets_by_ip = "{ip}" in self._greeting
        self.farewells = {reason: answers.data(reply) for reason, reply in _FAREWELLS.items()}
        self.too_many_connections = answers.data(replies.R421_TOO_MANY_CONNECTIONS)
        self.line_too_long = answers.data(replies.R500_TOO_LONG)
        self.message_too_big = answers.data(replies.R552_TOO_BIG)
        self.message_answer = answers.data(replies.R250_BIT_BUCKET if settings.accept_mail else replies.R554_REFUSED)
        self.max_message_bytes = _announced_size(settings.ehlo_keywords)
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
        name, _, data = keyword.partition(" ")
        if name.upper() == "SIZE" and data.isdecimal():
            return int(data)
    return 0


def _tls_rule(answers: Answers, has_room: HasRoom | None, *, is_under_tls: bool) -> Rule:
    if is_under_tls:
        return Rule(answers.always(replies.R503_TLS_ACTIVE))
    if has_room is None:
        return Rule(answers.always(replies.R502_NOT_IMPLEMENTED))
    return Rule(answers.start_tls(has_room), then=SmtpState.STARTTLS)


def _rules_of_stage(settings: Settings, answers: Answers, tls: Rule) -> tuple[dict[bytes, Rule], Rule]:
    """Return the rule of every verb, and that of all other verbs, for a stage of refusal or accept mode.

    `tls` is the rule of STARTTLS; it is announced where that leads somewhere.
    """
    stage = len(STAGES) if settings.accept_mail else STAGES.index(settings.reject_at)
    farewell = Rule(answers.quit(), then=SmtpState.CLOSING)
    if stage <= STAGES.index("helo"):
        reply = replies.R521_NO_MAIL if settings.reject_at == "connect" else replies.R550_NO_MAIL
        # The answer to HELO and EHLO never holds an enhanced status code (RFC 2034 section 4).
        hello, other = Rule(answers.always(reply._replace(enhanced=""))), Rule(answers.always(reply))
        rules = {**dict.fromkeys(_VERBS, other), b"HELO": hello, b"EHLO": hello, b"QUIT": farewell}
        return rules, Rule(answers.always(reply))
    rules = _accepting(answers, _keywords(settings, announces_tls=tls.then is not None))
    rules[b"QUIT"], rules[b"STARTTLS"] = farewell, tls
    # Beyond the stage of refusal the order of commands no longer matters: the answer is no.
    if stage <= STAGES.index("mail"):
        rules[b"MAIL"] = Rule(answers.sender(replies.R553_SENDER))
    if stage <= STAGES.index("rcpt"):
        rules[b"RCPT"] = Rule(answers.recipient(replies.R550_NO_USERS))
    if stage <= STAGES.index("data"):
        rules[b"DATA"] = Rule(answers.always(replies.R554_NO_RECIPIENTS))
    return rules, Rule(answers.unrecognized())


def _accepting(answers: Answers, keywords: tuple[str, ...]) -> dict[bytes, Rule]:
    ready, mail, rcpt = SmtpState.READY, SmtpState.MAIL, SmtpState.RCPT
    sender_first = answers.data(replies.R503_SENDER_FIRST)
    rules = {
        b"HELO": Rule(answers.hello(replies.R501_HELO), then=ready),
        b"EHLO": Rule(answers.hello(replies.R501_EHLO, keywords), then=ready),
        b"MAIL": Rule(
            answers.sender(replies.R250_SENDER),
            states=(SmtpState.GREETED, ready),
            otherwise=answers.data(replies.R503_SENDER_GIVEN),
            then=mail,
        ),
        b"RCPT": Rule(
            answers.recipient(replies.R250_RECIPIENT), states=(mail, rcpt), otherwise=sender_first, then=rcpt
        ),
        b"DATA": Rule(
            answers.message(),
            states=(rcpt,),
            otherwise=answers.data(replies.R554_NO_RECIPIENTS),
            then=SmtpState.DATA,
        ),
        b"RSET": Rule(answers.without_argument(replies.R250_RESET), then=ready),
        b"NOOP": Rule(answers.always(replies.R250_OK)),
        b"HELP": Rule(answers.always(replies.R214_HELP)),
        b"VRFY": Rule(answers.with_argument(replies.R252_CANNOT_VERIFY, replies.R501_VRFY)),
    }
    rules |= dict.fromkeys(_NOT_IMPLEMENTED, Rule(answers.always(replies.R502_NOT_IMPLEMENTED)))
    return rules


def _keywords(settings: Settings, *, announces_tls: bool) -> tuple[str, ...]:
    keywords = settings.ehlo_keywords
    if settings.enhanced_status_codes and "ENHANCEDSTATUSCODES" not in map(str.upper, keywords):
        keywords = (*keywords, "ENHANCEDSTATUSCODES")
    # Announced where it can be had, and only there, whatever the list says (RFC 3207 section 4.2).
    keywords = tuple(keyword for keyword in keywords if keyword.upper() != "STARTTLS")
    if announces_tls:
        keywords = (*keywords, "STARTTLS")
    return keywords
