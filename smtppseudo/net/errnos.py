"""What an errno of a socket means for us; the one place for that."""

import errno
import socket
from typing import Final

# accept(2): the connection is gone before we had it, or its network has a fault; the next may be well.
ACCEPT_NEXT: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        getattr(errno, "ENONET", errno.ENETDOWN),  # Linux alone
        errno.EPERM,  # a firewall rule
        errno.EINTR,
    }
)

# SO_ERROR: the peer has sent RST. What else it says may pass.
GONE: Final = frozenset({errno.ECONNRESET, errno.EPIPE})

# MSG_DONTWAIT spares a system call a connection to make it non-blocking; Windows does not have it.
NEEDS_NONBLOCKING: Final = not hasattr(socket, "MSG_DONTWAIT")
DONTWAIT: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)
# With MSG_MORE the last reply and the FIN of the close that follows share a segment.
DONTWAIT_MORE: Final[int] = DONTWAIT | getattr(socket, "MSG_MORE", 0)


class TlsError(OSError):
    """What came is not TLS, or not as it was agreed on."""


def reason_of(error: Exception) -> str:
    """Return what an error says, without its number."""
    if isinstance(error, UnicodeError):  # of a name that the codec of host names does not take
        return "that cannot be the name of a host"
    return str(getattr(error, "strerror", None) or error)
