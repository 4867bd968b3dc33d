"""The reactor: a long turn has breaks, in which listeners accept."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from smtppseudo.loop.clock import Clock
from smtppseudo.loop.reactor import Reactor, Timer


class Probe:
    """A watched or timed object that records its calls, and takes some time for each."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.due_tick = 0
        self._call = call

    def ready(self, now: float) -> None:
        self._call()

    def due(self, now: float) -> None:
        self._call()

    def fault(self, error: Exception, /) -> None:
        raise error


class Scene:
    """A reactor on a clock that each call of a probe moves."""

    def __init__(self, each_takes_s: float) -> None:
        self.now = 1000.0
        self.seen: list[str] = []
        self.reactor = Reactor(Clock(monotonic=lambda: self.now))
        self.reactor.on_fault = fail
        self.sockets: list[socket.socket] = []
        self._each_takes_s = each_takes_s

    def probe(self) -> Probe:
        def call() -> None:
            self.seen.append("other")
            self.now += self._each_takes_s

        return Probe(call)

    def listen(self) -> Timer:
        """Accept at the end of a turn and in breaks, as a listener does."""
        timer = Timer(self.reactor, lambda now: self.seen.append("accept"))
        self.reactor.watch(self.readable(), Probe(lambda: self.reactor.at_end_of_turn.append(timer)))
        self.reactor.in_breaks.append(timer)
        return timer

    def readable(self) -> int:
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        ours.send(b"x")
        return theirs.fileno()


def fail(error: Exception) -> None:
    raise error


@pytest.fixture
def scenes() -> Iterator[list[Scene]]:
    made: list[Scene] = []
    yield made
    for scene in made:
        scene.reactor.close()
        for sock in scene.sockets:
            sock.close()


@pytest.mark.parametrize(("each_takes_s", "most_between"), [(0.01, 4), (0.001, 12), (0.0, 64)])
@pytest.mark.parametrize("timed", [False, True], ids=["ready", "due"])
def test_a_long_turn_accepts_between_the_other_calls(
    scenes: list[Scene], each_takes_s: float, most_between: int, timed: bool
) -> None:
    scene = Scene(each_takes_s)
    scenes.append(scene)
    for _ in range(64):
        if timed:
            scene.reactor.wheel.schedule(scene.probe(), scene.now + 0.01)
        else:
            scene.reactor.watch(scene.readable(), scene.probe())
    scene.now += 1
    scene.listen()
    scene.reactor.turn(0)
    accepts = [number for number, name in enumerate(scene.seen) if name == "accept"]
    gaps = [after - before for before, after in zip([0, *accepts], [*accepts, len(scene.seen)], strict=True)]
    assert max(gaps) <= most_between + 1
    assert scene.seen.count("other") == 64


def test_after_turn_is_called_in_breaks_too(scenes: list[Scene]) -> None:
    scene = Scene(0.001)
    scenes.append(scene)
    scene.reactor.after_turn = lambda: scene.seen.append("after")
    for _ in range(48):
        scene.reactor.watch(scene.readable(), scene.probe())
    scene.reactor.turn(0)
    assert scene.seen[-1] == "after"
    assert scene.seen.count("after") == 4


def test_a_timer_that_was_removed_is_not_called_in_breaks(scenes: list[Scene]) -> None:
    scene = Scene(1.0)
    scenes.append(scene)
    for _ in range(40):
        scene.reactor.watch(scene.readable(), scene.probe())
    timer = Timer(scene.reactor, lambda now: scene.seen.append("accept"))
    scene.reactor.in_breaks.append(timer)
    scene.reactor.in_breaks.remove(timer)
    scene.reactor.turn(0)
    assert scene.seen == ["other"] * 40


def test_connections_are_accepted_after_everything_that_is_ready(scenes: list[Scene]) -> None:
    """Sessions that end in this turn free their slots first."""
    scene = Scene(0.0)
    scenes.append(scene)
    scene.listen()
    for _ in range(5):
        scene.reactor.watch(scene.readable(), scene.probe())
    scene.reactor.turn(0)
    assert scene.seen == [*["other"] * 5, "accept"]


def test_a_bug_of_a_timer_is_reported_and_the_others_are_called(scenes: list[Scene]) -> None:
    scene = Scene(0.0)
    scenes.append(scene)
    faults: list[Exception] = []
    scene.reactor.on_fault = faults.append

    def stumble(now: float) -> None:
        raise ZeroDivisionError

    for _ in range(3):
        scene.reactor.wheel.schedule(Timer(scene.reactor, stumble), scene.now)
        scene.reactor.wheel.schedule(scene.probe(), scene.now)
    scene.reactor.at_end_of_turn.append(Timer(scene.reactor, stumble))
    scene.now += 1
    scene.reactor.turn(0)
    assert [type(fault) for fault in faults] == [ZeroDivisionError] * 4
    assert scene.seen == ["other"] * 3


def test_another_thread_wakes_the_loop(scenes: list[Scene]) -> None:
    scene = Scene(0.0)
    scenes.append(scene)
    called: list[float] = []
    thread = threading.Thread(target=scene.reactor.call_soon, args=(called.append,))
    thread.start()
    scene.reactor.turn()  # waits without a time limit
    thread.join()
    assert called == [scene.now]


def test_a_call_that_raises_costs_no_other(scenes: list[Scene]) -> None:
    scene = Scene(0.0)
    scenes.append(scene)
    faults: list[Exception] = []
    scene.reactor.on_fault = faults.append
    called: list[float] = []
    scene.reactor.call_soon(lambda now: fail(ValueError("a bug")))
    scene.reactor.call_soon(called.append)
    scene.reactor.turn()
    assert (len(faults), called) == (1, [scene.now])


def test_more_wake_ups_than_the_socket_holds_are_no_error(scenes: list[Scene]) -> None:
    scene = Scene(0.0)
    scenes.append(scene)
    called: list[float] = []
    for _ in range(10_000):
        scene.reactor.call_soon(called.append)
    scene.reactor.turn()
    assert len(called) == 10_000


def test_a_socket_of_our_own_that_is_not_watched_any_more_reports_nothing(scenes: list[Scene]) -> None:
    """Not even to the next socket, which often gets the same number."""
    scene = Scene(0.0)
    scenes.append(scene)
    reactor = scene.reactor
    for _ in range(3):
        fd = scene.readable()
        reactor.watch(fd, Probe(lambda: fail(ValueError("it is closed"))))
        reactor.unwatch_own(fd)
        scene.sockets.pop().close()
        reactor.turn(0)
    reactor.unwatch_own(scene.readable())  # it never was
    reactor.watch(scene.readable(), scene.probe())
    reactor.turn(0)
    assert scene.seen == ["other"]


@pytest.mark.parametrize("days", [30, 3_650])
def test_a_deadline_may_be_later_than_the_system_can_wait(scenes: list[Scene], days: int) -> None:
    scene = Scene(0.0)
    scenes.append(scene)
    scene.reactor.wheel.schedule(scene.probe(), scene.now + days * 86_400)
    scene.reactor.watch(scene.readable(), scene.probe())
    scene.reactor.turn()
    assert scene.seen == ["other"]
    scene.now += days * 86_400 + 1
    scene.reactor.turn(0)
    assert scene.seen.count("other") == 3  # the socket again, and the deadline
