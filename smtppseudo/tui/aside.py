"""Aside: work that may take long, in a thread that nobody waits for when the screen is closed."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """Do something in a thread of its own and return the result.

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
