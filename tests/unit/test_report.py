"""Reports: the counts, and their text and JSON forms."""

import json
from collections.abc import Iterable
from datetime import UTC, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from smtppseudo.events import Closed, Command, Connected, Error, Event, TurnedAway
from smtppseudo.logread.scan import scan
from smtppseudo.report.report import HOURS, KINDS, Report, address_of, domain_of, network_of, split
from smtppseudo.report.tables import View, change, duration, render_json, render_text
from tests.records import Stamped
from tests.records import render_json as render_json_log
from tests.records import render_text as render_log


def session(ip: str, *commands: str, time: str = "2026-11-24T12:30:00.000Z", wasted_ms: int = 500) -> list[Stamped]:
    """Return the events of a session."""
    events: list[Event] = [Connected(25), *(Command(line, "250 OK") for line in commands)]
    events.append(Closed("quit", wasted_ms, 1, 1, len(commands)))
    return [Stamped(0, time, 1, 1, ip, 4000, event) for event in events]


def report_of(records: Iterable[Stamped], kinds: Iterable[str] = KINDS, **more: object) -> Report:
    """Return the report of events that went through a log."""
    report = Report(kinds, UTC, **more)  # type: ignore[arg-type]
    rows, damaged = scan("".join(render_log(records)).encode())
    assert not damaged
    report.add(rows[: len(rows) // 2])
    report.add(rows[len(rows) // 2 :])
    return report


def test_connections_by_server_and_by_its_address() -> None:
    report = Report(["server", "local"])
    for name, ip, count in (("mx1", "192.0.2.1", 1), ("mx1", "2001:db8::1", 1), ("mx2", "192.0.2.1", 2), ("", "", 1)):
        called = Stamped(0, "2026-11-24T12:30:00.000Z", 1, 1, "192.0.2.9", 4000, Connected(25, ip))
        for render in (render_log, render_json_log):
            rows, damaged = scan("".join(render([called] * count, name)).encode())
            assert not damaged
            report.add(rows)
    assert by(report, "server") == {"mx1": 4, "mx2": 4}
    assert by(report, "local") == {"192.0.2.1": 6, "2001:db8::1": 2}
    assert "\nServers\n" in render_text(report, View())
    assert "\nAddresses of servers\n" in render_text(report, View())


def by(report: Report, kind: str) -> dict[str, int]:
    """Return the counts of a kind."""
    return dict(report.tallies[kind].in_order())


def test_every_kind_is_counted() -> None:
    visitors = [
        *session("192.0.2.1", "EHLO Mail.Example", "MAIL FROM:<A@Example.ORG> SIZE=9", "RCPT TO:<B@X.Example>", "QUIT"),
        *session("192.0.2.9", "helo mail.example", "mail from: b@example.org", wasted_ms=10_000),
        *session("2001:db8:1:2::3", "MAIL FROM:<>", "\\x09 noop", time="2026-11-25T00:00:59.999Z", wasted_ms=600_000),
        Stamped(0, "2026-11-25T01:00:00.000Z", 0, 0, "192.0.2.1", 0, TurnedAway("client", 3)),
        Stamped(0, "2026-11-25T01:00:00.000Z", 0, 0, "", 0, TurnedAway("slots", 4)),
        Stamped(0, "2026-11-25T01:00:00.000Z", 0, 0, "", 0, Error("log lines were lost: disk full", 5)),
    ]
    report = report_of(visitors)
    assert (report.connected, report.commands, report.closed, report.wasted_ms) == (3, 8, 3, 610_500)
    assert (report.turned_away, report.lost) == ({"client": 3, "slots": 4}, 5)
    assert (report.first, report.last) == ("2026-11-24T12:30:00.000Z", "2026-11-25T01:00:00.000Z")
    assert by(report, "address") == {"192.0.2.1": 1, "192.0.2.9": 1, "2001:db8:1:2::3": 1}
    assert by(report, "network") == {"192.0.2.0/24": 2, "2001:db8:1::/48": 1}
    assert by(report, "helo") == {"mail.example": 2}
    assert by(report, "domain") == {"example.org": 2, "<>": 1}
    assert by(report, "sender") == {"A@example.org": 1, "b@example.org": 1, "<>": 1}
    assert by(report, "recipient") == {"B@x.example": 1}
    assert by(report, "verb") == {"EHLO": 1, "HELO": 1, "MAIL": 3, "NOOP": 1, "QUIT": 1, "RCPT": 1}
    assert by(report, "reason") == {"quit": 3}
    assert by(report, "duration") == {"under 1 s": 1, "10 s to 1 min": 1, "over 10 min": 1}
    assert by(report, "hour") == {"12": 2, "00": 1}
    assert by(report, "day") == {"2026-11-24": 2, "2026-11-25": 1}


def test_only_requested_kinds_are_counted() -> None:
    report = report_of(session("192.0.2.1", "HELO a"), ["verb"])
    assert set(report.tallies) == {"verb"}
    assert by(report, "verb") == {"HELO": 1}


def test_hours_and_days_use_the_zone() -> None:
    report = Report(["hour", "day"], timezone(timedelta(hours=5, minutes=45)))
    rows, _ = scan("".join(render_log(session("192.0.2.1", time="2026-11-24T18:15:00.000Z"))).encode())
    report.add(rows)
    assert by(report, "hour") == {"00": 1}
    assert by(report, "day") == {"2026-11-25": 1}


SUPPRESSED = b"Suppressed 55011 messages from smtppseudo.service\n"


@pytest.mark.parametrize("place", range(5))
def test_lines_that_journald_suppressed_are_counted(place: int) -> None:
    lines = "".join(render_log(session("192.0.2.1", "HELO a", "QUIT"))).encode().splitlines(keepends=True)
    rows, damaged = scan(b"".join([*lines[:place], SUPPRESSED, *lines[place:]]))
    report = Report(["verb"])
    report.add(rows)
    assert (report.suppressed, report.lost, report.connected, damaged) == (55_011, 0, 1, 0)
    assert (report.first, report.last) == ("2026-11-24T12:30:00.000Z", "2026-11-24T12:30:00.000Z")
    assert f"{'suppressed':<16}55,011 lines, by journald's rate limit" in lines_of(report)
    assert json.loads(render_json(report, View()))["suppressed"] == 55_011


def test_suppressed_lines_have_the_time_of_the_next_line() -> None:
    before, after = (session("192.0.2.1", time=f"2026-11-2{day}T00:00:00.000Z")[:1] for day in (4, 5))
    rows, _ = scan("".join(render_log(before)).encode() + 2 * SUPPRESSED + "".join(render_log(after)).encode())
    assert [row[0][:10] for row in rows] == ["2026-11-24", *["2026-11-25"] * 3]


def test_suppressed_lines_without_any_time_are_damaged() -> None:
    assert scan(SUPPRESSED) == ([], 1)


def test_an_event_of_a_later_version_is_not_taken_for_suppressed_lines() -> None:
    rows, _ = scan(b"2026-11-24T12:30:00.000Z suppressed count=3\n")
    report = Report(["verb"])
    report.add(rows)
    assert report.suppressed == 0


def test_time_without_a_date_in_the_zone_has_no_hour() -> None:
    report = Report(["hour"], timezone(timedelta(hours=-1)))
    report.add(scan("".join(render_log(session("192.0.2.1", time="0001-01-01T00:59:59.999Z"))).encode())[0])
    assert report.connected == 1
    assert by(report, "hour") == {}


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ("QUIT", ("QUIT", "")),
        ("mail  FROM:<a@b>", ("MAIL", "FROM:<a@b>")),
        ("ehlo\\x09me", ("EHLO", "me")),
        ("", ("(empty)", "")),
        ("  ", ("(empty)", "")),
        ("\\x16\\x03\\x01", ("\\x16\\x03\\x01", "")),
        ("[redacted]", ("[redacted]", "")),
        ("x" * 300, ("X" * 300, "")),
    ],
)
def test_command_is_split_as_in_the_server(data: str, parts: tuple[str, str]) -> None:
    assert split(data) == parts


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("FROM:<a@B.example>", ("b.example", "a@b.example")),
        ("from: a@b", ("b", "a@b")),
        ("FROM:<>", ("<>", "<>")),
        ("FROM:<postmaster>", ("", "postmaster")),
        ('FROM:<"a b@c"@d>', ("d", '"a b@c"@d')),
        ("FROM:<a@b", ("b", "a@b")),
        ("FROM:", ("", "")),
        ("TO:<a@b>", ("", "")),
        ("", ("", "")),
    ],
)
def test_sender_and_domain_of_mail(argument: str, found: tuple[str, str]) -> None:
    domain, sender = found
    assert address_of(argument) == sender
    assert domain_of(sender) == domain


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("evil", ""),
        (":::", ""),
    ],
)
def test_network_of_an_address(ip: str, network: str) -> None:
    assert network_of(ip) == network


