"""The dialogs: what they show, and what they ask the server."""

import sys
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Static

from smtppseudo.link.errors import (
    ChangedCertificateError,
    NeedsMagicWordError,
    NotAuthorizedError,
    UnknownCertificateError,
    UnreachableError,
)
from smtppseudo.link.route import Target
from smtppseudo.service.commands import ServiceAction
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.dialogs.dialog import ConfirmDialog, TextDialog
from smtppseudo.tui.dialogs.magic_word import LoginDialog, NewWordDialog
from smtppseudo.tui.dialogs.service import ServiceDialog
from smtppseudo.tui.dialogs.setup import SetupDialog
from smtppseudo.tui.feeder import LinkDown, ResumePoint
from smtppseudo.tui.main_screen import MainScreen
from smtppseudo.tui.memory import MEMORY_FILE
from smtppseudo.tui.widgets.buttons import TextButton
from tests.tui.scene import Scene, batch, busy_morning, event, link_up, play, session_events, settings


def asked(scene: Scene, op: str) -> list[dict[str, object]]:
    """Return the fields of the requests of an op."""
    return [fields for name, fields in scene.source.asked if name == op]


def flowing(scene: Scene) -> str:
    """Return the text of the dialog on the screen as one line."""
    inside = [line.split("│")[1] for line in scene.text().splitlines() if line.count("│") > 1]
    return " ".join(" ".join(inside).split())


@pytest.mark.parametrize("error", [NeedsMagicWordError("192.0.2.1 port 26"), NotAuthorizedError("x: Not Authorized!")])
def test_the_magic_word_is_asked_for_and_kept_only_on_request(error: Any) -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(LinkDown(error, None))
        assert isinstance(scene.app.screen, LoginDialog)
        assert str(error)[:24] in scene.text()
        await scene.pilot.press(*"short", "enter")
        assert "8 to 128 printable ASCII characters" in scene.text()
        await scene.pilot.press(*"er word", "enter")
        await scene.pilot.pause()
        target, _ = scene.source.started[0]
        assert (target.host, target.port, target.magic_word) == ("192.0.2.1", 26, "shorter word")
        assert len(scene.sources) == 2
        assert scene.sources[0].is_stopped
        assert "shorter" not in scene.store.files[MEMORY_FILE]
        await scene.tell(LinkDown(error, None))
        await scene.pilot.press("tab", "space", "shift+tab", *"other word", "enter")
        await scene.pilot.pause()
        assert "other word" in scene.store.files[MEMORY_FILE]

    play(Scene(Target("192.0.2.1", 26)), act)


def test_a_refused_word_is_not_tried_again_automatically() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(LinkDown(NotAuthorizedError("x: Not Authorized!"), None))
        await scene.pilot.press("escape")
        await scene.pilot.pause()
        assert "no automatic retry" in scene.text()
        for _ in range(5):
            scene.clock += 60
            await scene.tell()
        assert (len(scene.sources), scene.source.retries) == (1, 0)
        await scene.pilot.press("r")
        assert isinstance(scene.app.screen, LoginDialog)

    play(Scene(), act)


@pytest.mark.parametrize(
    ("key", "words", "op", "fields"),
    [
        ("o", "ends 3 open sessions", "stop", {}),
        ("a", "Honest mail is lost without a bounce", "set", {"changes": {"accept_mail": True}, "revision": 7}),
        ("l", "neither logged nor shown", "set", {"changes": {"log_data_events": False}, "revision": 7}),
        ("b", "This turns 192.0.2.41 away for 7 days", "block", {"network": "192.0.2.41"}),
        ("x", "This ends the session of 192.0.2.41", "disconnect", {"slot": 1}),
    ],
)
def test_a_change_that_loses_something_needs_a_confirmation(
    key: str, words: str, op: str, fields: dict[str, object]
) -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.settle(lambda: scene.view.model.revision == 7, "settings")
        await scene.pilot.press(key)
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "the question")
        await scene.pilot.press("enter")  # Cancel has the focus
        assert asked(scene, op) == []
        await scene.settle(lambda: isinstance(scene.app.screen, MainScreen), "left")
        await scene.pilot.press(key)
        await scene.settle(lambda: words in flowing(scene), "the question")
        await scene.pilot.press("shift+tab", "enter")
        await scene.settle(lambda: isinstance(scene.app.screen, MainScreen), "done")
        assert asked(scene, op) == [fields]

    play(Scene(), act)


