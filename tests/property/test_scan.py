"""The scanner agrees with `records.parse`, and a damaged line does not affect others."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtppseudo.events import NAMES, Closed, Command, Connected, Event, escape, unescape
from smtppseudo.log.records import KINDS, read_record
from smtppseudo.logread.scan import Row, scan
from tests.property.test_records import records
from tests.records import Stamped, fields, parse, render_json, render_text

COMMAND = Stamped(0, "2000-01-01T00:00:00.000Z", 1, 1, "192.0.2.7", 1, Command("\\x00", "200 "))
CLOSED = COMMAND._replace(event=Closed("quit", 1, 2, 3, 4))
# Hypothesis must not get a renderer itself: it keeps weak references, which break compiled closures (mypy 2.4.1).
lines = st.builds(
    lambda record, render, name: render([record], name)[0],
    records,
    st.sampled_from([render_text, render_json]),
    st.sampled_from(["", "mx-1"]),
)

# The fields of an event that a row's `reason` and `amount` hold; of all others they hold none.
_FIELDS = {"closed": ("reason", "duration_ms"), "turned_away": ("reason", "count"), "error": ("", "lost")}


def row_of(line: str) -> Row:
    """Return the row of a line from its parsed record; its marks are the names of the command's flags."""
    server = str(read_record(line).get("server", ""))
    record = parse(line)
    event: Event = record.event
    kind = NAMES[type(event)]
    origin = (record.time, kind, str(record.session or ""), record.ip, str(record.port or ""))
    if isinstance(event, Command):
        held = [
            name
            for name, _ in fields(record)
            if name in ("eol", "pregreet", "pipelined", "truncated_bytes", "more_lines")
        ]
        return (*origin, event.data, event.reply[:3], " ".join(held), "", "", "", server)
    reason, amount = (str(getattr(event, name)) if name else "" for name in _FIELDS.get(kind, ("", "")))
    mails = str(read_record(line).get("mails_refused", ""))
    return (
        *origin,
        escape(unescape(event.local_ip)) if isinstance(event, Connected) else "",
        "",
        "",
        reason,
        amount,
        mails,
        server,
    )


def with_names_of_marks(row: Row) -> Row:
    """Return a row whose marks are only names: their notation depends on the format of the line."""
    held = [name for name in ("eol", "pregreet", "pipelined", "truncated_bytes", "more_lines") if name in row[7]]
    return (*row[:7], " ".join(held), *row[8:])


@settings(max_examples=500)
@given(lines)
def test_scan_agrees_with_parse(line: str) -> None:
    rows, damaged = scan(line.encode())
    assert [with_names_of_marks(row) for row in rows] == [row_of(line)]
    assert damaged == 0


@settings(max_examples=200)
@given(st.lists(lines, max_size=6))
def test_block_equals_its_lines_one_by_one(block: list[str]) -> None:
    rows, damaged = scan("".join(block).encode())
    alone = [row for line in block for row in scan(line.encode())[0]]
    assert list(map(with_names_of_marks, rows)) == list(map(with_names_of_marks, alone))
    assert damaged == 0


@settings(max_examples=300)
@given(st.lists(lines, min_size=1, max_size=4), st.data())
def test_damaged_line_does_not_affect_others(block: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(block) - 1))
    line = block[at].encode()
    cut = data.draw(st.integers(0, len(line) - 1))
    noise = data.draw(st.binary(max_size=4).map(lambda data: data.replace(b"\n", b"")))
    others = [each.encode() for each in block]
    others[at] = line[:cut] + noise + b"\n"
    rows, damaged = scan(b"".join(others))
    alone = scan(others[at])
    assert len(alone[0]) + alone[1] == 1
    expected = [alone[0] if index == at else scan(each)[0] for index, each in enumerate(others)]
    assert list(map(with_names_of_marks, rows)) == [with_names_of_marks(row) for each in expected for row in each]
    assert damaged == alone[1]


@settings(max_examples=300)
@given(lines, st.integers(0, 400), st.text(max_size=4).map(lambda text: text.replace("\n", "")))
@example(render_json([COMMAND])[0], render_json([COMMAND])[0].index("x00"), "0")
@example(render_text([COMMAND])[0], render_text([COMMAND])[0].index("x00"), "0")
@example(render_text([COMMAND])[0], render_text([COMMAND])[0].index("session=") + len("session="), "0")
@example(render_text([CLOSED])[0], render_text([CLOSED])[0].index("duration_ms=") + len("duration_ms="), "0")
def test_scan_agrees_with_parse_on_damaged_lines(line: str, at: int, more: str) -> None:
    """Escapes that the server does not write are compared by their bytes."""
    damaged_line = line[: at % len(line)] + more + line[at % len(line) :]
    rows, damaged = scan(damaged_line.encode("utf-8", "surrogatepass"))
    assert len(rows) + damaged == 1
    for row in rows:
        if row[1] in KINDS:
            as_rendered = (*row[:5], escape(unescape(row[5])), *row[6:])
            assert with_names_of_marks(as_rendered) == row_of(damaged_line)
        assert all(value.isascii() and value.isprintable() for value in row)