def test_long_names_are_cut() -> None:
    long = "x" * 5_000
    line = render_log(session("192.0.2.1", "HELO " + long, "MAIL FROM:<" + long + "@b>"))
    rows, _ = scan("".join(line).replace("192.0.2.1", long).replace("=quit", f"={long}").encode())
    report = Report(KINDS)
    report.add(rows)
    assert report.connected == 1
    names = [name for tally in report.tallies.values() for name, _ in tally.in_order()]
    assert max(map(len, names)) == 128


def lines_of(report: Report, **view: object) -> list[str]:
    """Return the lines of a report as text."""
    return render_text(report, View(**view)).splitlines()  # type: ignore[arg-type]


def test_table_shows_counts_shares_and_bars() -> None:
    report = report_of([*session("192.0.2.1") * 3, *session("192.0.2.2")], ["address"])
    lines = lines_of(report, width=60, lines=9, damaged=2)
    assert "log lines       9, 2 damaged, left out" in lines
    table = lines[lines.index("Addresses") + 1 :]
    assert table == [
        "  3  75.0%  192.0.2.1  " + "#" * 37,
        "  1  25.0%  192.0.2.2  " + "#" * 13,
    ]


def test_title_of_a_cut_table_names_the_number_of_values() -> None:
    report = report_of([each for number in range(5) for each in session(f"192.0.2.{number}")], ["address"])
    lines = lines_of(report, top=2)
    assert lines[-3:-1] == ["Addresses, top 2 of 5", "  1  20.0%  192.0.2.0  " + "#" * 40]