def test_a_refusal_is_shown_in_the_dialog() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        scene.source.refuse(
            "set", "pinned", "accept_mail was given on the command line of the server, and stays as it is"
        )
        await scene.pilot.press("a")
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "the question")
        await scene.pilot.press("shift+tab", "enter")
        await scene.settle(lambda: "given on the command line" in scene.text(), "the refusal")
        assert isinstance(scene.app.screen, ConfirmDialog)

    play(Scene(), act)


def test_a_change_that_loses_nothing_is_done_at_once_and_a_refusal_is_a_toast() -> None:
    async def act(scene: Scene) -> None:
        scene.source.replies["get"] = {"settings": settings(accept_mail=True), "origins": {}, "revision": 8}
        await scene.tell(link_up(state="offline", accept_mail=True))
        assert "Offline  the SMTP port is closed" in scene.text()
        assert "Accept mail is on" in scene.text()
        await scene.pilot.press("o")
        await scene.settle(lambda: asked(scene, "start") == [{}], "start")
        scene.source.refuse("set", "conflict", "somebody else has changed the settings; get them again")
        await scene.pilot.press("a")
        await scene.settle(lambda: bool(scene.app._notifications), "the toast")
        assert "nother monitor has changed" in next(iter(scene.app._notifications)).message

    play(Scene(), act)


def test_setup_checks_each_value_while_it_is_typed() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.pilot.press("s")
        setup = scene.app.screen
        assert isinstance(setup, SetupDialog)

        def says(name: str) -> str:
            return str(setup.query_one(f"#{name}-hint", Static).content)

        await scene.settle(
            lambda: "callers get: 220 Welcome!06/01/2026 2:30:00 PM +0000" in says("greeting"), "greeting"
        )
        await scene.settle(lambda: "this machine" in says("host"), "address")
        setup.query_one("#greeting", Input).value = "{hostname} ESMTP for {ip}"
        await scene.settle(lambda: "220 mx.example.net ESMTP for 192.0.2.1" in says("greeting"), "the preview")
        setup.query_one("#greeting", Input).value = ""
        setup.query_one("#port", Input).value = "70000"
        setup.query_one("#word", Input).value = "short"
        setup.query_one("#host", Input).value = ""
        await scene.settle(lambda: says("host") == "an empty address is not a valid IP", "empty address")
        assert "1 to 200 printable ASCII" in says("greeting")
        assert says("port") == "70000 is not a port: 1 to 65535"
        assert "5 so far" in says("word")
        setup.query_one("#host", Input).value = "300.1.2.3..4"
        await scene.settle(lambda: says("host").startswith("300.1.2.3..4 is not a valid IP."), "bad address")
        setup.query_one("#greeting", Input).focus()
        await scene.pilot.press("enter")
        await scene.pilot.pause()
        assert scene.app.screen is setup
        assert asked(scene, "set") == []
        await scene.pilot.press("escape")
        assert "not saved" in scene.text()

    play(Scene(), act)


