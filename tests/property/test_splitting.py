"""The fast ways to split a command agree with the general ones: into verb and argument, and for its path."""

import re
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtppseudo.config.settings import Settings
from smtppseudo.events import Command, escape, origin_of
from smtppseudo.smtp.dialogue import Dialogue, SmtpState
from smtppseudo.smtp.lines import LINE_BYTES
from smtppseudo.smtp.replying import _FROM, _TO, path_in
from smtppseudo.smtp.said import Said
from smtppseudo.smtp.session import ERRORS_MAX, SmtpSession, split_command
from tests.property.test_smtp_session import ARGUMENTS, GREETING, START, VERBS, dialogues

IP: Final = "192.0.2.1"
BLANKS: Final = [b" ", b" ", b" ", b" ", b"", b"  ", b"\t", b" \t", b"\t ", b"\r", b" \r", b"\x0b", b" \x0c"]
NO_BLANKS: Final = [b"\0", b" \0", b"\x1c", b" \x1f", b"\x85", b" \xa0"]

separators = st.sampled_from([*BLANKS, *NO_BLANKS])
verbs = st.sampled_from([*VERBS, b"QUIT"]).flatmap(lambda verb: st.sampled_from([verb, verb, verb.title()]))
others = st.sampled_from([b"", b"xyzzy", b"NOOPS", b"Auth", b"\xff"])
TARGETS: Final = [b"/ HTTP/1.1", b"* HTTP/1.1", b"http://x HTTP/1.1", b"HTTP://x HTTP/1.1"]  # of HTTP
arguments = st.sampled_from([b"", *(argument.strip() for argument in ARGUMENTS), *TARGETS]) | st.binary(max_size=12)
commands = st.tuples(st.sampled_from([b"", b"", b" ", b"\t"]), verbs | others, separators, arguments, separators)
lines = (
    (commands.map(b"".join) | st.binary(max_size=12))
    .map(lambda line: line.replace(b"\n", b""))
    .filter(lambda line: len(line) < LINE_BYTES and not line.startswith(b"\x16\x03"))  # TLS ends the session
)


@given(lines)
@example(b"")
@example(b" \t\r")
@example(b"NOOP ")
@example(b"\x0bNOOP\x0cx \x0c")
@example(b"NOOP\x1cx\xa0y")
def test_white_space_of_any_kind_separates_verb_and_argument(line: bytes) -> None:
    match = re.fullmatch(rb"[\t-\r ]*([^\t-\r ]*)[\t-\r ]*((?s:.*))", line)
    assert match is not None
    assert split_command(line) == match.groups()


def begin(dialogue: Dialogue) -> SmtpSession:
    session = SmtpSession(dialogue, 7, 3, IP, 50_000, GREETING, START)
    session.data_to_send(START)
    return session


def say(session: SmtpSession, line: bytes) -> tuple[Command, bytes]:
    """Send a line; return its event and the reply. A message is empty."""
    (event,) = session.receive(line + b"\r\n", START)
    reply = session.data_to_send(START)
    if session.state is SmtpState.DATA:
        session.receive(b".\r\n", START)
        session.data_to_send(START)
    assert isinstance(event, Command)
    return event, reply


def by_the_table(dialogue: Dialogue, state: SmtpState, said: Said, line: bytes) -> bytes:
    """Return the reply to a line: split with `split_command`, looked up in the table of rules."""
    verb, argument = split_command(line)
    origin = origin_of(3, 7, IP, 50_000)
    rule = dialogue.not_spoken if verb.upper() == b"BDAT" else dialogue.rules.get(verb.upper())
    if rule is dialogue.not_spoken:
        return rule.reply(said, origin, verb)
    if rule is None:
        return dialogue.unknown.reply(said, origin, verb)
    if rule.states is not None and state not in rule.states:
        return rule.out_of_sequence
    return rule.reply(said, origin, argument)


@settings(max_examples=400)
@given(dialogues, st.lists(lines, min_size=1, max_size=ERRORS_MAX - 1))
def test_each_line_is_replied_to_by_the_table(dialogue: Dialogue, stream: list[bytes]) -> None:
    session, said = begin(dialogue), Said()
    may_redact = re.search(rb"AUTH|DATA|BDAT", b" ".join(stream), re.IGNORECASE) is not None
    for line in stream:
        if session.close_reason is not None:
            break
        expected = by_the_table(dialogue, session.state, said, line)
        event, reply = say(session, line)
        if str(session.close_reason) == "http":  # OPTIONS * and the like, which no table has
            break
        assert reply == expected
        first_line, *more_lines = expected.splitlines()
        assert may_redact or event == Command(escape(line), escape(first_line), more_lines=len(more_lines))
        assert session.said is not None
        assert may_redact or (session.said.helo, session.said.mail_from) == (said.helo, said.mail_from)


@settings(max_examples=400)
@given(dialogues, st.lists(lines, min_size=1, max_size=ERRORS_MAX + 5))
@example(Dialogue(Settings(hostname="h")), [b"MAIL HTTP://x HTTP/1.1"])
def test_a_space_before_the_verb_changes_only_the_data(dialogue: Dialogue, stream: list[bytes]) -> None:
    """No verb before the first space: such a line is always split by `split_command`."""
    fast, slow = begin(dialogue), begin(dialogue)
    for line in stream:
        if fast.close_reason is not None:
            break
        (event, reply), (slow_event, slow_reply) = say(fast, line), say(slow, b" " + line)
        assert reply == slow_reply
        data = event.data if event.data == "[redacted]" else " " + event.data
        assert event._replace(data=data) == slow_event
        assert (fast.state, fast.close_reason) == (slow.state, slow.close_reason)
        assert fast.said is not None
        assert slow.said is not None
        for name in ("commands", "errors", "follows_auth", "helo", "mail_from"):
            assert getattr(fast.said, name) == getattr(slow.said, name)


# Paths

PIECES: Final = [
    *(b"FROM:", b"from:", b"From:", b"TO:", b"tO:", b"FROM", b":", b"<", b"<", b">", b">", b'"', b"\\", b'\\"', b"\\>"),
    *(b" ", b"\t", b"\r", b"\n", b"\x0b", b"\0", b"\xff", b"a@b", b"@c,@d:", b"SIZE=9"),
]
KEYWORDS: Final = [(b"FROM:<", _FROM), (b"TO:<", _TO)]
pieces = st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join)
with_keyword = st.builds(
    lambda keyword, rest: keyword + rest,
    st.sampled_from([b"FROM:<", b"from:<", b"FrOm: <", b"FROM:\t<", b"TO:<", b"to:<", b"To: <"]),
    pieces | st.binary(max_size=12),
)


@pytest.mark.parametrize(("keyword", "grammar"), KEYWORDS, ids=["from", "to"])
@settings(max_examples=1_000)
@given(argument=with_keyword | pieces | st.binary(max_size=30))
@example(argument=b"FROM:<>")
@example(argument=b'FROM:<"a>b"@c>')
@example(argument=b'FROM:<a>"')
@example(argument=b"FROM:<a\r\0\\>b> x")
@example(argument=b"from:<a")
@example(argument=b"TO:<<a>>")
def test_a_path_is_that_of_the_grammar(keyword: bytes, grammar: re.Pattern[bytes], argument: bytes) -> None:
    match = grammar.match(argument)
    assert path_in(argument, keyword, grammar) == (match and match[1])
