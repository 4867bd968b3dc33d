"""The screen, with a fake feeder: what it shows, and what it asks the server."""

from typing import Any

import pytest
from textual.widgets import Input, Static

from smtppseudo.link.errors import (
    ChangedCertificateError,
    ConnectionLostError,
    NeedsMagicWordError,
    NotAuthorizedError,
    UnknownCertificateError,
    UnreachableError,
)
from smtppseudo.link.route import Target
from smtppseudo.service.commands import ServiceAction
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.actions import ACTIONS
from smtppseudo.tui.dialogs.certificate import CertificateDialog
from smtppseudo.tui.dialogs.dialog import ConfirmDialog
from smtppseudo.tui.dialogs.help import HelpDialog, key_lines
from smtppseudo.tui.dialogs.magic_word import LoginDialog, NewWordDialog
from smtppseudo.tui.dialogs.service import ServiceDialog
from smtppseudo.tui.dialogs.setup import SetupDialog
from smtppseudo.tui.dialogs.transcript import TranscriptDialog
from smtppseudo.tui.feeder import Connecting, LinkDown, ResumePoint
from smtppseudo.tui.main_screen import DETAILS_COLUMNS, MainScreen
from smtppseudo.tui.memory import MEMORY_FILE
from smtppseudo.tui.widgets.buttons import TextButton, TextSwitch
from smtppseudo.tui.widgets.event_pane import EventPane
from smtppseudo.tui.widgets.slot_pane import SlotPane, lay_out
from tests.tui.scene import Scene, batch, busy_morning, event, link_up, play, session_events, settings, status

REFUSED = UnreachableError("cannot reach 127.0.0.1 port 26: Connection refused; is the server running?")


def asked(scene: Scene, op: str) -> list[dict[str, object]]:
    """Return the fields of the requests of an op."""
    return [fields for name, fields in scene.source.asked if name == op]


def flowing(scene: Scene) -> str:
    """Return the text of the dialog on the screen as one line."""
    inside = [line.split("│")[1] for line in scene.text().splitlines() if line.count("│") > 1]
    return " ".join(" ".join(inside).split())


def test_slots_events_and_status_are_shown() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        text = scene.text()
        for words in ("● Online  3 of 25 slots", "2 monitors", "4/min", "ylmf-pc", "following", "3 open, 9 used of 25"):
            assert words in text
        assert "Last connect 14:29:37 from 2001:db8:4:11::25" in text
        scene.clock += 65
        await scene.tell(status())
        assert "1:05" in scene.text()

    play(Scene(), act, (100, 40))


def test_twenty_five_slots_fit_forty_rows() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(link_up())
        await scene.pilot.pause()
        assert not scene.app.main.query_one(SlotPane).show_vertical_scrollbar
        assert "25 · free" in scene.text()

    play(Scene(), act, (100, 40))


def test_footer_and_buttons_fit_80_columns() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        last = scene.text().splitlines()[-1]
        assert [action.footer for action in ACTIONS if action.footer and action.footer not in last] == []
        assert "[ s Setup ]" in scene.text()

    play(Scene(), act, (80, 24))


def test_the_footer_shows_the_keys_of_the_focused_pane() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        assert "Transcript" in scene.text().splitlines()[-1]
        scene.app.main.query_one(EventPane).focus()
        await scene.pilot.pause()
        assert "Transcript" not in scene.text().splitlines()[-1]
        await scene.pilot.press("escape", "shift+tab")
        assert "Transcript" in scene.text().splitlines()[-1]

    play(Scene(), act)


def test_columns_fill_the_width() -> None:
    for width in range(1, 250):
        widths = lay_out(width)
        taken = 1 + sum(each + 1 for each in widths.values())
        assert taken <= width or len(widths) == 1
        assert width < 79 or {"slot", "state", "ip", "port", "error"} <= widths.keys()


def test_ten_thousand_slots_show_the_used_ones_first() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(
            link_up(count=10_000), batch(*session_events(1, 7_000, "192.0.2.1", "gf.com", "<a@b>", is_open=True))
        )
        assert "7000 ● open" in scene.text()
        await scene.pilot.press("end")
        assert "10000 · free" in scene.text()

    play(Scene(), act)


