"""Filters as they are typed."""

import pytest

from smtppseudo.tui.query import EVENTS, Query, QueryError


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("GF.com", True),
        ("gf.com missing", False),
        ("ip:192.0.2.0/24", True),
        ("ip:2001:db8::/32", False),
        ("event:connected,closed", False),
        ("event:comm", True),
        ("event:command ip:192.0.2.1 helo", True),
    ],
)
def test_queries(text: str, matches: bool) -> None:
    assert Query.parse(text, "event", EVENTS).matches("command", "192.0.2.1", "helo gf.com") is matches


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ip:300.1.1.1", "ip:300.1.1.1 is neither an address"),
        ("event:lunch", "event:lunch is not one of connected, command"),
    ],
)
def test_a_malformed_query_says_why(text: str, reason: str) -> None:
    with pytest.raises(QueryError, match=reason):
        Query.parse(text, "event", EVENTS)
