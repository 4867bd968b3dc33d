"""The states of a service, as the service control manager expects to hear of them. Pure.

https://learn.microsoft.com/windows/win32/services/service-status-transitions
"""

from enum import IntEnum
from typing import Final, NamedTuple


class State(IntEnum):
    """The state of a service; the numbers are those of the Windows API."""

    STOPPED = 1
    STARTING = 2
    STOPPING = 3
    RUNNING = 4


class Status(NamedTuple):
    """The fields of SERVICE_STATUS."""

    kind: int
    state: int
    accepted: int = 0
    exit_code: int = 0
    exit_status: int = 0
    checkpoint: int = 0
    wait_hint_ms: int = 0


OWN_PROCESS: Final = 0x10
WAIT_HINT_MS: Final = 30_000
_NEXT: Final = {
    State.STARTING: {State.STARTING, State.RUNNING, State.STOPPING, State.STOPPED},
    State.RUNNING: {State.STOPPING, State.STOPPED},
    State.STOPPING: {State.STOPPING, State.STOPPED},
    State.STOPPED: set[State](),
}
_ACCEPTED: Final = 1 | 4 | 8  # stop, shutdown, reload (PARAMCHANGE)
_SERVICE_SPECIFIC_ERROR: Final = 1066


def status_after(last: Status | None, state: State, exit_status: int = 0) -> Status | None:
    """Return the status to report after the `last` one, or None if the service cannot come into that state.

    A pending state that is reported again has the next checkpoint, which says that the service makes progress.
    """
    if last is not None and state not in _NEXT[State(last.state)]:
        return None
    if state in (State.STARTING, State.STOPPING):
        checkpoint = last.checkpoint + 1 if last is not None and last.state == state else 1
        return Status(OWN_PROCESS, state, checkpoint=checkpoint, wait_hint_ms=WAIT_HINT_MS)
    if state is State.RUNNING:
        return Status(OWN_PROCESS, state, _ACCEPTED)
    return Status(OWN_PROCESS, state, 0, _SERVICE_SPECIFIC_ERROR if exit_status else 0, exit_status)
