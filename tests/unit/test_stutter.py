"""The stutter: many connections get their bytes in rounds, each on time; a fault costs one connection."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from smtppseudo.loop.stutter import ROUND_MAX, Stutter
from smtppseudo.loop.wheel import RESOLUTION_S, Wheel

NOW = 1000.0


class Speaker:
    """A machine with some bytes to send; it ends with the last, or at `expires_at`."""

    def __init__(self, data: bytes, expires_at: float = NOW + 600) -> None:
        self.left = data
        self.expires_at = expires_at

    def next_part(self, count: int, now: float) -> bytes:
        if now >= self.expires_at:
            return b""
        part, self.left = self.left[:count], self.left[count:]
        return part


class Broken:
    """A machine with a bug."""

    def next_part(self, count: int, now: float) -> bytes:
        raise ZeroDivisionError


class Member:
    """A connection over a real socket; it records its other calls."""

    def __init__(self, machine: Any) -> None:
        self.due_tick = 0
        self.machine = machine
        self.sock, self.peer = socket.socketpair()
        self.calls: list[object] = []

    def on_short_send(self, data: bytes, sent: object, now: float) -> None:
        self.calls.append((data, type(sent)))
        self.due_tick = 0

    def due(self, now: float) -> None:
        self.calls.append("due")
        self.due_tick = 0

    def fault(self, error: Exception, /) -> None:
        self.calls.append(type(error))
        self.due_tick = 0

    def received(self) -> bytes:
        self.peer.setblocking(False)
        try:
            return self.peer.recv(4096)
        except BlockingIOError:
            return b""


class Stage:
    """A wheel, a stutter, and the connections in it."""

    def __init__(self) -> None:
        self.wheel: Wheel = Wheel()
        self.stutter = Stutter(self.wheel)
        self.members: list[Member] = []

    def add(self, machine: Any, deadline: float = NOW, byte_s: float = 1.0) -> Member:
        member = Member(machine)
        self.members.append(member)
        self.stutter.add(member, deadline, byte_s)
        return member

    def serve(self, now: float) -> int:
        """Call everything that is due until nothing is; return how many calls that took."""
        calls = 0
        while due := self.wheel.take_due(now):
            calls += len(due)
            for item in due:
                try:
                    item.due(now)
                except ZeroDivisionError as error:
                    item.fault(error)
        return calls

    def close(self) -> None:
        for member in self.members:
            member.sock.close()
            member.peer.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def test_many_connections_are_sent_to_in_few_rounds_again_and_again(stage: Stage) -> None:
    members = [stage.add(Speaker(b"abcd"), NOW + number / 10_000) for number in range(2 * ROUND_MAX + 4)]
    for second, byte in enumerate(b"abcd"):
        assert stage.serve(NOW + second - 0.001) == 0
        assert stage.serve(NOW + second + 0.1) == 3
        assert {member.received() for member in members} == {bytes([byte])}
    assert {tuple(member.calls) for member in members} == {()}
    assert stage.serve(NOW + 4.1) == 3
    assert {tuple(member.calls) for member in members} == {("due",)}
    assert stage.wheel.next_due() is None


def test_rounds_that_have_shrunk_merge(stage: Stage) -> None:
    members = [stage.add(Speaker(b"a" * (9 if number % 8 == 0 else 2))) for number in range(2 * ROUND_MAX)]
    for second, rounds in enumerate((2, 2, 2, 1, 1)):
        assert stage.serve(NOW + second + 0.1) == rounds
    assert [len(member.received()) for member in members] == [5 if n % 8 == 0 else 2 for n in range(2 * ROUND_MAX)]


def test_connections_with_one_pace_share_a_round(stage: Stage) -> None:
    first = stage.add(Speaker(b"abc"))
    assert stage.serve(NOW + 0.1) == 1
    second = stage.add(Speaker(b"xyz"), NOW + 1.02)
    other_pace = stage.add(Speaker(b"123"), NOW + 1, 0.5)
    assert stage.serve(NOW + 1.1) == 2
    assert (first.received(), second.received(), other_pace.received()) == (b"ab", b"x", b"1")


def test_a_scheduled_or_cancelled_connection_is_no_longer_sent_to(stage: Stage) -> None:
    scheduled, cancelled, stays = (stage.add(Speaker(b"abc")) for _ in range(3))
    stage.wheel.schedule(scheduled, NOW + 5)
    stage.wheel.cancel(cancelled)
    stage.serve(NOW + 0.1)
    assert [member.received() for member in stage.members] == [b"", b"", b"a"]
    assert stage.wheel.next_due() == pytest.approx(NOW + 1 + RESOLUTION_S)
    stage.wheel.cancel(stays)
    assert stage.serve(NOW + 1.1) == 1
    assert stage.wheel.next_due() == pytest.approx(NOW + 5 + RESOLUTION_S)
    assert stage.serve(NOW + 5.1) == 1
    assert [member.calls for member in stage.members] == [["due"], [], []]


def test_an_added_connection_leaves_the_wheel(stage: Stage) -> None:
    member = Member(Speaker(b"abc"))
    stage.members.append(member)
    stage.wheel.schedule(member, NOW)
    stage.stutter.add(member, NOW + 0.5, 1.0)
    assert stage.wheel._stale == 1
    assert stage.serve(NOW + 0.6) == 1
    assert (member.calls, member.received()) == ([], b"a")


def test_nobody_joins_a_round_that_is_over(stage: Stage) -> None:
    first = stage.add(Speaker(b""))
    stage.serve(NOW + 0.1)
    second = stage.add(Speaker(b"abc"))
    stage.serve(NOW + 0.1)
    assert (first.calls, second.received()) == (["due"], b"a")
    stage.wheel.cancel(second)
    stage.serve(NOW + 9)
    assert stage.stutter._rounds == {}


def test_a_connection_that_joins_again_after_a_short_send_is_sent_to_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, other = stage.add(Speaker(b"abcdef")), stage.add(Speaker(b"abcdef"))
    fill(member.sock)

    def join_again(data: bytes, sent: object, now: float) -> None:
        while member.received():
            pass
        stage.stutter.add(member, now + 0.9, 1.0)

    monkeypatch.setattr(member, "on_short_send", join_again)
    for second in range(3):
        stage.serve(NOW + second + 0.1)
    assert (member.received(), other.received()) == (b"bc", b"abc")


def fill(sock: socket.socket) -> None:
    """Send until the kernel takes no more."""
    sock.setblocking(False)
    try:
        while True:
            sock.send(b"x" * 4096)
    except BlockingIOError:
        pass


def test_a_failing_socket_costs_one_connection(stage: Stage) -> None:
    members = [stage.add(Speaker(b"abc")) for _ in range(5)]
    members[1].peer.close()
    fill(members[3].sock)
    for second in (0, 1):
        stage.serve(NOW + second + 0.1)
    assert [member.calls for member in members] == [[], [(b"a", BrokenPipeError)], [], [(b"a", BlockingIOError)], []]
    assert [members[number].received() for number in (0, 2, 4)] == [b"ab"] * 3


def test_a_bug_costs_its_round_and_no_other(stage: Stage) -> None:
    others = [stage.add(Speaker(b"abc")) for _ in range(ROUND_MAX)]
    caught = [stage.add(Speaker(b"abc")), stage.add(Broken())]
    left = stage.add(Speaker(b"abc"))
    stage.wheel.schedule(left, NOW + 5)
    for second in (0, 1):
        stage.serve(NOW + second + 0.1)
    assert {member.received() for member in others} == {b"ab"}
    assert [member.calls for member in (*caught, left)] == [[ZeroDivisionError], [ZeroDivisionError], []]


def test_a_late_round_is_called_once_for_all_that_it_missed(stage: Stage) -> None:
    member = stage.add(Speaker(b"abcdef"))
    assert stage.serve(NOW + 3.5) == 1
    assert member.received() == b"abcd"
    assert stage.wheel.next_due() == pytest.approx(NOW + 4 + RESOLUTION_S)


class Clocked(Speaker):
    """A machine that counts the bytes that it gave, and knows when each is due: one `byte_s` after the last."""

    def __init__(self, began_at: float, byte_s: float, given: int = 0) -> None:
        super().__init__(b"x" * 9999)
        self.began_at = began_at
        self.byte_s = byte_s
        self.given = given

    def next_part(self, count: int, now: float) -> bytes:
        self.given += count
        return super().next_part(count, now)

    def is_on_time(self, now: float) -> bool:
        """No byte came early, none more than 100 ms late, and 10 ms for the step of this test."""
        fewest = int((now - 0.11 - self.began_at) / self.byte_s)
        return fewest <= self.given <= int((now - self.began_at) / self.byte_s + 1e-6)


@pytest.mark.parametrize("rate", [1, 3, 7, 30, 1000])
def test_each_byte_is_on_time_at_any_pace(stage: Stage, rate: int) -> None:
    """Connections join all the time, out of order; each keeps its own time."""
    byte_s = 1 / rate
    for turn in range(600):
        now = NOW + 0.01 * turn
        if turn < 300:
            began_at = now - 0.007 * (turn % 5)
            stage.add(Clocked(began_at, byte_s), began_at + byte_s, byte_s)
        stage.serve(now)
        assert all(member.machine.is_on_time(now) for member in stage.members)
    assert {tuple(member.calls) for member in stage.members} == {()}


def test_late_connections_catch_up_each_by_its_own_count(stage: Stage) -> None:
    byte_s = 1 / 3
    began_at = (NOW, NOW + 0.2, NOW + 0.3)
    members = [stage.add(Clocked(at, byte_s), at + byte_s, byte_s) for at in began_at]
    for now in (NOW + 1.5, NOW + 1.56, NOW + 1.8, NOW + 4.9):
        stage.serve(now)
        assert all(member.machine.is_on_time(now) for member in members)
    assert [len(member.received()) for member in members] == [14, 14, 13]


def test_an_expired_session_is_called_and_the_others_are_sent_to(stage: Stage) -> None:
    members = [stage.add(Speaker(b"abcdef", expires_at)) for expires_at in (NOW + 600, NOW + 1.5, NOW + 600)]
    for second in range(4):
        stage.serve(NOW + second + 0.1)
    assert [member.calls for member in members] == [[], ["due"], []]
    assert [member.received() for member in members] == [b"abcd", b"ab", b"abcd"]


def test_a_bug_after_a_failed_send_costs_one_connection(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [stage.add(Speaker(b"abc")) for _ in range(3)]
    members[1].peer.close()

    def stumble(data: bytes, sent: object, now: float) -> None:
        raise KeyError

    monkeypatch.setattr(members[1], "on_short_send", stumble)
    for second in (0, 1):
        stage.serve(NOW + second + 0.1)
    assert [member.calls for member in members] == [[], [KeyError], []]
    assert [members[number].received() for number in (0, 2)] == [b"ab"] * 2