def test_title_of_an_inexact_table_names_the_possible_error() -> None:
    visitors = [*session("192.0.2.1") * 9, *(each for number in range(9) for each in session(f"198.51.100.{number}"))]
    report = report_of(visitors, ["address"], kept=2)
    (title,) = [line for line in lines_of(report) if line.startswith("Addresses")]
    assert "of more than" in title
    assert "each may be up to 1 more" in title
    assert json.loads(render_json(report, View()))["by"]["address"]["short"] == 1


@pytest.mark.parametrize("width", [40, 41, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    visitors = session("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "HELO " + "x" * 500, "MAIL FROM:<" + "y@" * 300 + "z>")
    report = report_of(visitors * 1000)
    lines = lines_of(report, width=width, names={"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff": "n" * 250})
    assert max(map(len, lines)) <= width
    assert [line for line in lines if line.endswith("########")]
    assert [line for line in lines if "..." in line]


@pytest.mark.parametrize(
    ("since", "until", "zone", "hours"),
    [
        ("", "", UTC, "12"),
        ("2026-11-24T10:59:59.000Z", "", UTC, "10 11 12"),
        ("2026-11-24T11:30:00.000Z", "2026-11-24T15:00:00.000Z", UTC, "11 12 13 14"),
        ("2026-11-24T09:00:00.000Z", "2026-11-24T13:00:00.000Z", timezone(timedelta(hours=12)), "21 22 23 00"),
        ("2026-11-23T11:30:00.000Z", "", UTC, " ".join(HOURS)),
        ("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", UTC, " ".join(HOURS)),
    ],
)
def test_hours_of_the_period_are_shown(since: str, until: str, zone: timezone, hours: str) -> None:
    report = Report(["hour"], zone)
    report.add(scan("".join(render_log(session("192.0.2.1"))).encode())[0])
    lines = lines_of(report, since=since, until=until)
    shown = lines[lines.index("Hours of the day (UTC)") + 1 :]
    assert " ".join(line.split()[2] for line in shown) == hours
    assert [line.split()[0] for line in shown if "#" in line] == ["1"]


def test_an_hour_that_the_clock_skips_is_not_shown() -> None:
    report = Report(["hour"], ZoneInfo("Europe/Berlin"))
    report.add(scan("".join(render_log(session("192.0.2.1", time="2026-03-29T00:30:00.000Z"))).encode())[0])
    lines = lines_of(report, since="2026-03-28T23:00:00.000Z", until="2026-03-29T22:00:00.000Z")
    shown = lines[lines.index("Hours of the day (UTC)") + 1 :]
    assert [line.split()[2] for line in shown] == [hour for hour in HOURS if hour != "02"]


def test_days_without_events_are_shown_between_others() -> None:
    days = [
        *session("192.0.2.1", time="2026-02-27T12:00:00.000Z"),
        *session("192.0.2.1", time="2026-03-02T12:00:00.000Z"),
    ]
    lines = lines_of(report_of(days, ["day"]))
    assert [line.split()[::2] for line in lines[-4:]] == [
        ["1", "2026-02-27"], ["0", "2026-02-28"], ["0", "2026-03-01"], ["1", "2026-03-02"]
    ]  # fmt: skip


def test_times_are_local() -> None:
    report = Report([], timezone(timedelta(hours=5, minutes=45)))
    assert lines_of(report, since="2026-11-01T00:00:00.000Z")[0] == "no events       since 2026-11-01 05:45:00 +0545"
    report.add(scan("".join(render_log(session("192.0.2.1"))).encode())[0])
    assert lines_of(report)[:2] == [
        "from            2026-11-24 18:15:00 +0545",
        "to              2026-11-24 18:15:00 +0545",
    ]


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0.0 s"),
        (59_949, "59.9 s"),
        (59_950, "1 min 0 s"),
        (545_000, "9 min 5 s"),
        (47_340_000, "13 h 9 min"),
        (86_399_700, "1 d 0 h"),
        (90_000_000_000, "1,041 d 16 h"),
    ],
)
def test_durations_are_written_as_people_say_them(milliseconds: float, text: str) -> None:
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("count", "before", "text"),
    [
        (1204, 1075, ", +12 %"),
        (1, 3, ", -67 %"),
        (0, 5, ", -100 %"),
        (999, 1000, ", +0 %"),
        (5, 0, ""),
        (10**7, 1, ", +999,999,900 %"),
    ],
)
def test_changes_are_percentages(count: int, before: int, text: str) -> None:
    assert change(count, before) == text


