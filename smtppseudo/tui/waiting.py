"""Waiting for a server's answer without holding up the screen."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from textual.dom import DOMNode
from textual.worker import Worker

from smtppseudo.monitor.codec import Frame
from smtppseudo.net.client import ConnectionLostError

ANSWER_S: Final = 10.0

T = TypeVar("T")


def begin(node: DOMNode, work: Callable[[], Coroutine[Any, Any, T]], group: str) -> None:
    """Begin work that waits; what of the same group is under way is given up. It ends with the node."""
    worker: Worker[T] = node.run_worker(work, group=group, exclusive=True)
    del worker  # it goes on by itself


async def answer(future: "Future[Frame]") -> Frame:
    """Return a reply's fields. Raises LinkError, also where no reply comes in time."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_S)
    except TimeoutError:
        raise ConnectionLostError(f"no reply within {ANSWER_S:g} s; check whether it was done") from None
