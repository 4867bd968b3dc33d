"""The selector of the loop, and what it can watch on this system."""

import errno
import os
import selectors
from typing import Any, Final

_KIND: Final = selectors.DefaultSelector.__name__
_IS_SELECT: Final = _KIND == "SelectSelector"

WATCHED_MAX: Final = (512 if os.name == "nt" else 1024) if _IS_SELECT else None
"""How many descriptors select(2) can watch (FD_SETSIZE); None without this limit."""

REPORTS_ERRORS: Final = _KIND not in ("SelectSelector", "KqueueSelector")
"""Whether a descriptor that is watched with a mask of 0 reports errors, as with epoll and poll."""


def make_selector() -> selectors.BaseSelector:
    """Return the best selector of this system."""
    return _BoundedSelector() if _IS_SELECT else selectors.DefaultSelector()


class _BoundedSelector(selectors.SelectSelector):
    """A selector that refuses a descriptor beyond its limit. `SelectSelector` would then fail in every turn."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Start watching. Raises OSError at the limit: on Windows a count, elsewhere the number of the descriptor."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if (len(self.get_map()) if os.name == "nt" else fd) >= (WATCHED_MAX or 0):
            raise OSError(errno.EMFILE, f"select(2) watches at most {WATCHED_MAX} descriptors")
        return super().register(fileobj, events, data)
