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


def start_worker(node: DOMNode, work: Callable[[], Coroutine[Any, Any, object]], group: str) -> None:
    """Start a coroutine that ends with the node, and cancel the node's running work of the same group."""
    _: Worker[object] = node.run_worker(work, group=group, exclusive=True)  # mypy cannot infer the type


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
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # a cancelled wait does not stop the thread

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised in the coroutine that waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(future)
