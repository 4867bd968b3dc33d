"""The selector of the loop, and what it can watch on this system."""

import contextlib
import errno
import os
import select
import selectors
from collections.abc import Callable, Mapping
from typing import Any, Final

_HAS_EPOLL: Final = selectors.DefaultSelector is getattr(selectors, "EpollSelector", None)
_KIND: Final = selectors.DefaultSelector.__name__
_IS_SELECT: Final = _KIND == "SelectSelector"

_EPOLL_EVENTS: Final = {
    0: 0,
    selectors.EVENT_READ: getattr(select, "EPOLLIN", 0),
    selectors.EVENT_WRITE: getattr(select, "EPOLLOUT", 0),
}

WATCHED_MAX: Final = (512 if os.name == "nt" else 1024) if _IS_SELECT else None
"""How many descriptors select(2) can watch (FD_SETSIZE); None without this limit."""

REPORTS_ERRORS: Final = _KIND not in ("SelectSelector", "KqueueSelector")
"""Whether a descriptor that is watched with a mask of 0 reports errors, as with epoll and poll."""


def make_selector() -> selectors.BaseSelector:
    """Return the best selector of this system."""
    if _HAS_EPOLL:
        return EpollSelector()
    return _BoundedSelector() if _IS_SELECT else selectors.DefaultSelector()


def ready_objects(selector: selectors.BaseSelector) -> Callable[[float | None], list[Any]]:
    """Return the function that waits as `select` does, and returns the objects of what is ready."""
    if isinstance(selector, EpollSelector):
        return selector.objects
    return lambda timeout: [key.data for key, _ in selector.select(timeout)]


class _BoundedSelector(selectors.SelectSelector):
    """A selector that refuses a descriptor beyond its limit. `SelectSelector` would then fail in every turn."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Start watching. Raises OSError at the limit: on Windows a count, elsewhere the number of the descriptor."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if (len(self.get_map()) if os.name == "nt" else fd) >= (WATCHED_MAX or 0):
            raise OSError(errno.EMFILE, f"select(2) watches at most {WATCHED_MAX} descriptors")
        return super().register(fileobj, events, data)


class EpollSelector(selectors.BaseSelector):
    """epoll(7) for descriptors, with a list of their objects by descriptor.

    A key is made each time when it is returned, because kept keys would take 0.11 KiB for each descriptor. `events` is
    EVENT_READ, EVENT_WRITE, or 0 for errors alone; so a descriptor that is ready is ready for its `events`. `data` must
    not be None.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._data: list[Any] = []  # by descriptor
        self._events = bytearray()  # the same; 0 = not registered, or registered for errors alone

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Start watching a descriptor. Raises OSError."""
        self.watch(fileobj, data, events)
        return self._key(fileobj)

    def watch(self, fd: int, data: Any, events: int = selectors.EVENT_READ) -> None:
        """Start watching a descriptor, without making a key: this saves 2 % of a session's instructions."""
        self._epoll.register(fd, _EPOLL_EVENTS[events])
        if fd >= len(self._data):
            more = fd + 1 - len(self._data)
            self._data += [None] * more
            self._events += bytes(more)
        self._data[fd] = data
        self._events[fd] = events

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Change the events and the object. Raises OSError; the descriptor is then no longer registered."""
        try:
            if events != self._key(fileobj).events:
                self._epoll.modify(fileobj, _EPOLL_EVENTS[events])
        except OSError:
            self.unregister(fileobj)
            raise
        self._data[fileobj] = data
        self._events[fileobj] = events
        return self._key(fileobj)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching a descriptor."""
        key = self._key(fileobj)
        self.forget(fileobj)
        with contextlib.suppress(OSError):  # it is not registered any more
            self._epoll.unregister(fileobj)
        return key

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor that is closed next, without a system call. It need not be registered.

        This is right only while no other process holds the socket: epoll watches a socket until its last descriptor is
        closed (epoll(7), question 6).
        """
        if 0 <= fd < len(self._data):
            self._data[fd] = None
            self._events[fd] = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait at most `timeout` seconds (None = no limit); return what is ready, at most 1,023 descriptors."""
        return [(self._key(fd), self._events[fd]) for fd, _ in self._epoll.poll(timeout)]

    def objects(self, timeout: float | None) -> list[Any]:
        """Return the objects of what is ready, without keys: this saves 3 % of a session's instructions."""
        data = self._data
        # None: forgotten, but another process holds the socket. That costs time, and must not cost the server.
        return [data[fd] for fd, _ in self._epoll.poll(timeout) if data[fd] is not None]

    def close(self) -> None:
        """Stop watching everything."""
        self._epoll.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return the keys of all registered descriptors."""
        return {fd: self._key(fd) for fd, data in enumerate(self._data) if data is not None}

    def _key(self, fd: int) -> selectors.SelectorKey:
        if not 0 <= fd < len(self._data) or self._data[fd] is None:
            raise KeyError(f"{fd} is not registered")
        return selectors.SelectorKey(fd, fd, self._events[fd], self._data[fd])