def test_setup_saves_the_greeting_and_connects_to_another_server() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.pilot.press("s")
        setup = scene.app.screen
        await scene.settle(lambda: setup.query_one("#greeting", Input).value == "Welcome!", "loaded")
        setup.query_one("#greeting", Input).value = "{hostname} ESMTP"
        setup.query_one("#port", Input).value = "2626"
        await scene.pilot.press("enter")
        await scene.settle(lambda: isinstance(scene.app.screen, MainScreen), "saved")
        assert scene.sources[0].asked.count(("set", {"changes": {"greeting": "{hostname} ESMTP"}, "revision": 7})) == 1
        assert scene.source.started == [(Target("127.0.0.1", 2626), ResumePoint())]
        assert '"port": 2626' in scene.store.files[MEMORY_FILE]

    play(Scene(), act)


def test_setup_keeps_the_word_of_a_server_whose_port_was_not_given() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.settle(lambda: scene.view.model.revision == 7, "settings")
        await scene.pilot.press("s")
        scene.app.screen.query_one("#greeting", Input).value = "{hostname} ESMTP"
        await scene.pilot.press("enter")
        await scene.settle(lambda: isinstance(scene.app.screen, MainScreen), "saved")
        assert scene.view.target == Target("127.0.0.1", 26, "open sesame")
        assert len(scene.sources) == 1  # no reconnect for that

    play(Scene(Target("127.0.0.1", None, "open sesame")), act)


def test_setup_reports_a_change_by_another_monitor() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.pilot.press("s")
        setup = scene.app.screen
        await scene.settle(lambda: setup.query_one("#greeting", Input).value == "Welcome!", "loaded")
        scene.source.refuse("set", "conflict", "somebody else has changed the settings; get them again")
        scene.source.replies["get"] = {"settings": settings(greeting="Theirs"), "origins": {}, "revision": 9}
        setup.query_one("#greeting", Input).value = "Ours"
        await scene.pilot.press("enter")
        await scene.settle(lambda: 'the greeting is "Theirs" now' in flowing(scene), "told")
        scene.source.replies["set"] = {"revision": 10}
        await scene.pilot.press("enter")
        await scene.settle(lambda: isinstance(scene.app.screen, MainScreen), "saved")
        assert asked(scene, "set")[-1] == {"changes": {"greeting": "Ours"}, "revision": 9}

    play(Scene(), act)


def test_a_new_magic_word_is_sent_as_derived_keys() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.pilot.press("w")
        assert isinstance(scene.app.screen, NewWordDialog)
        await scene.pilot.press(*"new magic", "enter", *"new magik", "enter")
        assert "the two are not the same yet" in scene.text()
        await scene.pilot.press("backspace", "c", "enter")
        await scene.settle(lambda: isinstance(scene.app.screen, MainScreen), "set")
        fields = asked(scene, "magic_word")[0]
        assert fields.keys() == {"salt", "iterations", "stored_key", "server_key"}
        assert "new magic" not in str(fields)

    play(Scene(), act)


def test_a_transcript_has_both_sides_and_grows() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(link_up(), batch(*session_events(1, 1, "192.0.2.1", "gf.com", "<a@b>", is_open=True)))
        await scene.pilot.press("enter")
        assert isinstance(scene.app.screen, TextDialog)
        assert "C HELO gf.com" in scene.text()
        assert "S 553 Sender <a@b> is Invalid!" in scene.text()
        assert "not the start" not in scene.text()
        more = event(
            4, "command", slot=1, session=1_001, ip="192.0.2.1", port=1, data="RSET", code=250, reply="Reset state."
        )
        await scene.tell(batch(more))
        await scene.settle(lambda: "C RSET" in scene.text(), "it goes on")

    play(Scene(), act)


def test_a_transcript_says_if_its_start_is_missing() -> None:
    async def act(scene: Scene) -> None:
        slot = {"slot": 2, "state": "open", "session": 4, "ip": "192.0.2.1", "port": 5, "helo": "gf.com", "idle_ms": 0}
        late = event(900, "command", slot=1, session=3, ip="192.0.2.9", port=1, data="NOOP", code=250, reply="OK")
        await scene.tell(link_up([slot], seq=899), batch(late))
        await scene.pilot.press("enter")
        assert "this is not the start" in scene.text()
        await scene.pilot.press("escape", "down", "enter")
        assert "This screen saw nothing of this session" in scene.text()
        assert "helo    gf.com" in scene.text()

    play(Scene(), act)