def test_a_failed_connection_shows_what_to_do() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(LinkDown(REFUSED, 4.0))
        text = scene.text()
        for words in (
            "Offline  no connection",
            "Cannot reach 127.0.0.1 port 26: Connection refused",
            "Next try in 4 s",
        ):
            assert words in text
        scene.clock += 3
        await scene.tell()
        assert "Next try in 1 s" in scene.text()
        await scene.pilot.press("r")
        assert scene.source.retries == 1

    play(Scene(), act, (80, 24))


def test_a_lost_connection_keeps_what_was_shown() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.tell(
            LinkDown(ConnectionLostError("127.0.0.1 port 26: the server ended the connection (shutdown)"), 1.0)
        )
        text = scene.text()
        for words in ("Offline  no connection", "(shutdown)", "ylmf-pc", "-- the connection is lost", "the last state"):
            assert words in text
        assert scene.app.main.query_one("#switch_server", TextButton).disabled
        await scene.tell(Connecting())
        await scene.tell(link_up(seq=400))
        assert "● Online" in scene.text()

    play(Scene(), act)


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
        ("x", "This ends the session of 192.0.2.41", "disconnect", {"slot": 1}),
    ],
)
def test_a_change_that_loses_something_needs_a_confirmation(
    key: str, words: str, op: str, fields: dict[str, object]
) -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.settle(lambda: scene.app.view.model.revision == 7, "settings")
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
        assert "Accept Mail is on" in scene.text()
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

        await scene.settle(lambda: "220 Welcome! and the date" in says("greeting"), "greeting")
        await scene.settle(lambda: "this machine" in says("host"), "address")
        setup.query_one("#greeting", Input).value = ""
        setup.query_one("#port", Input).value = "70000"
        setup.query_one("#word", Input).value = "short"
        setup.query_one("#host", Input).value = ""
        await scene.settle(lambda: says("host") == "An empty address is not a valid IP.", "empty address")
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
        assert isinstance(scene.app.screen, TranscriptDialog)
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


def test_slots_are_filtered_and_sorted() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.pilot.press("f", *"state:open yl")
        assert "1 shown" in scene.text()
        await scene.pilot.press(*" ip:1.2.3")
        assert "is neither an address nor a network" in scene.text()
        await scene.pilot.press("escape")
        await scene.pilot.press("c", "c", "C")
        assert "Remote IP▼" in scene.text()
        assert scene.app.main.query_one(SlotPane).row is not None
        await scene.pilot.click(SlotPane, offset=(3, 0))
        assert "Slot▲" in scene.text()

    play(Scene(), act)


def test_events_are_paused_filtered_searched_and_followed() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        pane = scene.app.main.query_one(EventPane)
        await scene.pilot.press("p")
        await scene.tell(batch(event(2_000, "online", by="monitor")))
        assert "paused" in scene.text()
        assert "the SMTP port is open" not in scene.text()
        await scene.pilot.press("p")
        assert "the SMTP port is open" in scene.text()
        pane.focus()
        await scene.pilot.press("f", *"event:online", "enter")
        assert "connected" not in scene.text().split("Events")[1].split("⏎")[0]
        await scene.pilot.press("f", "ctrl+u", "enter", "slash", *"ylmf", "enter")
        assert "not following (e)" in scene.text()
        first = pane._found
        await scene.pilot.press("N")
        assert pane._found is not None
        assert first is not None
        assert pane._found < first
        await scene.pilot.press("n")
        assert pane._found == first
        await scene.pilot.press("e")
        assert pane.is_following

    play(Scene(), act)


def test_help_and_palette_have_every_action() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        commands = {command.title for command in scene.app.get_system_commands(scene.app.screen)}
        assert commands == {action.title for action in ACTIONS}
        bound = scene.app.main._bindings.key_to_bindings
        for action in ACTIONS:
            assert hasattr(scene.app.main, f"action_{action.name}")
            assert all(key in bound for key in action.keys.split(","))
        await scene.pilot.press("question_mark")
        assert isinstance(scene.app.screen, HelpDialog)
        assert "Start or stop server" in scene.text()
        assert len(key_lines()) > len(ACTIONS)

    play(Scene(), act)


