"""Messages to the service manager: sd_notify(3). Without a service manager nothing is sent."""

import os
import socket
import struct
import time
from collections.abc import Callable, MutableMapping
from typing import Final

from smtppseudo.events import printable
from smtppseudo.loop.reactor import Reactor, Timer

STATUS_EVERY_S: Final = 3.0
_SEND_TIMEOUT_S: Final = 1
_LINE_MAX_BYTES: Final = 2000  # systemd ignores messages of more than 4,096 bytes


class Notifier:
    """Sends messages to the service manager. Removes its variables from `environ`; raises nothing."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        name = environ.pop("NOTIFY_SOCKET", "")
        pid, usec = environ.pop("WATCHDOG_PID", ""), environ.pop("WATCHDOG_USEC", "")
        self.watchdog_s = 0.0  # the manager's watchdog time-out in seconds; 0 = off
        self._socket: socket.socket | None = None  # made with the first message, then kept: descriptors may run out
        self._address = name if name.startswith(("/", "@")) and hasattr(socket, "AF_UNIX") else ""
        if self._address.startswith("@"):
            self._address = "\0" + name[1:]
        self.has_manager = bool(self._address)
        if self.has_manager and pid in ("", str(os.getpid())) and usec.isascii() and usec.isdecimal():
            self.watchdog_s = int(usec[:18]) / 1e6

    def ready(self, status: str) -> bool:
        """Report that the server is ready; return whether the message was sent."""
        return self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Report that the settings are being read again; `ready` must follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the server stops."""
        self._send("STOPPING=1", "STATUS=Stopping")

    def status(self, text: str, *, wait: bool = True) -> bool:
        """Report the status in one line; return whether the message was sent."""
        return self._send(f"STATUS={text}", wait=wait)

    def alive(self) -> None:
        """Reset the watchdog."""
        self._send("WATCHDOG=1", wait=False)

    def close(self) -> None:
        """Send nothing more."""
        self._address = ""
        if self._socket is not None:
            self._socket.close()

    def _send(self, *lines: str, wait: bool = True) -> bool:
        if not self._address:
            return False
        data = "\n".join(printable(line.replace("\n", " "))[:_LINE_MAX_BYTES] for line in lines).encode("ascii")
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                # Not settimeout(): poll(2) calls an unconnected socket writable even if the manager's queue is full.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_TIMEOUT_S, 0))
            self._socket.sendto(data, 0 if wait else socket.MSG_DONTWAIT, self._address)
        except OSError:
            return False  # a message that is not sent must not stop the server
        return True


class Heartbeat:
    """Resets the watchdog every 3 s, or twice in a shorter time-out; reports what `status` returns if it changed."""

    def __init__(self, notifier: Notifier, reactor: Reactor, status: Callable[[], str]) -> None:
        self._notifier = notifier
        self._reactor = reactor
        self._status = status
        self._reported = ""
        self._timer = Timer(reactor, self._beat)
        self._every_s = min(STATUS_EVERY_S, notifier.watchdog_s / 2 or STATUS_EVERY_S)

    def begin(self) -> None:
        """Report that the server is ready, and schedule the messages to come."""
        if self._notifier.has_manager:
            self.ready()
            self._reactor.wheel.schedule(self._timer, self._reactor.clock.now + self._every_s)

    def ready(self) -> None:
        """Report that the server is ready, at its start or after a reload."""
        status = self._status()
        if self._notifier.ready(status):
            self._reported = status

    def _beat(self, now: float) -> None:
        self._reactor.wheel.schedule(self._timer, now + self._every_s)
        if self._notifier.watchdog_s:
            self._notifier.alive()
        status = self._status()
        if status != self._reported and self._notifier.status(status, wait=False):
            self._reported = status