def test_the_service_dialog_offers_possible_actions_only() -> None:
    async def act(scene: Scene) -> None:
        await open_service(scene)
        assert offered(scene) == {"install": True, "start": False, "stop": False, "uninstall": False}
        await scene.pilot.press("escape")
        scene.unit = UnitState("yes", "yes (running)", "yes")
        await open_service(scene)
        assert "Upgrade" in scene.text()
        assert offered(scene) == {"install": True, "start": False, "stop": True, "uninstall": True}
        await scene.pilot.press("escape")
        scene.unit = UnitState("yes", "no (inactive)", "no")
        await open_service(scene)
        assert not scene.app.screen.query_one("#start", TextButton).disabled
        assert scene.app.screen.query_one("#stop", TextButton).disabled

    play(Scene(unit=UnitState("no", "no", "no")), act)


def test_the_service_dialog_works_without_a_connection() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(LinkDown(UnreachableError("cannot reach 127.0.0.1 port 26"), 4.0))
        await scene.pilot.press("v")
        await scene.settle(lambda: isinstance(scene.app.screen, ServiceDialog), "the dialog")

    play(Scene(unit=UnitState("no", "no", "no")), act)


def test_an_obstacle_to_installing_the_service_is_shown() -> None:
    async def act(scene: Scene) -> None:
        scene.obstacle = "smtppseudo is not installed for /usr/bin/python3, but runs from its source"
        await open_service(scene)
        await scene.pilot.click("#install")
        await scene.settle(lambda: "but runs from its source." in flowing(scene), "the reason")
        assert "in another one, type" not in flowing(scene)  # nothing was run

    play(Scene(unit=UnitState("no", "no", "no")), act)


def test_the_command_is_shown_if_the_terminal_cannot_run_it() -> None:
    async def act(scene: Scene) -> None:
        await open_service(scene)
        await scene.pilot.click("#uninstall")
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "asked")
        await scene.pilot.click("#cancel")
        await scene.settle(lambda: isinstance(scene.app.screen, ServiceDialog), "the dialog")
        assert "in another one, type" not in flowing(scene)
        await scene.pilot.click("#uninstall")
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "asked")
        await scene.pilot.click("#yes")
        await scene.settle(lambda: "type `sudo smtppseudo uninstall`" in flowing(scene), "the command")

    play(Scene(unit=UnitState("yes", "yes (running)", "yes")), act)


def test_where_commands_ask_nothing_they_run_behind_the_screen(tmp_path: Path) -> None:
    code = "import pathlib, sys; pathlib.Path(sys.argv[1]).mkdir()"

    async def act(scene: Scene) -> None:
        await open_service(scene)
        assert "sudo" not in scene.text()
        scene.unit = UnitState("yes", "yes", "yes")
        await scene.pilot.click("#install")
        await scene.settle(lambda: "Upgrade" in scene.text(), "the new state")
        assert (tmp_path / "made").is_dir()
        await scene.pilot.click("#install")
        await scene.settle(lambda: "FileExistsError" in flowing(scene), "the error of the command")

    behind = [sys.executable, "-c", code, str(tmp_path / "made")]
    play(Scene(unit=UnitState("no", "no", "no"), behind=behind), act)


def test_the_service_of_another_machine_is_not_shown() -> None:
    async def act(scene: Scene) -> None:
        await scene.pilot.press("v")
        await scene.settle(lambda: bool(scene.app._notifications), "the toast")
        assert "192.0.2.99 is not this machine" in next(iter(scene.app._notifications)).message
        assert scene.app.screen is scene.main

    play(Scene(Target("192.0.2.99", 26), UnitState("no", "no", "no")), act)


