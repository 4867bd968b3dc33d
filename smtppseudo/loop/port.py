"""A port: the listeners on all its addresses, which open, suspend, resume and close together."""

import errno
import os
import socket
from collections.abc import Callable

from smtppseudo.config.settings import Warn
from smtppseudo.loop.listener import Listener, ListenError, OnAccept, listen
from smtppseudo.loop.reactor import Reactor
from smtppseudo.net.addresses import includes, plain_address


class Port:
    """Listens on all addresses of a port, or on none.

    `handler_for` returns the accept handler of an address. `say` receives a line about an address that this machine
    does not have. `on_trouble` is that of `Listener`.
    """

    def __init__(self, reactor: Reactor, handler_for: Callable[[str], OnAccept], say: Warn, on_trouble: Warn) -> None:
        self._reactor = reactor
        self._handler_for = handler_for
        self._say = say
        self._on_trouble = on_trouble
        self._listeners: list[Listener] = []

    @property
    def places(self) -> list[tuple[str, int]]:
        """The address and port of each listener."""
        return [(listener.address, listener.port) for listener in self._listeners]

    @property
    def is_suspended(self) -> bool:
        """Whether a listener is suspended: all are, or after two errors some (`_undo`)."""
        return any(listener.is_suspended for listener in self._listeners)

    def open(self, addresses: tuple[str, ...], port: int, inherited: tuple[socket.socket, ...]) -> None:
        """Listen on the inherited sockets, else on a port of each address (0 = any free). Raises ListenError."""
        for sock in inherited:
            self._add(sock, is_inherited=True)
        try:
            for address in () if inherited else addresses:
                self._listen(address, port, is_optional=len(addresses) > 1)
                if self._listeners:
                    port = self._listeners[0].port  # the same free port on each address
        except ListenError:
            self.close()
            raise

    def renew_handlers(self) -> None:
        """Use the accept handlers that `handler_for` returns now, for new connections."""
        for listener in self._listeners:
            listener.on_accept = self._handler_for(plain_address((listener.address,)))

    def suspend(self) -> None:
        """Refuse connections. Raises OSError; then all listeners still listen."""
        self._all_or_none(
            [each for each in self._listeners if not each.is_suspended], Listener.suspend, Listener.resume
        )

    def resume(self) -> None:
        """Accept connections again. Raises ListenError; then all listeners stay suspended."""
        self._all_or_none([each for each in self._listeners if each.is_suspended], Listener.resume, Listener.suspend)

    def close(self) -> None:
        """Stop listening."""
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _listen(self, address: str, port: int, *, is_optional: bool) -> None:
        try:
            sock = listen(address, port)
        except ListenError as error:
            no_ipv6 = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and address in ("::", "::1")
            if not (no_ipv6 and is_optional):
                error.overlaps = next(
                    (ip for ip, _ in self.places if includes(ip, address) or includes(address, ip)), ""
                )
                raise
            self._say(f"this machine has no IPv6; not listening on {address}")
        else:
            self._add(sock, is_inherited=False)

    def _add(self, sock: socket.socket, *, is_inherited: bool) -> None:
        handler = self._handler_for(plain_address(sock.getsockname()))
        self._listeners.append(Listener(sock, self._reactor, handler, self._on_trouble, is_inherited=is_inherited))

    def _all_or_none(
        self, listeners: list[Listener], do: Callable[[Listener], None], undo: Callable[[Listener], None]
    ) -> None:
        for done, listener in enumerate(listeners):
            try:
                do(listener)
            except (OSError, ListenError):
                for each in listeners[:done]:
                    self._undo(undo, each)
                raise

    def _undo(self, undo: Callable[[Listener], None], listener: Listener) -> None:
        try:
            undo(listener)
        except (OSError, ListenError) as error:
            reason = os.strerror(error.errno or 0)
            self._on_trouble(f"{listener.address} port {listener.port} is not as the other addresses: {reason}")
