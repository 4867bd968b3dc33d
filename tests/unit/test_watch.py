"""`watch`: how it connects again."""

import pytest

from smtppseudo.cli import watch
from smtppseudo.cli.access import Access
from smtppseudo.link.errors import (
    BadPeerError,
    LinkError,
    NeedsMagicWordError,
    NotAuthorizedError,
    RefusedError,
    UnreachableError,
)


class Away(Access):
    """Access whose connections fail with one error after the other."""

    def __init__(self, answers: list[LinkError]) -> None:
        self.answers = answers

    def connect(self) -> "object":  # type: ignore[override]
        raise self.answers.pop(0)


def test_reconnect_pauses_grow_to_half_a_minute_and_a_refused_word_ends_it() -> None:
    pauses: list[float] = []
    answers: list[LinkError] = [UnreachableError("away")] * 7
    with pytest.raises(NotAuthorizedError):
        watch.reconnect(Away([*answers, RefusedError("full", "busy"), NotAuthorizedError("no")]), pauses.append)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("answer", [NotAuthorizedError("no"), NeedsMagicWordError("no"), BadPeerError("no")])
def test_error_that_waiting_cannot_mend_ends_reconnect(answer: LinkError) -> None:
    pauses: list[float] = []
    with pytest.raises(type(answer)):
        watch.reconnect(Away([answer]), pauses.append)
    assert pauses == [0.5]
