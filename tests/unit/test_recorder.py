"""The recorder: what it counts as lost when a bug keeps it from logging."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from smtppseudo.config.settings import Settings
from smtppseudo.events import Error
from smtppseudo.log.dated_files import DatedLog
from smtppseudo.log.shares import Shares
from smtppseudo.loop.clock import Clock
from smtppseudo.server.recorder import Recorder
from tests.records import Stamped


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(
        Clock(),
        DatedLog(Settings(log_dir=str(tmp_path), log_min_free_bytes=0), lambda text: None),
        "text",
        "",
        Shares(0),
    )


def fail(batch: Sequence[Stamped]) -> list[str]:
    raise KeyError


def test_each_dropped_event_is_counted_once(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(recorder, "_render", fail)
        for count in (2, 1):
            for _ in range(count):
                recorder.record(Error("an event"))
            with pytest.raises(KeyError):
                recorder.flush()
            assert recorder.drop() == count
    assert recorder.log.account.lost_lines == 3
    recorder.record(Error("logged"))
    recorder.flush()
    assert recorder.drop() == 0
    assert recorder.log.account.lost_lines == 3
    recorder.log.close()


def test_what_one_source_logs_with_a_report_of_lost_lines_is_not_charged_to_the_next(tmp_path: Path) -> None:
    log, shares = DatedLog(Settings(log_dir=str(tmp_path), log_min_free_bytes=0), lambda text: None), Shares(1 << 20)
    recorder = Recorder(Clock(), log, "text", "", shares)
    log.account.lose(1)
    for _ in range(200):
        recorder.record(Error("x" * 1000), "192.0.2.1")
    recorder.flush()
    recorder.record(Error("a line"), "192.0.2.2")
    recorder.flush()
    assert not shares.above
    log.close()
