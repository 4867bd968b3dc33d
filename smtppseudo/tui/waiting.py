"""Waiting, for a server's answer or for work in a thread, without holding up the screen."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from textual.dom import DOMNode
from textual.worker import Worker

from smtppseudo.link.errors import ConnectionLostError
from smtppseudo.monitor.codec import Frame

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


async def aside(work: Callable[[], T]) -> T:
    """Do something in a thread of its own and return the result. When the screen is closed, nobody waits for it.

    Not asyncio's own threads: a program waits for those before it ends, for a name that cannot be looked up say.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: Exception | None) -> None:
        if future.done():
            return  # whoever waited has gone
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    def run() -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it is raised where the result is waited for
            failure = error
        try:
            loop.call_soon_threadsafe(finish, result, failure)
        except RuntimeError:
            pass  # the screen was closed meanwhile

    threading.Thread(target=run, daemon=True).start()
    return await future
