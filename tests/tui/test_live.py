"""The screen and its feeder, with a real server."""

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from smtppseudo.files import StateDir
from smtppseudo.link.errors import NeedsMagicWordError, NotAuthorizedError
from smtppseudo.link.incoming import Streamed
from smtppseudo.link.keyring import Keyring
from smtppseudo.link.route import Target
from smtppseudo.tui.app import MonitorApp
from smtppseudo.tui.feeder import EventBatch, Feeder, LinkDown, LinkUp, ResumePoint, Update
from smtppseudo.tui.main_screen import MainScreen
from smtppseudo.tui.server_view import Dependencies
from tests.certificates import Certificate
from tests.clients import wait_until
from tests.monitors import Monitors, closing_monitors, credentials_text, monitor_port, state_dir
from tests.running import Running, Servers
from tests.tui.scene import text_on

WORD = "open sesame, please"


class Keys(Keyring):
    """The keys of one server, or none. `pin` is the fingerprint of the accepted certificate."""

    def __init__(self, directory: Path | None) -> None:
        super().__init__([] if directory is None else [directory], Path(os.devnull))

    def pin_for(self, host: str, port: int) -> str | None:
        """Return the accepted fingerprint, for any server."""
        return self.pin

    def accept(self, host: str, port: int, fingerprint: str) -> None:
        """Accept a fingerprint."""
        self.pin = fingerprint

    def save_pin(self, host: str, port: int) -> str:
        """Save nothing."""
        return ""


def dependencies(keys: Keys, directory: Path) -> Dependencies:
    """Return real dependencies, with these keys."""
    return Dependencies(keys, StateDir(directory))


class Live:
    """The application with a real server."""

    def __init__(self, server: Running, directory: Path) -> None:
        keys = Keys(state_dir(server))
        self.app = MonitorApp([Target()], dependencies(keys, directory / "config"))
        self.pilot: Pilot[None]

    def text(self) -> str:
        """Return the text on the screen."""
        return text_on(self.app)

    async def settle(self, looks: Callable[[], bool], what: str) -> None:
        """Wait until something is true."""
        for _ in range(600):
            if looks():
                return
            await self.pilot.pause(0.02)
        raise AssertionError(f"not so: {what}:\n{self.text()}")

    def play(self, act: Callable[[], Awaitable[None]]) -> None:
        """Run the application, and act on it."""

        async def run() -> None:
            async with self.app.run_test(size=(100, 40)) as pilot:
                self.pilot = pilot
                await self.settle(lambda: "● Online" in self.text(), "online")
                await act()

        asyncio.run(run())


@pytest.fixture
def live(servers: Servers, tmp_path: Path) -> tuple[Running, Live]:
    """A server, and the screen that shows it."""
    server = servers.start()
    return server, Live(server, tmp_path)


def test_a_session_is_shown_while_it_goes_on(live: tuple[Running, Live]) -> None:
    server, screen = live

    async def act() -> None:
        with server.connect() as client:
            client.expect("220")
            client.say("HELO \x1b[2Jgf.com", "250")
            await screen.settle(lambda: "● Online 1/25" in screen.text(), "the slot")
            await screen.settle(lambda: "?[2Jgf.com" in screen.text() or "\\x1b[2Jgf.com" in screen.text(), "HELO")
            await screen.pilot.press("enter")
            client.say("NOOP", "250")
            await screen.settle(lambda: "C NOOP" in screen.text(), "the transcript goes on")
            assert "\x1b" not in screen.text()
            await screen.pilot.press("escape")
            client.say("MAIL FROM:<a@b>", "553")
            client.say("QUIT", "221")
        await screen.settle(lambda: "1 ○ quit" in screen.text(), "closed")
        await screen.settle(lambda: "1 mail refused since" in screen.text(), "counted")

    screen.play(act)


def test_the_next_caller_sees_the_new_greeting(live: tuple[Running, Live]) -> None:
    server, screen = live

    async def act() -> None:
        await screen.pilot.press("s")
        setup = screen.app.screen
        await screen.settle(lambda: setup.query_one("#greeting", Input).value == "Welcome!", "loaded")
        setup.query_one("#greeting", Input).value = "{hostname} at your service"
        await screen.pilot.press("enter")
        await screen.settle(lambda: isinstance(screen.app.screen, MainScreen), "saved")
        with server.connect() as client:
            client.expect("220 sink.test at your service")
        assert screen.app.servers[0].link.up is not None  # no reconnect for that

    screen.play(act)


def test_a_certificate_is_accepted_on_the_screen(servers: Servers, certificate: Certificate, tmp_path: Path) -> None:
    """First another certificate was accepted, so it is refused; then the operator accepts it."""
    server = servers.start(certificate.settings("monitor_"), monitor_listen=["0.0.0.0"])
    screen = Live(server, tmp_path)
    keys = Keys(state_dir(server))
    keys.pin = certificate.fingerprint.replace("SHA256:", "SHA256:00:")[:-3]
    target = Target("127.0.0.1", monitor_port(server), tls="on")
    screen.app = MonitorApp([target], dependencies(keys, tmp_path / "config"))

    async def run() -> None:
        async with screen.app.run_test(size=(120, 40)) as pilot:
            screen.pilot = pilot
            await screen.settle(lambda: "shows another certificate" in " ".join(screen.text().split()), "refused")
            await pilot.press("r")
            await screen.settle(lambda: certificate.fingerprint[:50] in screen.text(), "asked")
            await pilot.click("#yes")
            await screen.settle(lambda: "● Online" in screen.text(), "online")
            assert keys.pin == certificate.fingerprint

    asyncio.run(run())


