"""Background work: wait for a reply or for a thread without blocking the screen."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from textual.dom import DOMNode
from textual.worker import Worker

from smtppseudo.link.errors import ConnectionLostError
from smtppseudo.monitor.codec import Frame

REPLY_TIMEOUT_S: Final = 10.0

T = TypeVar("T")


def start_worker(node: DOMNode, work: Callable[[], Coroutine[Any, Any, T]], group: str) -> None:
    """Start a coroutine that ends with the node, and cancel the node's running work of the same group."""
    worker: Worker[T] = node.run_worker(work, group=group, exclusive=True)
    del worker  # Textual keeps it


async def reply_to(future: "Future[Frame]") -> Frame:
    """Return a reply's fields. Raises LinkError, also when no reply comes within 10 s."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), REPLY_TIMEOUT_S)
    except TimeoutError:
        raise ConnectionLostError(f"no reply within {REPLY_TIMEOUT_S:g} s; check whether it was done") from None


async def in_thread(work: Callable[[], T]) -> T:
    """Call a blocking function in a new daemon thread and return its result.

    Not asyncio.to_thread: a program waits for those threads before it exits, for example for a slow name lookup.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: Exception | None) -> None:
        if future.done():
            return  # the waiting coroutine was cancelled
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    def run() -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised again in the coroutine that waits
            failure = error
        try:
            loop.call_soon_threadsafe(finish, result, failure)
        except RuntimeError:
            pass  # the screen was closed in the meantime

    threading.Thread(target=run, daemon=True).start()
    return await future
