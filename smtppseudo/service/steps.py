"""Steps: what is done to a machine one after the other, and what a failure says of those before."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from smtppseudo.service.systemd import ToolError


class StepError(Exception):
    """A step that failed: which and why, what was done before, and how to undo that."""


class Step(NamedTuple):
    """One thing to do, as a failure names it (`start it`) and as it is told afterwards (`started`).

    `act` may raise OSError and ToolError.
    """

    doing: str
    done: str
    act: Callable[[], object]


def carry_out(steps: Iterable[Step], undo: str, say: Callable[[str], None]) -> list[str]:
    """Do one step after the other; say, and return, what was done. Raises StepError; no later step is done then."""
    done: list[str] = []
    for step in steps:
        try:
            step.act()
        except (OSError, ToolError) as error:
            so_far = f"done so far: {', '.join(done)}; {undo}" if done else "nothing was changed"
            raise StepError(f"cannot {step.doing}: {_reason(error)}; {so_far}") from None
        done.append(step.done)
        say(step.done)
    return done


def _reason(error: OSError | ToolError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error)