def offered(scene: Scene) -> dict[str, bool]:
    """Return which actions the service dialog offers."""
    return {action.value: not scene.app.screen.query_one(f"#{action.value}").disabled for action in ServiceAction}


async def open_service(scene: Scene) -> None:
    """Open the service dialog."""
    await scene.tell(link_up())
    await scene.pilot.press("v")
    await scene.settle(lambda: isinstance(scene.app.screen, ServiceDialog), "the dialog")


FINGERPRINTS = ("SHA256:" + ":".join(["0A"] * 32), "SHA256:" + ":".join(["F5"] * 32))


ELSEWHERE = ("mail.example.net", 26)


def test_a_new_certificate_is_accepted_by_the_operator() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(LinkDown(UnknownCertificateError(FINGERPRINTS[0], ELSEWHERE), None))
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "asked")
        assert "mail.example.net port 26 is new here" in flowing(scene)
        assert flowing(scene).count("0A:") == 31
        await scene.pilot.press("enter")  # Cancel has the focus
        assert not scene.keyring.accepted
        await scene.pilot.press("r")
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "asked again")
        await scene.pilot.click("#yes")
        await scene.settle(lambda: scene.source.retries == 1, "connected again")
        assert scene.keyring.accepted == [(*ELSEWHERE, FINGERPRINTS[0])]

    play(Scene(Target(*ELSEWHERE)), act)


def test_a_changed_certificate_is_refused_until_the_operator_accepts_it() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(LinkDown(ChangedCertificateError(FINGERPRINTS[1], ELSEWHERE, FINGERPRINTS[0]), None))
        assert scene.app.screen is scene.main
        assert "pretends to be the server" in " ".join(scene.text().split())
        assert "r asks whether to trust it" in scene.text()
        await scene.pilot.press("r")
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "asked")
        assert flowing(scene).count("0A:") == flowing(scene).count("F5:") == 31
        await scene.pilot.press("escape")
        assert not scene.keyring.accepted

    play(Scene(Target(*ELSEWHERE)), act)


def test_arrows_move_between_buttons_and_q_and_ctrl_c_leave() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        for leave in ("q", "ctrl+c", "escape"):
            await scene.pilot.press("o")
            await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "the question")
            await scene.pilot.press("left")
            assert scene.app.screen.focused is scene.app.screen.query_one("#yes")
            await scene.pilot.press("right", leave)
            await scene.settle(lambda: isinstance(scene.app.screen, MainScreen), leave)
        await scene.pilot.press("s")
        await scene.settle(lambda: scene.app.screen.query_one("#greeting", Input).value == "Welcome!", "loaded")
        await scene.pilot.press("ctrl+c")  # an input line has the focus
        await scene.settle(lambda: isinstance(scene.app.screen, MainScreen), "left")
        await scene.pilot.press("w", "q")
        assert scene.app.screen.query_one("#word", Input).value == "q"
        await scene.pilot.press("ctrl+c")
        await scene.settle(lambda: isinstance(scene.app.screen, MainScreen), "left")
        await scene.pilot.press("f", "q", "ctrl+c")
        assert scene.app.is_running
        assert not scene.view.model.board.query
        await scene.pilot.press("ctrl+c")
        await scene.settle(lambda: not scene.app.is_running, "quit")

    play(Scene(), act)


def test_a_mistake_in_a_filter_stands_below_it_and_a_toast_above_the_events() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.pilot.press("f", *"state:open ip:1.2.3")
        lines = scene.text().splitlines()
        assert "state:open ip:1.2.3" in lines[-3]
        assert "is neither an address nor a network" in lines[-2]
        await scene.pilot.press("escape")
        scene.app.page.report("Stop", "this was refused for a reason that takes more than one line of a toast")
        await scene.settle(lambda: "This was refused" in scene.text(), "the toast")
        assert "following" in scene.text()
        assert "This was refused" in scene.text().split("Events")[0]

    play(Scene(), act)
