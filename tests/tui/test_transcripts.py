"""Transcripts of sessions, and their limits."""

from smtppseudo.tui.transcripts import EVENTS_PER_SESSION, SessionKey, Transcripts


def key(session: int) -> SessionKey:
    """Return the key of a session whose events name no slot and no address."""
    return SessionKey(0, session, "", 0)


def test_transcripts_are_bounded() -> None:
    transcripts = Transcripts(events_max=1_000)
    record = {"event": "command", "session": 1, "data": "NOOP", "code": 250, "reply": "OK"}
    for _ in range(EVENTS_PER_SESSION + 5):
        transcripts.follow(record)
    first = transcripts.get(key(1))
    assert first is not None
    assert (len(first.events), first.cut) == (EVENTS_PER_SESSION, 5)
    for session in range(2, 900):
        transcripts.follow(record | {"session": session})
    assert transcripts.get(key(1)) is None
    assert transcripts.get(key(899)) is not None


def test_a_gap_is_marked_in_each_transcript_that_goes_on() -> None:
    transcripts = Transcripts()
    transcripts.follow({"event": "command", "session": 1, "data": "NOOP", "code": 250, "reply": "OK"})
    transcripts.note_gap()
    transcripts.follow({"event": "closed", "session": 1, "reason": "quit"})
    found = transcripts.get(key(1))
    assert found is not None
    assert not found.is_whole
    assert "are missing here" in [line.text for line in found.lines()][2]


def test_a_transcript_says_what_the_events_do_not_hold() -> None:
    transcripts = Transcripts()
    for event in (
        {"event": "connected", "ip": ""},
        {"event": "command", "data": "ehlo me", "code": 250, "reply": "Hello me", "more_lines": 5},
        {"event": "command", "data": "ehlo me", "code": 250, "reply": "Hello me", "more_lines": 1},
        {"event": "command", "data": "ehlo me", "code": 250, "reply": "Hello me"},
        {"event": "message", "bytes": 70},
        {"event": "closed", "reason": "peer", "duration_ms": 1_000},
    ):
        transcripts.follow({"session": 1, **event})
    found = transcripts.get(key(1))
    assert found is not None
    assert [f"{line.side} {line.text}" for line in found.lines()] == [
        "- connected from  port 0",
        "- (the 220 greeting, one line, is not logged)",
        "C ehlo me",
        "S 250-Hello me … and 5 more lines",
        "C ehlo me",
        "S 250-Hello me … and 1 more line",
        "C ehlo me",
        "S 250 Hello me",
        "C (a message of 70 bytes, thrown away)",
        "- (the reply to it, one line, is not logged)",
        "- caller hung up after 1.0 s, 0 bytes in, 0 out",
    ]
