"""Classes of errno, and what the other modules share of sockets."""

import errno
import socket
from typing import Final

# accept(2): the connection was lost before it was accepted, or its network has a fault; the next may be good.
# EPERM is a firewall rule. Not every system has every name.
_NAMES: Final = """
    ECONNABORTED ECONNRESET EHOSTDOWN EHOSTUNREACH EINTR ENETDOWN ENETUNREACH ENONET ENOPROTOOPT EOPNOTSUPP EPERM EPROTO
"""
ACCEPT_NEXT: Final = frozenset(getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name))

# SO_ERROR: the peer has sent RST. Other errors may pass.
GONE: Final = frozenset({errno.ECONNRESET, errno.EPIPE})

# MSG_DONTWAIT saves the system call that makes a connection non-blocking. Windows does not have it.
NEEDS_NONBLOCKING: Final = not hasattr(socket, "MSG_DONTWAIT")
DONTWAIT: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)
# With MSG_MORE the last reply and the FIN of the close behind it share a segment.
DONTWAIT_MORE: Final[int] = DONTWAIT | getattr(socket, "MSG_MORE", 0)


class TlsError(OSError):
    """The peer's bytes are not TLS, or break its rules."""


def reason_of(error: Exception) -> str:
    """Return the text of an error, without its number."""
    if isinstance(error, UnicodeError):  # from the codec of host names
        return "that cannot be the name of a host"
    return str(getattr(error, "strerror", None) or error)
