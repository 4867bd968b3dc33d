"""The page of a report: what it shows, and that no text of a caller becomes markup."""

from collections import Counter
from datetime import UTC
from html.parser import HTMLParser
from typing import Final

from smtppseudo.events import escape_text
from smtppseudo.report.page import render_html
from smtppseudo.report.report import KINDS, Report
from smtppseudo.report.tables import View
from tests.hostile import HOSTILE, MARKUP, require_harmless
from tests.unit.test_report import report_of, session


class Page(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags = Counter[str]()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def page_of(report: Report, **view: object) -> Page:
    return Page(render_html(report, View(**view)))  # type: ignore[arg-type]


TAGS: Final = {
    "html",
    "meta",
    "title",
    "style",
    "h1",
    "small",
    "dl",
    "dt",
    "dd",
    "main",
    "section",
    "h2",
    "svg",
    "line",
    "rect",
    "g",
    "text",
    "table",
    "tr",
    "th",
    "td",
}
ATTRIBUTES: Final = {
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "viewbox",
    "role",
    "aria-label",
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "width",
    "height",
    "class",
    "text-anchor",
}


def test_a_page_has_a_chart_for_each_kind_and_a_table_of_callers() -> None:
    report = report_of([*session("192.0.2.1", "HELO a", "MAIL FROM:<b@c.example>") * 3, *session("192.0.2.2")])
    page = page_of(report, names={"192.0.2.2": "two.example"}, before=report)
    assert page.tags["section"] == len([tally for tally in report.tallies.values() if len(tally)])
    assert page.tags["svg"] == page.tags["section"] - 1
    assert page.tags["table"] == 1
    for text in ("192.0.2.2  two.example", "75.0%", "c.example: 3", "2026-11-24: 4", "12: 4", "caller quit: 4"):
        assert text in page.texts
    assert "mails refused" in page.texts
    assert "4, +0 %" in page.texts


def test_no_text_of_a_caller_becomes_markup() -> None:
    lines = [(f"EHLO {text}", f"MAIL FROM:<a@{text}>", text) for text in map(escape_text, HOSTILE)]
    report = report_of([each for line in lines for each in session("192.0.2.1", *line)])
    names = {"192.0.2.1": "".join(HOSTILE)}
    require_harmless(render_html(report, View(names=names, top=1000, zone=names["192.0.2.1"])))
    page = page_of(report, names=names, top=1000, zone=MARKUP[0])
    assert page.tags.keys() <= TAGS
    assert page.attributes <= ATTRIBUTES
    for text in MARKUP:
        assert any(text.split()[0].lower()[:20] in shown.lower() for shown in page.texts), text


def test_a_page_of_no_or_of_strange_logs_is_whole() -> None:
    assert page_of(Report(KINDS)).tags["section"] == 0
    for times in (
        ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"],
        ["2024-01-01T00:00:00.000Z", "2026-11-24T00:00:00.000Z"],
    ):
        records = [each for time in times for each in session("192.0.2.1", time=time)]
        report = report_of(records, ["day", "hour", "refused"])
        assert page_of(report).tags["rect"] <= 400 + 24
    year = Report(["day"], UTC)
    for number in range(999):
        year.tallies["day"].add({f"{number:010}": 1})
    assert page_of(year).tags["rect"] == 400
