"""The account of lost lines: whether the line that tells of them came to be written."""

import pytest

from smtppseudo.log.lost_lines import LostLines


@pytest.mark.parametrize(
    ("written", "told", "left"),
    [(11, True, 0), (10, True, 0), (9, True, 1), (5, True, 1), (3, False, 4), (0, False, 4)],
)
def test_it_is_told_once_its_line_is_whole(written: int, told: bool, left: int) -> None:
    account = LostLines()
    account.lose(3)
    account.reason = "full"
    lost = account.to_tell(can_write=True)
    assert lost == ("full", 3)
    data = account.encode(["told\n", "other\n"])
    account.settle(2, data, written)
    assert account.was_told is told
    again = account.to_tell(can_write=True)
    assert (again.lines if again else 0) == left
    assert not account.was_told