def test_every_action_runs_with_and_without_a_connection() -> None:
    async def act(scene: Scene) -> None:
        await run_all(scene)
        await scene.tell(*busy_morning())
        await run_all(scene)

    async def run_all(scene: Scene) -> None:
        main = scene.app.main
        for action in ACTIONS:
            if action.name == "leave":
                continue
            await main.run_action(action.name)
            await scene.settle(lambda: not main.workers, action.name)
            await scene.pilot.pause()
            if scene.app.screen is main:
                await scene.pilot.press("escape")
            else:
                await scene.app.pop_screen()

    play(Scene(), act)


def test_a_click_asks_for_a_change_and_leaves_the_switch() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.settle(lambda: scene.app.view.model.revision == 7, "settings")
        await scene.pilot.click("#accept_mail")
        await scene.pilot.pause()
        assert isinstance(scene.app.screen, ConfirmDialog)
        await scene.pilot.click("#yes")
        await scene.settle(lambda: len(asked(scene, "set")) == 1, "set")
        assert not scene.app.main.query_one("#accept_mail", TextSwitch).is_on  # the server's word counts

    play(Scene(), act)


def test_the_service_is_shown_for_this_machine_only() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(link_up())
        await scene.settle(lambda: "yes (running)" in scene.text(), "the service")
        await scene.tell(link_up(is_own=False, address="192.0.2.1"))
        assert "Manage its service there" in scene.text()

    play(Scene(unit=UnitState("yes", "yes (running)", "no")), act, (200, 60))


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


def test_the_service_of_another_machine_is_not_shown() -> None:
    async def act(scene: Scene) -> None:
        await scene.pilot.press("v")
        await scene.settle(lambda: bool(scene.app._notifications), "the toast")
        assert "192.0.2.99 is not this machine" in next(iter(scene.app._notifications)).message
        assert scene.app.screen is scene.app.main

    play(Scene(Target("192.0.2.99", 26), UnitState("no", "no", "no")), act)


def offered(scene: Scene) -> dict[str, bool]:
    """Return which actions the service dialog offers."""
    return {action.value: not scene.app.screen.query_one(f"#{action.value}").disabled for action in ServiceAction}


async def open_service(scene: Scene) -> None:
    """Open the service dialog."""
    await scene.tell(link_up())
    await scene.pilot.press("v")
    await scene.settle(lambda: isinstance(scene.app.screen, ServiceDialog), "the dialog")


def test_the_theme_is_remembered() -> None:
    async def act(scene: Scene) -> None:
        await scene.pilot.press("t")
        assert "light" in scene.store.files[MEMORY_FILE]

    play(Scene(), act)


def test_slots_are_requested_after_a_gap_and_while_data_events_are_off() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(link_up(), batch(event(1, "online", by="start")))
        await scene.tell(batch(event(9, "offline", by="monitor")))
        assert len(asked(scene, "slots")) == 1
        scene.source.replies["get"] = {"settings": settings(log_data_events=False), "origins": {}, "revision": 8}
        await scene.app.view.load_settings()
        scene.clock += 6
        await scene.tell()
        assert len(asked(scene, "slots")) == 2
        assert "Data events are off" in scene.text()

    play(Scene(), act)


def test_the_screen_is_readable_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        assert scene.app.no_color
        assert "● Online" in scene.text()
        assert "[x] l Show/Log data events  [ ] a Accept Mail" in scene.text()
        colours = {
            segment.style.color.triplet
            for strip in scene.app.screen._compositor.render_strips()
            for segment in strip.apply_filter(scene.app._filters[-1], scene.app.screen.background_colors[1])
            if segment.style is not None and segment.style.color is not None and segment.style.color.triplet is not None
        }
        assert all(red == green == blue for red, green, blue in colours)

    play(Scene(), act)