def test_stop_start_and_switches_work(live: tuple[Running, Live]) -> None:
    server, screen = live

    async def act() -> None:
        for key, shown in (
            ("o", "Offline  the SMTP port is closed"),
            ("a", "[x] a Accept mail"),
            ("l", "[ ] l Log data"),
        ):
            await screen.pilot.press(key)
            await screen.settle(lambda: not isinstance(screen.app.screen, MainScreen), "asked")
            await screen.pilot.press("shift+tab", "enter")
            await screen.settle(lambda: isinstance(screen.app.screen, MainScreen), "done")
            await screen.settle(lambda shown=shown: shown in screen.text(), shown)  # type: ignore[misc]
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        await screen.pilot.press("o", "a", "l")
        await screen.settle(lambda: "● Online" in screen.text(), "online again")

    screen.play(act)


def test_the_screen_reconnects_after_a_restart(servers: Servers, tmp_path: Path) -> None:
    server = servers.start({"monitor_port": 0})
    screen = Live(server, tmp_path)

    async def act() -> None:
        with server.connect() as client:
            client.expect("220")
        await screen.settle(lambda: len(screen.app.servers[0].model.board.order) == 1, "a session")
        server.stop()
        await screen.settle(lambda: "no connection" in screen.text() and "the last state" in screen.text(), "lost")
        assert "127.0.0.1" in screen.text()
        again = servers.start({}, "--state-dir", str(state_dir(server)))
        assert monitor_port(again)
        await screen.settle(lambda: "● Online" in screen.text(), "back")
        await screen.settle(lambda: "the server was restarted" in screen.text(), "the note")

    screen.play(act)


def take_until(feeder: Feeder, looks: Callable[[list[Update]], bool]) -> list[Update]:
    """Take updates until `looks` accepts them."""
    found: list[Update] = []

    def look() -> bool:
        found.extend(feeder.take())
        return looks(found)

    wait_until(look, f"updates, after {found}")
    return found


def has(kind: type[Update]) -> Callable[[list[Update]], bool]:
    """Return a check for an update of a kind."""
    return lambda updates: any(isinstance(each, kind) for each in updates)


def seqs(updates: list[Update]) -> list[int]:
    """Return the numbers of the events."""
    return [
        notice.seq
        for each in updates
        if isinstance(each, EventBatch)
        for notice in each.notices
        if isinstance(notice, Streamed)
    ]


class Relay:
    """Carries bytes between the screen and a server."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._socks: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def cut(self) -> None:
        """Cut the connections; later ones work."""
        for sock in self._socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        self._socks.clear()

    def close(self) -> None:
        """End."""
        self._listener.close()
        self.cut()

    def _run(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            self._socks += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                other.sendall(data)
        except OSError:
            pass


def test_no_event_is_missing_or_repeated_after_a_lost_connection(servers: Servers) -> None:
    server = servers.start()
    relay = Relay(monitor_port(server))
    feeder = Feeder(Keys(state_dir(server)))
    try:
        feeder.start(Target("127.0.0.1", relay.port), ResumePoint())
        updates = take_until(feeder, has(LinkUp))
        server.play("NOOP")
        updates += take_until(feeder, lambda found: len(seqs(updates + found)) >= 5)
        relay.cut()
        take_until(feeder, has(LinkDown))
        server.play("RSET", "NOOP")
        updates += take_until(feeder, has(LinkUp))
        server.play("HELP")
        updates += take_until(feeder, lambda found: len(seqs(updates + found)) >= 16)
        assert seqs(updates) == list(range(1, len(seqs(updates)) + 1))
    finally:
        feeder.stop()
        relay.close()


def test_a_wrong_word_is_reported_and_not_tried_again(servers: Servers, tmp_path: Path) -> None:
    state = tmp_path / "server0" / "state"
    state.mkdir(parents=True)
    (state / "credentials").write_text(credentials_text(WORD))
    state.rename(tmp_path / "kept")
    (tmp_path / "server0").rmdir()
    server = servers.start({}, "--state-dir", str(tmp_path / "kept"))
    for word, kind in ((None, NeedsMagicWordError), ("not the word", NotAuthorizedError)):
        feeder = Feeder(Keys(None))
        feeder.start(Target("127.0.0.1", monitor_port(server), word), ResumePoint())
        broken = next(each for each in take_until(feeder, has(LinkDown)) if isinstance(each, LinkDown))
        feeder.stop()
        assert isinstance(broken.error, kind)
        assert broken.retry_s is None
    feeder = Feeder(Keys(None))
    feeder.start(Target("127.0.0.1", monitor_port(server), WORD), ResumePoint())
    take_until(feeder, has(LinkUp))
    feeder.stop()


def test_a_request_through_the_feeder_gets_its_reply(servers: Servers, monitors: Monitors) -> None:
    server = servers.start()
    feeder = Feeder(Keys(state_dir(server)))
    feeder.start(Target(), ResumePoint())
    take_until(feeder, has(LinkUp))
    fields = feeder.ask("get").result(10)
    assert isinstance(fields["settings"], dict)
    monitors.log_in(server).ok("set", changes={"greeting": "Theirs"})
    future = feeder.ask("set", changes={"greeting": "Ours"}, revision=fields["revision"])
    with pytest.raises(Exception, match="omebody else has changed"):
        future.result(10)
    feeder.stop()


@pytest.fixture
def monitors() -> object:
    """Connects to monitor ports; at the end every connection is closed."""
    yield from closing_monitors()


def test_quitting_does_not_wait_for_a_silent_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        target = Target("127.0.0.1", port)
        app = MonitorApp([target], dependencies(Keys(None), tmp_path))

        async def run() -> None:
            async with app.run_test() as pilot:
                await pilot.pause(0.3)
                await pilot.press("q")

        asyncio.run(asyncio.wait_for(run(), 5))
