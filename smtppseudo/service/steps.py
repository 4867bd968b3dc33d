"""Steps: changes to a machine, carried out in order; an error says which of them were done."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from smtppseudo.service.systemd import ToolError


class StepError(Exception):
    """A step failed: the text says which and why, what was done before, and how to undo that."""


class Step(NamedTuple):
    """One change, named as an error names it (`start it`) and as it is reported afterwards (`started it`).

    `act` may raise OSError and ToolError.
    """

    doing: str
    done: str
    act: Callable[[], object]


def carry_out(steps: Iterable[Step], undo: str, report: Callable[[str], None]) -> list[str]:
    """Carry out the steps in order; report and return what was done. Raises StepError; later steps are not begun."""
    done: list[str] = []
    for step in steps:
        try:
            step.act()
        except (OSError, ToolError) as error:
            so_far = f"done so far: {', '.join(done)}; {undo}" if done else "nothing was changed"
            raise StepError(f"cannot {step.doing}: {_reason(error)}; {so_far}") from None
        done.append(step.done)
        report(step.done)
    return done


def _reason(error: OSError | ToolError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error)
