"""The dialogue: the reply to each command, and the state that it leads to. Every transition by a command is here."""

import re
from enum import Enum
from typing import Final, NamedTuple

from smtppseudo.config.settings import STAGES, Settings
from smtppseudo.events import CloseReason
from smtppseudo.smtp import replies
from smtppseudo.smtp.replies import Reply, encode_lines
from smtppseudo.smtp.replying import HasRoom, ReplyFunction, ReplyTemplates


class Pace(NamedTuple):
    """The delay in seconds before a reply begins, and its speed in bytes per second; 0 = off, for each."""

    greet_delay_s: float
    reply_delay_s: float
    stutter_bytes_per_s: int


AT_ONCE: Final = Pace(0, 0, 0)


class SmtpState(Enum):
    """The state of a session (RFC 5321 section 4.1.4)."""

    GREETED = "no HELO or EHLO yet; none is required"
    READY = "no mail transaction is open"
    MAIL = "a sender is given"
    RCPT = "a recipient is given"
    DATA = "a message is arriving"
    STARTTLS = "the TLS handshake may begin; nothing in clear text is accepted any more"
    CLOSING = "the last reply was given; further input is ignored"


class Rule:
    """How the server replies to a verb.

    With `states`, the verb is in sequence only there; elsewhere the reply is `out_of_sequence`. A reply of 2yz or 3yz
    leads to the state `then`, and sets the session's `close_reason` to that of the rule. With `may_redact`,
    `Said.redact` decides what is logged of the command. With `is_error`, the command counts as an error of the caller.
    """

    # Not a named tuple: every command reads some of these, and Python 3.11 reads slots faster.
    __slots__ = ("close_reason", "is_error", "may_redact", "out_of_sequence", "reply", "states", "then")

    def __init__(
        self,
        reply: ReplyFunction,
        states: tuple[SmtpState, ...] | None = None,
        out_of_sequence: bytes = b"",
        then: SmtpState | None = None,
        close_reason: CloseReason | None = None,
    ) -> None:
        self.reply = reply
        self.states = states
        self.out_of_sequence = out_of_sequence
        self.then = then
        self.close_reason = close_reason
        self.may_redact = self.is_error = False


_NOT_IMPLEMENTED: Final = (b"AUTH", b"ETRN", b"EXPN")
_VERBS: Final = (b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"HELP", b"VRFY", b"STARTTLS", *_NOT_IMPLEMENTED)


class Dialogue:
    """The encoded replies, the rules and the limits of one set of settings; all sessions begun under these share it.

    `unknown` is the rule for every verb that is not in `rules`; `not_spoken` is that for BDAT and HTTP, which get 500
    at every stage. `farewells` holds the last reply for each reason for which the server ends a session. Times are in
    seconds; `max_message_bytes` is 0 for no limit. `stage` is where mail is refused; empty if nowhere. `tls_has_room`
    is None without TLS. `under_tls` is the dialogue after the handshake; `at_once` the same dialogue without its pace.
    """

    def __init__(self, settings: Settings, tls_has_room: HasRoom | None = None, *, is_under_tls: bool = False) -> None:
        templates = ReplyTemplates(settings)
        self.under_tls = None if tls_has_room is None else Dialogue(settings, is_under_tls=True)
        tls = _tls_rule(templates, tls_has_room, is_under_tls=is_under_tls)
        self.rules, self.unknown = _rules_of_stage(settings, templates, tls)
        self.not_spoken = Rule(templates.unrecognized())
        self.unknown.is_error = self.not_spoken.is_error = True
        for rule in (self.unknown, self.not_spoken, self.rules[b"AUTH"], self.rules[b"DATA"]):
            rule.may_redact = True
        self._greeting = _greeting_template(settings)
        self.greets_by_ip = "{ip}" in self._greeting
        self.greets_with_refusal = not self._greeting.startswith("220")
        self.farewells = {reason: templates.encode(reply) for reason, reply in _FAREWELLS.items()}
        self.too_many_connections = templates.encode(replies.R421_TOO_MANY_CONNECTIONS)
        self.line_too_long = templates.encode(replies.R500_TOO_LONG)
        self.message_too_big = templates.encode(replies.R552_TOO_BIG)
        accepted, refused = templates.always(replies.R250_BIT_BUCKET), templates.refusing(replies.R554_REFUSED)
        self.message_reply = accepted if settings.accept_mail else refused
        self.stage = "" if settings.accept_mail else settings.reject_at
        size = re.search(r"(?im)^SIZE (\d+)$", "\n".join(settings.ehlo_keywords))
        self.max_message_bytes = int(size[1]) if size else 0
        self.idle_timeout_s = settings.idle_timeout_s
        self.session_timeout_s = settings.session_timeout_s
        self.pace = Pace(settings.greet_delay_s, settings.reply_delay_s, settings.stutter_bytes_per_s)
        unpaced = settings._replace(**AT_ONCE._asdict())
        self.at_once = self if unpaced == settings else Dialogue(unpaced, tls_has_room, is_under_tls=is_under_tls)

    def greeting(self, ip: str, date: str) -> bytes:
        """Return the first reply. It is the same for all callers in one second, unless `greets_by_ip`."""
        code, _, text = self._greeting.partition(" ")
        if not self.greets_with_refusal:
            text = text.replace("{date}", date)
        return encode_lines(int(code), [text.replace("{ip}", ip)])


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
        code, text = replies.R521_NO_MAIL.code, settings.refusal or replies.R521_NO_MAIL.text
    else:
        code, text = 220, settings.greeting
        if not re.search(r"\{(hostname|date|ip)\}", text):
            text += "{date}"
    return f"{code} " + text.replace("{hostname}", settings.hostname)


