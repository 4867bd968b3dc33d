"""The stutter: who comes again together is sent to together, and nobody suffers for another."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from smtppseudo.loop.stutter import Stutter
from smtppseudo.loop.wheel import RESOLUTION_S, Wheel

NOW = 1000.0


class Bytes:
    """A machine that has an byte to give each time, so many times."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    expires_at = NOW + 600

    def next_part(self, data: int) -> bytes:
        part, self.left = self.left[:data], self.left[data:]
        return part


class Broken:
    """A machine with a bug."""

    expires_at = NOW + 600

    def next_part(self, data: int) -> bytes:
        raise ZeroDivisionError


class Member:
    """One who is sent to, over a real socket; it takes down what else it is told."""

    def __init__(self, machine: Any) -> None:
        self.due_tick = 0
        self.machine = machine
        self.sock, self.peer = socket.socketpair()
        self.told: list[object] = []

    def fell_short(self, data: bytes, taken: object, now: float) -> None:
        self.told.append((data, type(taken)))
        self.due_tick = 0

    def due(self, now: float) -> None:
        self.told.append("due")
        self.due_tick = 0

    def fault(self, error: Exception) -> None:
        self.told.append(type(error))
        self.due_tick = 0

    def heard(self) -> bytes:
        self.peer.setblocking(False)
        try:
            return self.peer.recv(4096)
        except BlockingIOError:
            return b""


class Stage:
    """A wheel, a stutter, and those who joined it."""

    def __init__(self) -> None:
        self.wheel: Wheel[Member] = Wheel()
        self.stutter = Stutter(self.wheel)
        self.members: list[Member] = []

    def join(self, machine: Any, deadline: float = NOW, every_s: float = 1.0) -> Member:
        member = Member(machine)
        self.members.append(member)
        self.stutter.join(member, deadline, every_s)
        return member

    def look(self, now: float) -> int:
        """See to what is due; return how many items the wheel had."""
        due = self.wheel.take_due(now)
        for item in due:
            try:
                item.due(now)
            except ZeroDivisionError as error:
                item.fault(error)
        return len(due)

    def close(self) -> None:
        for member in self.members:
            member.sock.close()
            member.peer.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def test_many_are_sent_to_in_few_rounds_again_and_again(stage: Stage) -> None:
    members = [stage.join(Bytes(b"abcd"), NOW + number / 10_000) for number in range(260)]
    for second, byte in enumerate(b"abcd"):
        assert stage.look(NOW + second - 0.001) == 0
        assert stage.look(NOW + second + 0.1) == 3
        assert {member.heard() for member in members} == {bytes([byte])}
    assert {tuple(member.told) for member in members} == {()}
    assert stage.look(NOW + 4.1) == 3
    assert {tuple(member.told) for member in members} == {("due",)}
    assert stage.wheel.next_due() is None


def test_rounds_that_have_shrunk_become_one(stage: Stage) -> None:
    members = [stage.join(Bytes(b"a" * (9 if number % 8 == 0 else 2))) for number in range(256)]
    for second, rounds in enumerate((2, 2, 2, 1, 1)):
        assert stage.look(NOW + second + 0.1) == rounds
    assert [len(member.heard()) for member in members] == [5 if number % 8 == 0 else 2 for number in range(256)]


def test_a_newcomer_joins_the_round_of_those_who_are_there(stage: Stage) -> None:
    first = stage.join(Bytes(b"abc"))
    assert stage.look(NOW + 0.1) == 1
    second = stage.join(Bytes(b"xyz"), NOW + 1.02)
    other_pace = stage.join(Bytes(b"123"), NOW + 1, 0.5)
    assert stage.look(NOW + 1.1) == 2
    assert (first.heard(), second.heard(), other_pace.heard()) == (b"ab", b"x", b"1")


def test_who_is_scheduled_or_cancelled_is_sent_to_no_more(stage: Stage) -> None:
    scheduled, cancelled, stays = (stage.join(Bytes(b"abc")) for _ in range(3))
    stage.wheel.schedule(scheduled, NOW + 5)
    stage.wheel.cancel(cancelled)
    stage.look(NOW + 0.1)
    assert [member.heard() for member in stage.members] == [b"", b"", b"a"]
    assert stage.wheel.next_due() == pytest.approx(NOW + 1 + RESOLUTION_S)
    stage.wheel.cancel(stays)
    assert stage.look(NOW + 1.1) == 1
    assert stage.wheel.next_due() == pytest.approx(NOW + 5 + RESOLUTION_S)
    assert stage.look(NOW + 5.1) == 1
    assert [member.told for member in stage.members] == [["due"], [], []]


