"""Transcripts of sessions, and their limits."""

from smtppseudo.tui.transcripts import EVENTS_PER_SESSION, Transcripts


def test_transcripts_are_bounded() -> None:
    transcripts = Transcripts(events_max=1_000)
    record = {"event": "command", "session": 1, "data": "NOOP", "code": 250, "reply": "OK"}
    for _ in range(EVENTS_PER_SESSION + 5):
        transcripts.follow(record)
    first = transcripts.get(1)
    assert first is not None
    assert (len(first), first.cut) == (EVENTS_PER_SESSION, 5)
    for session in range(2, 900):
        transcripts.follow(record | {"session": session})
    assert transcripts.get(1) is None
    assert transcripts.get(899) is not None


def test_a_gap_is_marked_in_each_transcript_that_goes_on() -> None:
    transcripts = Transcripts()
    transcripts.follow({"event": "command", "session": 1, "data": "NOOP", "code": 250, "reply": "OK"})
    transcripts.note_gap()
    transcripts.follow({"event": "closed", "session": 1, "reason": "quit"})
    found = transcripts.get(1)
    assert found is not None
    assert not found.is_whole
    assert "are missing here" in [line.text for line in found.lines()][2]
