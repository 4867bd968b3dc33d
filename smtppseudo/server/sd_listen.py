"""Listening sockets that the parent process opened, as systemd does: sd_listen_fds(3)."""

import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, NamedTuple

from smtppseudo.config.settings import SettingsError, Warn
from smtppseudo.loop.listener import adopt
from smtppseudo.net.addresses import plain_address
from smtppseudo.net.errnos import reason_of

_FIRST_FD: Final = 3
_FDS_MAX: Final = 64


class InheritedSockets(NamedTuple):
    """The inherited sockets for SMTP and for monitors."""

    smtp: tuple[socket.socket, ...] = ()
    monitor: tuple[socket.socket, ...] = ()

    def as_settings(self) -> dict[str, Any]:
        """Return the settings that these sockets determine: addresses and ports."""
        values: dict[str, Any] = {}
        for prefix, socks in (("", self.smtp), ("monitor_", self.monitor)):
            if socks:
                addresses = [plain_address(sock.getsockname()) for sock in socks]
                values[f"{prefix}listen"] = tuple(dict.fromkeys(addresses))  # one address may have several ports
                values[f"{prefix}port"] = socks[0].getsockname()[1]
        return values


def inherit_sockets(environ: MutableMapping[str, str], warn: Warn) -> InheritedSockets:
    """Return the sockets meant for this process; remove the variables from `environ`. Raises SettingsError."""
    pid = os.getpid()
    named = parse_environment(environ, pid)
    meant_for = environ.get("LISTEN_PID", str(pid))
    if meant_for != str(pid):
        warn(
            f"warning: LISTEN_PID is {meant_for!r} and this process is {pid}, so that it does not use the sockets of"
            " the service manager; a script that starts the server must start it with exec"
        )
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"):
        environ.pop(variable, None)  # child processes must not use them
    socks: dict[str, list[socket.socket]] = {"smtp": [], "monitor": []}
    for fd, name in named:
        try:
            os.set_inheritable(fd, False)
            socks[name].append(adopt(fd))
        except OSError as error:
            why = f"is not a TCP socket to listen on: {reason_of(error)}"
            raise SettingsError(f"the inherited socket with descriptor {fd} ({name}) {why}") from None
    return InheritedSockets(tuple(socks["smtp"]), tuple(socks["monitor"]))


def parse_environment(environ: Mapping[str, str], pid: int) -> list[tuple[int, str]]:
    """Return the descriptors meant for the process `pid`, with their names. Raises SettingsError."""
    if environ.get("LISTEN_PID") != str(pid):
        return []
    text = environ.get("LISTEN_FDS", "")
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(_FDS_MAX)) or int(text) > _FDS_MAX:
        raise SettingsError(f"LISTEN_FDS must be a whole number from 0 to {_FDS_MAX}, not {text!r}")
    count = int(text)
    names = environ.get("LISTEN_FDNAMES", "").split(":") if count else []
    if len(names) != count:
        raise SettingsError(f"LISTEN_FDNAMES names {len(names)}, but LISTEN_FDS is {count}; each socket needs a name")
    named = list(enumerate(names, _FIRST_FD))
    for fd, name in named:
        if name not in InheritedSockets._fields:
            raise SettingsError(
                f"the inherited socket with descriptor {fd} is named {name!r}, and must be named smtp or monitor;"
                " FileDescriptorName= in a systemd socket unit names it"
            )
    return named