def _tls_rule(templates: ReplyTemplates, has_room: HasRoom | None, *, is_under_tls: bool) -> Rule:
    if is_under_tls:
        return Rule(templates.always(replies.R503_TLS_ACTIVE))
    if has_room is None:
        return Rule(templates.always(replies.R502_NOT_IMPLEMENTED))
    # "tls" stays the reason unless the handshake succeeds.
    return Rule(templates.start_tls(has_room), then=SmtpState.STARTTLS, close_reason="tls")


def _rules_of_stage(settings: Settings, templates: ReplyTemplates, tls: Rule) -> tuple[dict[bytes, Rule], Rule]:
    """Return the rules by verb, and that for unknown verbs. `tls` is announced only if it can lead to a handshake."""
    stage = len(STAGES) if settings.accept_mail else STAGES.index(settings.reject_at)
    farewell = Rule(templates.always(replies.R221_QUIT), then=SmtpState.CLOSING, close_reason="quit")
    if stage <= STAGES.index("helo"):
        reply = replies.R521_NO_MAIL if settings.reject_at == "connect" else replies.R550_NO_MAIL
        # The reply to HELO and EHLO never holds an enhanced status code (RFC 2034 section 4).
        hello, refuse = Rule(templates.refusing(reply._replace(enhanced=""))), templates.refusing(reply)
        others = {verb: Rule(refuse) for verb in _VERBS}
        return {**others, b"HELO": hello, b"EHLO": hello, b"QUIT": farewell}, Rule(refuse)
    rules = _accepting_rules(templates, _keywords(settings, announces_tls=tls.then is not None))
    rules[b"QUIT"], rules[b"STARTTLS"] = farewell, tls
    # From the stage of refusal on, the order of commands no longer matters: every reply is a refusal.
    if stage <= STAGES.index("mail"):
        refused_sender = templates.sender(replies.R553_SENDER, refuses=True)
        rules[b"MAIL"] = Rule(templates.with_operators_text(replies.R553_SENDER, refused_sender))
    refused_recipient, no_recipients = replies.R550_NO_USERS, replies.R554_NO_RECIPIENTS
    for name, verb, reply, usual in (
        ("rcpt", b"RCPT", refused_recipient, templates.recipient(refused_recipient)),
        ("data", b"DATA", no_recipients, templates.always(no_recipients)),
    ):
        if stage <= STAGES.index(name):
            rules[verb] = Rule(templates.refusing(reply, usual) if settings.reject_at == name else usual)
    return rules, Rule(templates.unrecognized())


def _accepting_rules(templates: ReplyTemplates, keywords: tuple[str, ...]) -> dict[bytes, Rule]:
    ready, mail, rcpt = SmtpState.READY, SmtpState.MAIL, SmtpState.RCPT
    no_argument = replies.R501_NO_ARGUMENT  # RFC 5321 section 4.1.1: servers SHOULD reject an argument here
    not_implemented = templates.always(replies.R502_NOT_IMPLEMENTED)
    return {
        b"HELO": Rule(templates.hello(replies.R501_HELO), then=ready),
        b"EHLO": Rule(templates.hello(replies.R501_EHLO, keywords), then=ready),
        b"MAIL": Rule(
            templates.sender(replies.R250_SENDER),
            states=(SmtpState.GREETED, ready),
            out_of_sequence=templates.encode(replies.R503_SENDER_GIVEN),
            then=mail,
        ),
        b"RCPT": Rule(
            templates.recipient(replies.R250_RECIPIENT),
            states=(mail, rcpt),
            out_of_sequence=templates.encode(replies.R503_SENDER_FIRST),
            then=rcpt,
        ),
        b"DATA": Rule(
            templates.by_argument(no_argument, absent=replies.R354_ENTER_MAIL),
            states=(rcpt,),
            out_of_sequence=templates.encode(replies.R554_NO_RECIPIENTS),
            then=SmtpState.DATA,
        ),
        b"RSET": Rule(templates.by_argument(no_argument, absent=replies.R250_RESET), then=ready),
        b"NOOP": Rule(templates.always(replies.R250_OK)),
        b"HELP": Rule(templates.always(replies.R214_HELP)),
        b"VRFY": Rule(templates.by_argument(replies.R252_CANNOT_VERIFY, absent=replies.R501_VRFY)),
        **{verb: Rule(not_implemented) for verb in _NOT_IMPLEMENTED},
    }


def _keywords(settings: Settings, *, announces_tls: bool) -> tuple[str, ...]:
    keywords = settings.ehlo_keywords
    if settings.enhanced_status_codes and "ENHANCEDSTATUSCODES" not in map(str.upper, keywords):
        keywords = (*keywords, "ENHANCEDSTATUSCODES")
    # STARTTLS is announced if and only if it is available, whatever the setting lists (RFC 3207 section 4.2).
    keywords = tuple(keyword for keyword in keywords if keyword.upper() != "STARTTLS")
    # It comes first, for probes that expect `250-STARTTLS`.
    return ("STARTTLS", *keywords) if announces_tls else keywords