def test_the_period_before_is_compared() -> None:
    before = report_of([*session("192.0.2.1", time="2026-11-23T12:30:00.000Z") * 4])
    report = report_of(session("192.0.2.1"))
    lines = lines_of(report, before=before)
    assert "compared with   2026-11-23 12:30:00 +0000 to 2026-11-23 12:30:00 +0000" in lines
    assert "connections     1, -75 %" in lines
    assert "time wasted     0.5 s, -75 %, 0.5 s each" in lines
    assert json.loads(render_json(report, View(before=before)))["before"]["connected"] == 4
    assert "%" not in "".join(lines_of(Report([]), before=Report([])))


def test_all_durations_are_shown() -> None:
    lines = lines_of(report_of(session("192.0.2.1"), ["duration"]))
    assert sum(" s" in line or " min" in line for line in lines[lines.index("How long sessions lasted") + 1 :]) == 5


def test_host_names_are_shown_after_addresses() -> None:
    report = report_of([*session("192.0.2.1"), *session("192.0.2.2")], ["address"])
    view = View(names={"192.0.2.2": "two.example"})
    text = render_text(report, view)
    assert "  192.0.2.2  two.example  ###" in text
    top = json.loads(render_json(report, view))["by"]["address"]["top"]
    assert top == [{"value": "192.0.2.1", "count": 1}, {"value": "192.0.2.2", "count": 1, "name": "two.example"}]


def test_period_without_events() -> None:
    report = Report(KINDS)
    assert lines_of(report, since="2026-11-01T00:00:00.000Z")[0].startswith("no events       since 2026-11-01 ")
    assert "connections     0" in lines_of(report)
    assert json.loads(render_json(report, View()))["first"] is None


def test_json_report() -> None:
    report = report_of(session("192.0.2.1", "HELO a"), ["address", "hour"])
    found = json.loads(render_json(report, View(since="2026-11-01T00:00:00.000Z", lines=3, zone="UTC")))
    by_hour = found["by"].pop("hour")
    assert found == {
        "since": "2026-11-01T00:00:00.000Z",
        "until": None,
        "first": "2026-11-24T12:30:00.000Z",
        "last": "2026-11-24T12:30:00.000Z",
        "mails_refused": 0,
        "connected": 1,
        "turned_away": {},
        "commands": 1,
        "closed": 1,
        "wasted_s": 0.5,
        "before": None,
        "lines": 3,
        "damaged": 0,
        "lost": 0,
        "suppressed": 0,
        "zone": "UTC",
        "by": {"address": {"values": 1, "short": 0, "top": [{"value": "192.0.2.1", "count": 1}]}},
    }
    assert len(by_hour["top"]) == 24
