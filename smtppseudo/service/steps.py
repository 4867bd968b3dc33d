"""A step: one change to a machine, as installing and uninstalling consist of."""

from collections.abc import Callable
from typing import NamedTuple


class Step(NamedTuple):
    """One change, named as an error names it (`start it`) and as it is reported afterwards (`started it`).

    `act` may raise OSError and ToolError.
    """

    doing: str
    done: str
    act: Callable[[], object]
