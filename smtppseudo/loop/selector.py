"""The selector of the loop, and what it can watch on this system."""

import contextlib
import errno
import os
import select
import selectors
from typing import Any, Final

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE

_HAS_EPOLL: Final = selectors.DefaultSelector is getattr(selectors, "EpollSelector", None)
_KIND: Final = selectors.DefaultSelector.__name__
_IS_SELECT: Final = _KIND == "SelectSelector"

_EPOLL_EVENTS: Final = {0: 0, READ: getattr(select, "EPOLLIN", 0), WRITE: getattr(select, "EPOLLOUT", 0)}

WATCHED_MAX: Final = (512 if os.name == "nt" else 1024) if _IS_SELECT else None
"""How many descriptors select(2) can watch (FD_SETSIZE); None without this limit."""

REPORTS_ERRORS: Final = _KIND not in ("SelectSelector", "KqueueSelector")
"""Whether a descriptor that is watched with a mask of 0 reports errors, as with epoll and poll."""


class _BoundedSelector(selectors.SelectSelector):
    """A selector that refuses a descriptor beyond its limit. `SelectSelector` would then fail in every turn."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Start watching. Raises OSError at the limit: on Windows a count, elsewhere the number of the descriptor."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if (len(self.get_map()) if os.name == "nt" else fd) >= (WATCHED_MAX or 0):
            raise OSError(errno.EMFILE, f"select(2) watches at most {WATCHED_MAX} descriptors")
        return super().register(fileobj, events, data)


class SystemSelector:
    """The best selector of a system without epoll. Its methods are those of `EpollSelector`."""

    def __init__(self) -> None:
        self._selector = _BoundedSelector() if _IS_SELECT else selectors.DefaultSelector()
        self.close = self._selector.close
        self.forget = self.unwatch

    def watch(self, fd: int, watched: Any, mask: int = READ) -> None:
        """Start watching a descriptor. Raises OSError."""
        self._selector.register(fd, mask, watched)

    def rewatch(self, fd: int, watched: Any, mask: int) -> None:
        """Change the object or the mask."""
        try:
            self._selector.modify(fd, mask, watched)
        except KeyError:  # a mask of 0 has unregistered it
            self.watch(fd, watched, mask)
        except ValueError:
            pass  # kqueue and select(2) cannot watch for errors alone; the next send finds them

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor."""
        with contextlib.suppress(KeyError):  # a mask of 0, or a `rewatch` that failed, has unregistered it
            self._selector.unregister(fd)

    def objects(self, timeout_s: float | None) -> list[Any]:
        """Wait at most `timeout_s` (None = no limit); return the objects of what is ready."""
        return [key.data for key, _ in self._selector.select(timeout_s)]


class EpollSelector:
    """epoll(7) for descriptors, with a list of their objects by descriptor.

    The keys of the standard library's selector would take 0.11 KiB for each descriptor, and 5 % of a session's
    instructions. A mask is READ, WRITE, or 0 for errors alone; so a descriptor that is ready is ready for its mask.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.close = self._epoll.close
        self._objects: list[Any] = []  # by descriptor; None = not watched
        self._masks = bytearray()  # the same

    def watch(self, fd: int, watched: Any, mask: int = READ) -> None:
        """Start watching a descriptor. Raises OSError."""
        self._epoll.register(fd, _EPOLL_EVENTS[mask])
        if fd >= len(self._objects):
            more = fd + 1 - len(self._objects)
            self._objects += [None] * more
            self._masks += bytes(more)
        self._objects[fd] = watched
        self._masks[fd] = mask

    def rewatch(self, fd: int, watched: Any, mask: int) -> None:
        """Change the object or the mask of a descriptor. Raises OSError; the descriptor is then no longer watched."""
        if mask != self._masks[fd]:
            try:
                self._epoll.modify(fd, _EPOLL_EVENTS[mask])
            except OSError:
                self.unwatch(fd)
                raise
        self._objects[fd] = watched
        self._masks[fd] = mask

    def unwatch(self, fd: int) -> None:
        """Stop watching; call it before the descriptor is closed."""
        self.forget(fd)
        with contextlib.suppress(OSError):  # it is not registered any more
            self._epoll.unregister(fd)

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor that is closed next, without a system call. It need not be watched."""
        # Only while no other process holds the socket: epoll watches it until its last descriptor is closed (epoll(7)).
        if 0 <= fd < len(self._objects):
            self._objects[fd] = None
            self._masks[fd] = 0

    def objects(self, timeout_s: float | None) -> list[Any]:
        """Wait at most `timeout_s` (None = no limit); return the objects of what is ready, at most 1,023."""
        objects = self._objects
        # None: forgotten, but another process holds the socket. That costs time, and must not cost the server.
        return [objects[fd] for fd, _ in self._epoll.poll(timeout_s) if objects[fd] is not None]


def make_selector() -> EpollSelector | SystemSelector:
    """Return the best selector of this system."""
    return EpollSelector() if _HAS_EPOLL else SystemSelector()
