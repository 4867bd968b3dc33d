"""A port: listened on at several addresses, which are opened, suspended, resumed and closed as one."""

import errno
import os
import socket
from collections.abc import Callable
from typing import TypeAlias

from smtppseudo.loop.listener import Listener, ListenError, OnAccept, listen
from smtppseudo.loop.reactor import Reactor
from smtppseudo.net.addresses import plain_address

HandlerFor: TypeAlias = Callable[[str], OnAccept]  # by the address that is listened on


class Port:
    """Listens at all addresses of a port, or at none.

    `handler_for` gives whoever takes what is accepted at an address. `say` hears of an address that this machine
    does not have; `on_trouble` and `on_fault` are the listeners'.
    """

    def __init__(
        self,
        reactor: Reactor,
        handler_for: HandlerFor,
        say: Callable[[str], None],
        on_trouble: Callable[[str], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self._reactor = reactor
        self._on_accept_by = handler_for
        self._say = say
        self._on_trouble = on_trouble
        self._on_fault = on_fault
        self._listeners: list[Listener] = []

    @property
    def places(self) -> list[tuple[str, int]]:
        """The addresses and ports that are listened on."""
        return [(listener.address, listener.port) for listener in self._listeners]

    def open(self, addresses: tuple[str, ...], port: int, inherited: tuple[socket.socket, ...]) -> None:
        """Listen on what is inherited, or if that is nothing, on a port at each address; 0 is any free one.

        Raises ListenError; then at none.
        """
        if inherited:
            for sock in inherited:
                self._add(sock, is_inherited=True)
            return
        try:
            for address in addresses:
                self._listen(address, port, may_be_left_out=len(addresses) > 1)
                if self._listeners:
                    port = self._listeners[0].port  # where any free port is taken, the same at each address
        except ListenError:
            self.close()
            raise

    def suspend(self) -> None:
        """Refuse connections. Raises OSError; then it listens on."""
        self._all_or_none(Listener.suspend, Listener.resume)

    def resume(self) -> None:
        """Take connections again. Raises ListenError; then it stays suspended."""
        self._all_or_none(Listener.resume, Listener.suspend)

    def close(self) -> None:
        """Stop listening for good."""
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _listen(self, address: str, port: int, *, may_be_left_out: bool) -> None:
        try:
            sock = listen(address, port)
        except ListenError as error:
            no_ipv6 = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and address in ("::", "::1")
            if not (no_ipv6 and may_be_left_out):
                raise
            self._say(f"this machine has no IPv6; not listening on {address}")
        else:
            self._add(sock, is_inherited=False)

    def _add(self, sock: socket.socket, *, is_inherited: bool) -> None:
        on_accept = self._on_accept_by(plain_address(sock.getsockname()))
        listener = Listener(sock, self._reactor, on_accept, self._on_trouble, self._on_fault, is_inherited=is_inherited)
        self._listeners.append(listener)

    def _all_or_none(self, do: Callable[[Listener], None], undo: Callable[[Listener], None]) -> None:
        done: list[Listener] = []
        try:
            for listener in self._listeners:
                do(listener)
                done.append(listener)
        except (OSError, ListenError):
            for listener in done:
                self._take_back(undo, listener)
            raise

    def _take_back(self, undo: Callable[[Listener], None], listener: Listener) -> None:
        try:
            undo(listener)
        except (OSError, ListenError) as error:
            reason = os.strerror(error.errno or 0)
            self._on_trouble(f"{listener.address} port {listener.port} is not as the other addresses: {reason}")
