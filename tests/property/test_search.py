"""Every line whose text rendering contains a text is a candidate of the search, in both formats."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtppseudo.events import Command
from smtppseudo.logread.search import condition, text_of
from tests.property.test_records import records
from tests.records import Stamped, render_json, render_text

QUOTES = Stamped(0, "2000-01-01T00:00:00.000Z", 1, 1, "::1", 1, Command('a\\x22="x22 \\\\"', '250 2="'))


@settings(max_examples=500)
@given(records, st.integers(0, 400), st.integers(1, 40))
@example(QUOTES, 70, 9)
@example(QUOTES, 0, 400)
@example(QUOTES, 77, 40)
def test_pattern_matches_what_contains_the_text(record: Stamped, at: int, length: int) -> None:
    (text,), (json_line,) = render_text([record], "mx-1"), render_json([record], "mx-1")
    assert text_of(text.encode()) == text_of(json_line.encode()) == text
    start = at % len(text)
    part = text[start : start + length].rstrip("\n").lower()
    pattern, _ = condition(part, lambda row, line: True)
    for line in (text, json_line):
        assert pattern.search(line.lower().encode()), (part, line)


def test_no_word_of_a_pattern_can_be_part_of_what_separates_words() -> None:
    """With `22 22 x`, a log full of `2222` would take cubic time."""
    patterns = [condition(text, lambda row, line: True)[0] for text in ("22222 event,x2 zz", "a 22222 b", "event 2")]
    alone, between, everything = [pattern.pattern for pattern in patterns]
    assert (alone, everything) == (b"zz", b"\n")
    assert between.startswith(b"a(?:")
    assert between.endswith(b")+b")
    assert patterns[1].search(b"a 22222 b")