def test_one_whose_socket_fails_costs_itself_alone(stage: Stage) -> None:
    members = [stage.join(Bytes(b"abc")) for _ in range(5)]
    members[1].peer.close()
    members[3].sock.setblocking(False)
    while True:
        try:
            members[3].sock.send(b"x" * 4096)
        except BlockingIOError:
            break
    for second in (0, 1):
        stage.look(NOW + second + 0.1)
    assert [member.told for member in members] == [[], [(b"a", BrokenPipeError)], [], [(b"a", BlockingIOError)], []]
    assert [members[number].heard() for number in (0, 2, 4)] == [b"ab"] * 3


def test_a_bug_costs_its_round_and_no_other(stage: Stage) -> None:
    others = [stage.join(Bytes(b"abc")) for _ in range(128)]
    caught = [stage.join(Bytes(b"abc")), stage.join(Broken())]
    for second in (0, 1):
        stage.look(NOW + second + 0.1)
    assert {member.heard() for member in others} == {b"ab"}
    assert [member.told for member in caught] == [[ZeroDivisionError]] * 2


def test_a_round_that_is_seen_to_late_does_not_come_again_for_what_it_missed(stage: Stage) -> None:
    stage.join(Bytes(b"abcdef"))
    assert stage.look(NOW + 3.5) == 1
    assert stage.wheel.next_due() == pytest.approx(NOW + 4 + RESOLUTION_S)


class Third(Bytes):
    """A machine whose bytes are due each third of a second, from a third after it has begun."""

    def __init__(self, begun_at: float, given: int = 0) -> None:
        super().__init__(b"x" * 99)
        self.begun_at = begun_at
        self.given = given

    def next_part(self, data: int) -> bytes:
        self.given += data
        return super().next_part(data)

    def is_on_time(self, now: float) -> bool:
        """None of its bytes came early, none more than 100 ms late."""
        return int((now - 0.1 - self.begun_at) * 3) <= self.given <= int((now - self.begun_at) * 3 + 1e-6)


def test_at_an_odd_pace_each_byte_is_on_time_and_nobody_drops_out(stage: Stage) -> None:
    for number in range(8):
        begun_at = NOW + 0.001 + 0.006 * (number * 5 % 8)  # not in their order
        stage.join(Third(begun_at), begun_at + 1 / 3, 1 / 3)
    for turn in range(6, 400):
        stage.look(NOW + 0.01 * turn)
        assert all(member.machine.is_on_time(NOW + 0.01 * turn) for member in stage.members)
    assert [member.told for member in stage.members] == [[]] * 8


def test_rounds_that_merge_wait_for_the_last_of_theirs(stage: Stage) -> None:
    early = [stage.join(Third(NOW + 0.001), NOW + 0.001 + 1 / 3, 1 / 3) for _ in range(3)]
    stage.look(NOW + 0.4)
    begun_at = NOW + 0.03
    late = stage.join(Third(begun_at, given=1), begun_at + 2 / 3, 1 / 3)
    for turn in range(40, 200):
        stage.look(NOW + 0.01 * turn)
        assert all(member.machine.is_on_time(NOW + 0.01 * turn) for member in (*early, late))
    assert [member.told for member in (*early, late)] == [[]] * 4


def test_a_round_that_is_late_catches_up(stage: Stage) -> None:
    member = stage.join(Third(NOW), NOW + 1 / 3, 1 / 3)
    for now in (NOW + 1.5, NOW + 1.55, NOW + 1.8, NOW + 4.9):
        stage.look(now)
        assert member.machine.is_on_time(now)
    assert len(member.heard()) == 14


def test_who_is_over_is_looked_at_and_the_others_are_sent_to(stage: Stage) -> None:
    machines = [Bytes(b"abcdef") for _ in range(3)]
    machines[1].expires_at = NOW + 1.5
    members = [stage.join(machine) for machine in machines]
    for second in range(4):
        stage.look(NOW + second + 0.1)
    assert [member.told for member in members] == [[], ["due"], []]
    assert [member.heard() for member in members] == [b"abcd", b"ab", b"abcd"]


def test_a_bug_in_seeing_to_one_costs_that_one_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [stage.join(Bytes(b"abc")) for _ in range(3)]
    members[1].peer.close()

    def stumble(data: bytes, taken: object, now: float) -> None:
        raise KeyError

    monkeypatch.setattr(members[1], "fell_short", stumble)
    for second in (0, 1):
        stage.look(NOW + second + 0.1)
    assert [member.told for member in members] == [[], [KeyError], []]
    assert [members[number].heard() for number in (0, 2)] == [b"ab"] * 2
