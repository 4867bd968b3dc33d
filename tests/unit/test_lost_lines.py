"""Lost lines: whether the report of them was written."""

import pytest

from smtppseudo.log.lost_lines import LostLines


@pytest.mark.parametrize(
    ("written", "is_reported", "left"),
    [(13, True, 0), (12, True, 0), (11, True, 1), (7, True, 1), (5, False, 4), (0, False, 4)],
)
def test_lost_lines_are_reported_when_the_report_line_is_whole(written: int, is_reported: bool, left: int) -> None:
    account = LostLines(lambda text: None)
    account.lose(3)
    account.reason = "full"
    assert (account.report(can_write=True), account.reason) == (3, "full")
    data = account.encode(["report\n", "other\n"])
    account.record_write(2, data, written)
    assert account.was_reported is is_reported
    assert account.report(can_write=True) == left
    assert not account.was_reported
