"""Hits in the logs: at most one for each session."""

from smtppseudo.blocklist.evidence import HitFinder
from smtppseudo.blocklist.hits import Hit, explain, hits_in
from smtppseudo.blocklist.policy import Policy
from smtppseudo.events import Closed, Command, Connected, Error, Event, Online, TurnedAway
from smtppseudo.logread.scan import scan
from tests.records import Stamped, render_json, render_text

MAIL = Command("MAIL FROM:<a@b>", "553 no")
CLOSED = Closed("quit", 1, 2, 3, 4)
A, B = ("20.1.1.1", 40_000), ("2a01:4f8:1:2::25", 50_000)
KINDS = frozenset({"mail", "pregreet", "errors"})


def record(second: int, peer: tuple[str, int], session: int, event: Event) -> Stamped:
    return Stamped(0, f"1970-01-01T00:00:{second:02}.999Z", 1, session, *peer, event)


def hits(*records: Stamped) -> list[Hit]:
    """Return the hits, after asserting that both formats yield the same."""
    found = []
    for render in (render_text, render_json):
        rows, damaged = scan("".join(render(records)).encode())
        assert damaged == 0
        found.append(list(hits_in(rows, HitFinder(KINDS))))
    assert found[0] == found[1]
    return found[0]


def test_session_is_one_hit_of_its_source() -> None:
    assert hits(
        record(1, B, 7, Connected(25)),
        record(2, B, 7, Command("EHLO x", "250 x")),
        record(3, B, 7, MAIL),
        record(4, B, 7, MAIL),
        record(5, B, 7, CLOSED),
    ) == [Hit("2a01:4f8:1:2::/64", 3, ("mail",))]


def test_equal_session_numbers_of_two_callers_are_two_sessions() -> None:
    assert hits(
        record(1, A, 1, Connected(25)),
        record(2, B, 1, Connected(25)),
        record(3, A, 1, MAIL),
        record(4, B, 1, MAIL),
        record(5, A, 1, CLOSED),
        record(6, B, 1, CLOSED),
    ) == [Hit("20.1.1.1", 3, ("mail",)), Hit("2a01:4f8:1:2::/64", 4, ("mail",))]


def test_server_name_distinguishes_sessions() -> None:
    """Both have the same number and the same caller with the same port."""
    lines = [render_text([record(second, A, 1, MAIL)], name)[0] for second, name in ((1, ""), (2, "mx1"), (3, "mx2"))]
    rows, _ = scan("".join([*lines, *lines]).encode())
    assert [hit.at for hit in hits_in(rows, HitFinder(KINDS))] == [1, 2, 3]


def test_restart_reuses_session_numbers() -> None:
    """A power cut ended the first run, so the log has no `closed` event of its session."""
    assert [hit.at for hit in hits(record(1, A, 1, MAIL), record(2, A, 1, Connected(25)), record(3, A, 1, MAIL))] == [
        1,
        3,
    ]


def test_pregreet_and_errors_are_evidence() -> None:
    found = hits(
        record(1, A, 1, Command("QUIT", "221 bye", eol_lf=True, pregreet=True)),
        record(2, B, 2, Closed("errors", 1, 2, 3, 4)),
        record(3, B, 3, Command("pregreet", "500 pregreet")),
    )
    assert [(hit.at, hit.evidence) for hit in found] == [(1, ("pregreet",)), (2, ("errors",))]


def test_event_without_a_session_is_no_hit() -> None:
    nobody = ("", 0)
    assert not hits(
        record(1, ("20.1.1.1", 0), 0, TurnedAway("client", 5)),
        record(2, nobody, 0, Error("errors MAIL FROM:<a@b>")),
        record(3, nobody, 0, Online("start")),
    )


def test_invalid_address_is_ignored() -> None:
    """Somebody edited the log."""
    rows, _ = scan(render_text([record(1, (":::", 1), 1, MAIL)])[0].encode())
    assert len(rows) == 1
    assert list(hits_in(rows, HitFinder(KINDS))) == []


def test_a_place_that_no_server_wrote_is_not_remembered() -> None:
    sessions = HitFinder(KINDS)
    said = "port=7 data=MAIL code=553 reply=x"
    for place in (f"ip=20.1.1.1 {said} server={'x' * 300}", f"ip={'1' * 300} {said}"):
        rows, damaged = scan(f"1970-01-01T00:00:01.000Z command slot=1 session=1 {place}\n".encode())
        assert (len(rows), damaged) == (1, 0)
        assert list(hits_in(rows, sessions)) == []
    assert sessions._counted_at == {}


def test_an_explanation_counts_all_hits_and_shows_the_latest() -> None:
    many = (Hit("20.1.1.1", at, ("mail",), "mx1") for at in (*range(2_000, 5_000), *range(2_000)))
    text, is_listed = explain("20.1.1.1", many, Policy(3, 60, 600), None, 5_000)
    first, count, *shown = text.splitlines()
    assert (first, is_listed) == ("20.1.1.1 is listed until 1970-01-01T01:33:19Z.", True)
    assert count.startswith("Hits in the logs: 5000; 3 within 0:01:00 list it, for 0:10:00 after the latest")
    assert shown == ["The latest 5:", *(f"  1970-01-01T01:23:1{second}Z mail (mx1)" for second in range(5, 10))]
