"""A made-up caller's connection over a socket pair, with a clock that jumps to the next timer."""

import asyncio
import selectors
import socket
from collections.abc import Coroutine, Iterator

import pytest

from smtppseudo.demo.callers import ReadReply, Reset, Script, Send, Wait
from smtppseudo.demo.traffic import CONNECTION_MAX_S, UNREAD_BYTES_MAX, Caller

Ends = tuple[socket.socket, socket.socket]
Ready = list[tuple[selectors.SelectorKey, int]]


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only when nothing is ready."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(self.Selector(self))

    def time(self) -> float:
        return self.now

    class Selector(selectors.SelectSelector):
        """Never waits."""

        def __init__(self, loop: "JumpingLoop") -> None:
            super().__init__()
            self._loop = loop

        def select(self, timeout: float | None = None) -> Ready:
            ready = super().select(0)
            if not ready:
                self._loop.now += timeout or 0
            return ready


def play(work: Coroutine[None, None, None]) -> float:
    """Run a coroutine to its end; return how many seconds it took."""
    loop = JumpingLoop()
    try:
        loop.run_until_complete(work)
        return loop.now
    finally:
        loop.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The caller's end, and the server's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def waits(*seconds: float) -> Script:
    for each in seconds:
        yield Wait(each)


def test_it_continues_after_a_wait(ends: Ends) -> None:
    assert play(Caller(ends[0]).play(waits(3.0, 5.0))) == pytest.approx(8.0)


def test_a_connection_ends_after_its_maximum_time(ends: Ends) -> None:
    script = waits(3600.0, 1.0)
    assert play(Caller(ends[0]).play(script)) == pytest.approx(CONNECTION_MAX_S)
    assert list(script) == []  # it is closed


def test_replies_are_read_whole_in_any_chunks(ends: Ends) -> None:
    replies: list[bytes] = []

    def script() -> Script:
        while True:
            replies.append((yield ReadReply()))
            yield Send(b"NOOP\r\n")

    async def server(caller: asyncio.Task[None]) -> None:
        for byte in b"220 a\r\n250-b\r\n250-c d\r\n250 e\r\n421\r\n":
            ends[1].send(bytes([byte]))
            await asyncio.sleep(1)
        ends[1].send(b"221 f\r\n250 g\r\n")
        await asyncio.sleep(1)
        assert not caller.done()
        ends[1].shutdown(socket.SHUT_WR)

    async def both() -> None:
        caller = asyncio.create_task(Caller(ends[0]).play(script()))
        await server(caller)
        await caller

    play(both())
    assert replies == [b"220 a\r\n", b"250-b\r\n250-c d\r\n250 e\r\n", b"421\r\n", b"221 f\r\n", b"250 g\r\n"]
    assert ends[1].recv(100) == b"NOOP\r\n" * 5


def test_unread_bytes_are_bounded(ends: Ends) -> None:
    caller = Caller(ends[0])
    ends[1].sendall((b"250 " + bytes(4_000) + b"\r\n") * 20)
    play(caller.play(waits(60.0)))
    assert len(caller.unread) == UNREAD_BYTES_MAX


def test_it_ends_when_the_server_closes(ends: Ends) -> None:
    ends[1].close()
    assert play(Caller(ends[0]).play(waits(60.0))) == 0


def test_a_reset_ends_it(ends: Ends) -> None:
    def script() -> Script:
        yield Wait(1.0)
        yield Reset()
        yield Wait(60.0)

    assert play(Caller(ends[0]).play(script())) == pytest.approx(1.0)


def test_it_ends_when_the_send_buffer_is_full(ends: Ends) -> None:
    def script() -> Script:
        while True:
            yield Send(bytes(100_000))

    assert play(Caller(ends[0]).play(script())) == 0
