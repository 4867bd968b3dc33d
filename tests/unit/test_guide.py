"""`guide`: the list of pages, a page, and names that no page has."""

import pytest

from smtppseudo.cli import exits, main
from smtppseudo.cli.guide import TOPICS
from tests.documents import TEXTS


def test_the_list_has_a_line_for_each_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide"]) == exits.GOOD
    _, _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(TOPICS)
    for line, topic in zip(lines, TOPICS, strict=True):
        assert TEXTS[topic].startswith(f"# {line.split(maxsplit=1)[1]}\n")
        assert len(line) <= 90


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_is_printed_as_it_is(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide", topic]) == exits.GOOD
    assert capsys.readouterr() == (TEXTS[topic], "")


@pytest.mark.parametrize(
    ("topic", "advice"),
    [
        ("blocklist", "did you mean block-lists?"),
        ("Tarpit", "did you mean tarpit?"),
        ("report", "did you mean reports?"),
        ("../../README", f"its pages are {', '.join(TOPICS)}"),
        ("\x1b[31m", f"its pages are {', '.join(TOPICS)}"),
        ("", f"its pages are {', '.join(TOPICS)}"),
    ],
)
def test_an_unknown_page_is_an_error_with_advice(topic: str, advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide", topic]) == exits.USAGE
    assert capsys.readouterr() == ("", f"smtppseudo: the guide has no page {topic!a}; {advice}\n")
