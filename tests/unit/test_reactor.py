"""The loop: in a turn that takes long, newcomers are let in between the others."""

import socket
from collections.abc import Callable, Iterator

import pytest

from smtppseudo.loop.clock import Clock
from smtppseudo.loop.reactor import Reactor


class Seen:
    """Something watched, or timed: notes in what order it is called, and takes its time."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.due_tick = 0
        self._call = call

    def ready(self, mask: int, now: float) -> None:
        self._call()

    def due(self, now: float) -> None:
        self._call()

    def fault(self, error: Exception) -> None:
        raise error


class SeenDoor(Seen):
    """A door: newcomers are let in when all that is ready has been seen to."""

    def __init__(self, reactor: Reactor, call: Callable[[], object]) -> None:
        super().__init__(lambda: reactor.accept_at_end_of_turn(self))
        self._let_in = call

    def admit(self, now: float) -> None:
        self._let_in()


class Scene:
    """A loop with a door where somebody waits, on a clock that each of the others moves."""

    def __init__(self, each_takes_s: float) -> None:
        self.now = 1000.0
        self.seen: list[str] = []
        self.reactor = Reactor(Clock(monotonic=lambda: self.now))
        self.sockets: list[socket.socket] = []
        self._each_takes_s = each_takes_s

    def other(self) -> Seen:
        def call() -> None:
            self.seen.append("other")
            self.now += self._each_takes_s

        return Seen(call)

    def readable(self) -> int:
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        ours.send(b"x")
        return theirs.fileno()


@pytest.fixture
def scenes() -> Iterator[list[Scene]]:
    made: list[Scene] = []
    yield made
    for scene in made:
        scene.reactor.close()
        for sock in scene.sockets:
            sock.close()


@pytest.mark.parametrize(("each_takes_s", "most_before_a_door"), [(0.01, 4), (0.001, 12), (0.0, 64)])
@pytest.mark.parametrize("timed", [False, True], ids=["ready", "due"])
def test_a_door_waits_for_no_more_than_some(
    scenes: list[Scene], each_takes_s: float, most_before_a_door: int, timed: bool
) -> None:
    scene = Scene(each_takes_s)
    scenes.append(scene)
    for _ in range(64):
        if timed:
            scene.reactor.wheel.schedule(scene.other(), scene.now + 0.01)
        else:
            scene.reactor.watch(scene.readable(), scene.other())
    scene.now += 1
    scene.reactor.watch_acceptor(scene.readable(), SeenDoor(scene.reactor, lambda: scene.seen.append("door")))
    scene.reactor.turn(0)
    doors = [number for number, name in enumerate(scene.seen) if name == "door"]
    gaps = [after - before for before, after in zip([0, *doors], [*doors, len(scene.seen)], strict=True)]
    assert max(gaps) <= most_before_a_door + 1
    assert scene.seen.count("other") == 64


def test_what_has_been_seen_to_is_finished_in_the_breaks_too(scenes: list[Scene]) -> None:
    scene = Scene(0.001)
    scenes.append(scene)
    scene.reactor.after_turn = lambda: scene.seen.append("after")
    for _ in range(48):
        scene.reactor.watch(scene.readable(), scene.other())
    scene.reactor.turn(0)
    assert scene.seen[-1] == "after"
    assert scene.seen.count("after") == 4


def test_a_door_that_is_watched_no_more_is_left_alone(scenes: list[Scene]) -> None:
    scene = Scene(1.0)
    scenes.append(scene)
    for _ in range(40):
        scene.reactor.watch(scene.readable(), scene.other())
    fd = scene.readable()
    scene.reactor.watch_acceptor(fd, SeenDoor(scene.reactor, lambda: scene.seen.append("door")))
    scene.reactor.unwatch_acceptor(fd)
    scene.reactor.turn(0)
    assert scene.seen == ["other"] * 40


def test_newcomers_are_let_in_behind_all_that_is_ready(scenes: list[Scene]) -> None:
    """Who leaves in this turn makes room for them."""
    scene = Scene(0.0)
    scenes.append(scene)
    scene.reactor.watch_acceptor(scene.readable(), SeenDoor(scene.reactor, lambda: scene.seen.append("door")))
    for _ in range(5):
        scene.reactor.watch(scene.readable(), scene.other())
    scene.reactor.turn(0)
    assert scene.seen == [*["other"] * 5, "door"]
