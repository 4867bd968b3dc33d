"""A run in which the server does everything that it can do. One of its sessions may be lost to a fault."""

import contextlib
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.certificates import start_tls
from tests.clients import Client, connect
from tests.faults.layer import FILES, Layer
from tests.inside import Inside
from tests.monitors import Monitors, Peer

STEP_S = 0.02
ALL_AT_WORK: dict[str, Any] = {"slots": 3000, "log_min_free_bytes": 1, "quiet_timeout_s": 0}
"""With 3,000 slots the list of them takes several turns of a monitor's connection."""

ONE_DAY_S = 86_400.0
IDLE_S = 31.0


class InFaults(Inside):
    """A server behind a layer. Its clock advances with every turn, so that pauses end."""

    def __init__(self, directory: Path, layer: Layer, settings: Mapping[str, Any]) -> None:
        self.layer = layer
        with layer.active(FILES):
            super().__init__(directory, {**ALL_AT_WORK, **settings})

    @property
    def cookie(self) -> str:
        """The cookie, even if it could not be written."""
        return self.server._cookie

    def turn(self) -> None:
        """Advance by 20 ms and run a turn."""
        self.time.advance(STEP_S)
        with self.layer.active():
            self.server.reactor.turn(0.001)

    def carry_out(self, call: Callable[[], object]) -> None:
        """Call the server with the layer active."""
        with self.layer.active():
            call()

    def stop(self) -> None:
        """Stop the server."""
        for client in self._clients:
            client.close()
        self.carry_out(self.server.stop)
        self.server.reactor.close()


class StandardRun:
    """Plays the run. `lost` names the steps that differed from a run without a fault."""

    def __init__(self, server: InFaults, monitors: Monitors) -> None:
        self.server = server
        self.lost: list[str] = []
        self.refusals: list[str] = []
        self.greeting = "Welcome!"
        self._monitors = monitors
        self._monitor: Peer | None = None

    def play(self) -> None:
        """Play everything except the stop."""
        server = self.server
        self._whole_session("first")
        self._log_in()
        with self._may_be_lost("resident"):
            resident = self._greeted()
            resident.say("NOOP", "250")
        self._pipelined()
        self._under_tls()
        with self._may_be_lost("reset"):
            self._greeted().reset()
        self._too_many_errors()
        self._set("New")
        with self._may_be_lost("idle"):
            idle = self._greeted()
            server.advance(IDLE_S)
            idle.expect("421")
            idle.expect_end()
        server.advance(ONE_DAY_S)
        self._whole_session("after midnight")
        server.carry_out(lambda: server.reload({"hostname": "b.test"}))
        self._whole_session("after a reload")
        self._stop_and_start()
        self._whole_session("last")

    def serve_once_more(self) -> None:
        """Play a session, which must succeed at the first attempt."""
        client = self._greeted()
        for line, start in (("HELO x", "250"), ("MAIL FROM:<a@b>", "553"), ("QUIT", "221")):
            client.say(line, start)
        client.expect_end()

    @contextlib.contextmanager
    def _may_be_lost(self, what: str) -> Iterator[None]:
        try:
            yield
        except (AssertionError, ConnectionError, ssl.SSLError) as error:
            if "not within" in str(error):
                raise  # the server replies to no one
            self.lost.append(f"{what}: {error}")

    def _greeted(self) -> Client:
        client = connect("127.0.0.1", self.server.port, None, self.server.turn)
        self.server._clients.append(client)
        client.expect("220 ")
        return client

    def _whole_session(self, what: str) -> None:
        with self._may_be_lost(what):
            self.serve_once_more()

    def _pipelined(self) -> None:
        with self._may_be_lost("pipelined"):
            client = self._greeted()
            client.send("EHLO x", *["NOOP"] * 20, "QUIT")
            for start in ("250-", *["250"] * 20, "221"):
                client.expect(start)
            client.expect_end()

    def _under_tls(self) -> None:
        with self._may_be_lost("under TLS"):
            client = self._greeted()
            assert "STARTTLS" in client.say("EHLO x", "250")
            start_tls(client)
            client.say("NOOP", "250")
            client.say("QUIT", "221")
            client.expect_end()

    def _too_many_errors(self) -> None:
        with self._may_be_lost("errors"):
            client = self._greeted()
            client.send(*["XYZZY"] * 30)
            for start in [*["500"] * 19, "421"]:
                client.expect(start)
            client.expect_end()

    def _log_in(self) -> None:
        with self._may_be_lost("login"):
            peer = self._monitors.greeted(self.server).log_in("cookie", self.server.cookie)
            peer.ok("subscribe")
            self._monitor = peer

    def _ask(self, op: str, **fields: Any) -> bool:
        """Send a request as a monitor; return whether it was done. Log in again if the connection was lost."""
        if self._monitor is None:
            self._log_in()
        assert self._monitor is not None
        before = len(self.lost)
        with self._may_be_lost(op):
            monitor, self._monitor = self._monitor, None
            reply = monitor.ask(op, **fields)
            self._monitor = monitor
            if not reply["ok"]:
                self.refusals.append(reply["message"])
            assert reply["ok"], reply["message"]
        return len(self.lost) == before

    def _set(self, greeting: str) -> None:
        if self._ask("set", changes={"greeting": greeting}):
            self.greeting = greeting
        elif not self.refusals:
            self.greeting = "unknown"  # the reply was lost, and maybe the request too

    def _stop_and_start(self) -> None:
        with self._may_be_lost("resident when stopped"):
            resident = self._greeted()
            if self._ask("stop"):
                resident.expect("421")
                resident.expect_end()
        while self.server.server.state == "offline" and self._ask("start") is False:
            assert len(self.lost) < 3, self.lost