HOSTILE = (
    "[/x] [@click=app.exit]click[/] [bold]b[/bold]",
    "\\x1b[2J\\x1b]0;title\\x07",
    "\x1b[2J\x9b31m\x07",
    "\u202etxt.exe\u2066 \u200b\ufeff",
    "日本語 \uff57\uff49\uff44\uff45 e\u0301\u0302\u0303 👩\u200d👩\u200d👧",
    "$offline bold] %s {0} \\",
    "x" * 4_000,
    "",
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_as_plain_text(text: str) -> None:
    async def act(scene: Scene) -> None:
        who: dict[str, Any] = {"slot": 1, "session": 1, "ip": text, "port": 1}
        slot = {"slot": 2, "state": "closed", "session": 2, "ip": text, "port": 5, "idle_ms": 0, "connected_at": text}
        said: dict[str, Any] = dict.fromkeys(("helo", "mail_from", "last", "error", "reason"), text)
        await scene.tell(
            link_up([{**slot, **said}], count=3, note=text, address=text, greeting=text, reject_at=text),
            batch(
                event(1, "connected", **who, local_port=25),
                event(2, "command", **who, data=f"HELO {text}", code=250, reply=text),
                event(3, "command", **who, data=f"MAIL FROM:{text}", code=553, reply=text),
                event(4, "closed", **who, reason=text),
                event(5, "error", message=text),
                event(6, text, ip=text, note=text),
                event(7, "settings", keys=text, by=text),
            ),
            status(),
        )
        check(scene.text())
        scene.source.refuse("stop", "io", text)
        for keys in (("enter",), ("escape", "down", "enter"), ("escape", "o", "shift+tab", "enter"), ("escape", "s")):
            await scene.pilot.press(*keys)
            await scene.pilot.pause()
            check(scene.text())
        await scene.pilot.press("escape", "escape")
        await scene.tell(LinkDown(ConnectionLostError(text), 1.0))
        scene.app.operations.report("Stop server", text)
        await scene.pilot.pause()
        check(scene.text())

    def check(shown: str) -> None:
        assert not [char for char in shown if not char.isprintable() and char != "\n"]
        assert not any(char in shown for char in "日\uff57👩\u0301\u202e")

    play(Scene(), act, (DETAILS_COLUMNS, 40))


FINGERPRINTS = ("SHA256:" + ":".join(["0A"] * 32), "SHA256:" + ":".join(["F5"] * 32))
ELSEWHERE = ("mail.example.net", 26)


def test_a_new_certificate_is_accepted_by_the_operator() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(LinkDown(UnknownCertificateError(FINGERPRINTS[0], ELSEWHERE), None))
        await scene.settle(lambda: isinstance(scene.app.screen, CertificateDialog), "asked")
        assert "mail.example.net port 26 is new here" in flowing(scene)
        assert flowing(scene).count("0A:") == 31
        await scene.pilot.press("enter")  # Cancel has the focus
        assert not scene.keyring.accepted
        await scene.pilot.press("r")
        await scene.settle(lambda: isinstance(scene.app.screen, CertificateDialog), "asked again")
        await scene.pilot.click("#yes")
        await scene.settle(lambda: scene.source.retries == 1, "connected again")
        assert scene.keyring.accepted == [(*ELSEWHERE, FINGERPRINTS[0])]

    play(Scene(Target(*ELSEWHERE)), act)


def test_a_changed_certificate_is_refused_until_the_operator_accepts_it() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(LinkDown(ChangedCertificateError(FINGERPRINTS[1], ELSEWHERE, FINGERPRINTS[0]), None))
        assert scene.app.screen is scene.app.main
        assert "pretends to be the server" in " ".join(scene.text().split())
        assert "r asks whether to trust it" in scene.text()
        await scene.pilot.press("r")
        await scene.settle(lambda: isinstance(scene.app.screen, CertificateDialog), "asked")
        assert flowing(scene).count("0A:") == flowing(scene).count("F5:") == 31
        await scene.pilot.press("escape")
        assert not scene.keyring.accepted

    play(Scene(Target(*ELSEWHERE)), act)
