"""The screen, with a fake feeder: what it shows, and what it asks the server."""

import pytest
from rich.style import Style

from smtppseudo.link.errors import (
    ConnectionLostError,
    UnreachableError,
)
from smtppseudo.service.systemd import UnitState
from smtppseudo.tui.actions import ACTIONS, key_lines
from smtppseudo.tui.dialogs.dialog import ConfirmDialog, TextDialog
from smtppseudo.tui.feeder import Connecting, LinkDown
from smtppseudo.tui.memory import MEMORY_FILE
from smtppseudo.tui.widgets.buttons import TextButton, TextSwitch
from smtppseudo.tui.widgets.caller_pane import CallerPane
from smtppseudo.tui.widgets.event_pane import EventPane
from smtppseudo.tui.widgets.slot_pane import SlotPane, column_widths
from tests.tui.scene import Scene, batch, busy_morning, counters, event, link_up, play, session_events, settings, status

REFUSED = UnreachableError("cannot reach 127.0.0.1 port 26: Connection refused; is the server running?")


def asked(scene: Scene, op: str) -> list[dict[str, object]]:
    """Return the fields of the requests of an op."""
    return [fields for name, fields in scene.source.asked if name == op]


def test_slots_events_and_status_are_shown() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        text = scene.text()
        for words in ("● Online 3/25   1,018 mails refused today   last 14:29:37", "4 in the last minute", "following"):
            assert words in text
        for words in (
            "MAIL <win@prize.example>",
            "553 Sender <win@prize.example>",
            "Top callers since 14:00",
            " 19  192.0.2.41",
            "10-25 free",
        ):
            assert words in text
        assert text.count("2001:db8:4:11::25 ") >= 5  # it is not cut
        scene.clock += 65
        await scene.tell(status())
        assert "1:05" in scene.text()

    play(Scene(), act, (160, 40))


def test_a_quiet_server_has_one_line_of_free_slots() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(link_up())
        await scene.pilot.pause()
        assert "1-25 free" in scene.text()
        assert scene.text().count("free") == 1
        assert "nobody has called yet" in scene.text()

    play(Scene(), act, (100, 40))


def test_mails_refused_say_since_when_after_a_restart() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(link_up(started_at="2026-06-01T14:02:00.000Z"))
        since = {**counters(), "mails_refused_today": 1, "mails_refused_since": "2026-06-01T14:02:00.000Z"}
        await scene.tell(status(counters=since))
        assert "1 mail refused since 14:02" in scene.text()

    play(Scene(), act)


def test_only_a_change_of_the_last_two_seconds_is_bold() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(link_up(), batch(*session_events(1, 1, "192.0.2.1", "gf.com", "<a@b>", is_open=True)))
        pane = scene.main.query_one(SlotPane)

        def styles() -> list[Style]:
            return [segment.style or Style() for segment in pane.render_line(1)]

        assert all(style.bold for style in styles()[1:-1])
        scene.clock += 2
        await scene.tell()
        assert not any(style.bold for style in styles())
        neutral, no = (pane.get_component_rich_style(f"table--{kind}").color for kind in ("said", "no"))
        scene.main.query_one(EventPane).focus()
        await scene.pilot.pause()
        assert {style.color for style in styles()} == {neutral, no}

    play(Scene(), act)


def test_footer_and_buttons_fit_80_columns() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        last = scene.text().splitlines()[-1]
        assert last.strip() == "⏎ session ? help x hang up b block f filter c sort d details v service q quit"
        assert "[s Setup]" in scene.text()

    play(Scene(), act, (80, 24))


def test_the_footer_shows_the_keys_of_the_focused_pane() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        scene.main.query_one(EventPane).focus()
        await scene.pilot.pause()
        last = scene.text().splitlines()[-1]
        assert last.strip() == "⏎ session ? help x hang up b block f filter / search p pause d details q quit"
        await scene.pilot.click("#footer", offset=(last.index("p pause"), 0))
        await scene.settle(lambda: "paused" in scene.text(), "a click does what the key does")
        await scene.pilot.press("f")
        assert scene.text().splitlines()[-1].strip() == "⏎ done Esc cancel"
        await scene.pilot.press("escape", "tab")
        assert scene.text().splitlines()[-1].startswith(" ⏎ press")

    play(Scene(), act)


def test_columns_fill_the_width() -> None:
    for width in range(1, 250):
        widths = column_widths(width)
        taken = 1 + sum(each + 1 for each in widths.values())
        assert taken <= width or len(widths) == 1
        assert width < 53 or {"slot", "state", "ip", "last", "reply"} <= widths.keys()


def test_ten_thousand_slots_show_the_used_ones_first() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(
            link_up(count=10_000), batch(*session_events(1, 7_000, "192.0.2.1", "gf.com", "<a@b>", is_open=True))
        )
        assert "7000 ● open" in scene.text()
        assert "1-6999, 7001-10000 free" in scene.text()

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
        assert scene.main.query_one("#switch_server", TextButton).disabled
        await scene.tell(Connecting())
        await scene.tell(link_up(seq=400))
        assert "● Online" in scene.text()

    play(Scene(), act)


def test_slots_are_filtered_and_sorted() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.pilot.press("f", *"state:open yl")
        assert "1 shown" in scene.text()
        await scene.pilot.press(*" ip:1.2.3")
        assert "is neither an address nor a network" in scene.text()
        await scene.pilot.press("escape")
        await scene.pilot.press("c", "C")
        assert "Remote IP▼" in scene.text()
        assert scene.main.query_one(SlotPane).key is not None
        await scene.pilot.click(SlotPane, offset=(3, 0))
        assert "Slot▲" in scene.text()

    play(Scene(), act)


def test_events_are_paused_filtered_searched_and_followed() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        pane = scene.main.query_one(EventPane)
        await scene.pilot.press("p")
        await scene.tell(batch(event(2_000, "online", by="monitor")))
        assert "paused" in scene.text()
        assert "the SMTP port is open" not in scene.text()
        await scene.pilot.press("p")
        assert "the SMTP port is open" in scene.text()
        pane.focus()
        await scene.pilot.press("f", *"event:online", "enter")
        assert "QUIT" not in scene.text().split("Events")[1]
        await scene.pilot.press("f", "ctrl+u", "enter", "slash", *"ylmf", "enter")
        assert "paused, 0 new (p)" in scene.text()
        first = pane._under_cursor
        await scene.pilot.press("N")
        assert pane._under_cursor is not None
        assert first is not None
        assert pane._under_cursor < first
        await scene.pilot.press("n")
        assert pane._under_cursor == first
        await scene.pilot.press("p")
        assert pane.is_following

    play(Scene(), act)


def test_a_failed_reload_is_shown_until_it_is_mended() -> None:
    said = "slots must be a whole number from 1 to 60000"

    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning(), status(settings_error=f"smtppseudo.toml, line 2: {said}"))
        assert "Settings not changed by the last reload: smtppseudo.toml, line 2:" in scene.text()
        assert said in " ".join(scene.text().split())
        await scene.tell(status())
        assert "last reload" not in scene.text()

    play(Scene(), act, (80, 24))


def test_a_log_that_is_running_short_is_shown() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning(), status(log_used=0.749))
        assert "today's log" not in scene.text()
        await scene.tell(status(log_used=0.75))
        assert "The space for today's log is running short: 75% are used" in scene.text()

    play(Scene(), act, (80, 24))


def test_help_and_palette_have_every_action() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        commands = {command.title for command in scene.app.get_system_commands(scene.app.screen)}
        assert commands == {action.title for action in ACTIONS}
        bound = scene.main._bindings.key_to_bindings
        for action in ACTIONS:
            assert hasattr(scene.main, f"action_{action.name}")
            assert all(key in bound for key in action.keys.split(","))
        await scene.pilot.press("question_mark")
        assert isinstance(scene.app.screen, TextDialog)
        assert "Disconnect: End the session" in scene.text()
        assert len(key_lines(ACTIONS)) > len(ACTIONS)

    play(Scene(), act)


def test_every_action_runs_with_and_without_a_connection() -> None:
    async def act(scene: Scene) -> None:
        await run_all(scene)
        await scene.tell(*busy_morning())
        await run_all(scene)

    async def run_all(scene: Scene) -> None:
        main = scene.main
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
        await scene.settle(lambda: scene.view.model.revision == 7, "settings")
        await scene.pilot.click("#accept_mail")
        await scene.pilot.pause()
        assert isinstance(scene.app.screen, ConfirmDialog)
        await scene.pilot.click("#yes")
        await scene.settle(lambda: len(asked(scene, "set")) == 1, "set")
        assert not scene.main.query_one("#accept_mail", TextSwitch).is_on  # the server's word counts

    play(Scene(), act)


def test_the_service_is_shown_for_this_machine_only() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(link_up())
        await scene.settle(lambda: "yes (running)" in scene.text(), "the service")
        await scene.tell(link_up(is_own=False, address="192.0.2.1"))
        assert "Manage its service there" in scene.text()

    play(Scene(unit=UnitState("yes", "yes (running)", "no")), act, (200, 60))


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
        await scene.view.load_settings()
        scene.clock += 6
        await scene.tell()
        assert len(asked(scene, "slots")) == 2
        assert "Data events are off" in scene.text()

    play(Scene(), act)


def test_slots_are_requested_while_sessions_are_not_logged() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(link_up())
        scene.clock += 6
        await scene.tell(status(counters={"not_logged": 0}))
        assert len(asked(scene, "slots")) == 0
        await scene.tell(status(counters={"not_logged": 1}))
        assert len(asked(scene, "slots")) == 1

    play(Scene(), act)


def test_the_screen_is_readable_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        assert scene.app.no_color
        assert "● Online" in scene.text()
        assert "[x] l Log data  [ ] a Accept mail" in scene.text()
        colours = {
            segment.style.color.triplet
            for strip in scene.app.screen._compositor.render_strips()
            for segment in strip.apply_filter(scene.app._filters[-1], scene.app.screen.background_colors[1])
            if segment.style is not None and segment.style.color is not None and segment.style.color.triplet is not None
        }
        assert all(red == green == blue for red, green, blue in colours)

    play(Scene(), act)


def test_enter_or_a_click_opens_the_session_of_an_event_a_caller_or_a_search_hit() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        await scene.tell(batch(event(scene.view.model.last_seq + 1, "online", by="monitor")))
        main = scene.main

        async def opened(words: str) -> None:
            await scene.settle(lambda: isinstance(scene.app.screen, TextDialog), words)
            assert words in scene.text()
            await scene.pilot.press("q")
            await scene.settle(lambda: scene.app.screen is main, "left")

        events, callers = main.query_one(EventPane), main.query_one(CallerPane)
        events.focus()
        await scene.pilot.press("enter")
        assert scene.app.screen is main
        assert "belongs to no session" in next(iter(scene.app._notifications)).message
        scene.app.clear_notifications()
        await scene.pilot.press("up", "enter")
        await opened("2001:db8:4:11::25 port 40357")
        await scene.pilot.click(EventPane, offset=(40, events.size.height - 6))
        await opened("203.0.113.99 port 40354")
        await scene.pilot.press("slash", *"ylmf", "enter", "enter")
        await opened("HELO ylmf-pc")
        await scene.pilot.click(CallerPane, offset=(10, 2))
        await opened("198.51.100.7 port 40349")
        callers.focus()
        await scene.pilot.press("home", "enter")
        await opened("192.0.2.41 port 40346")
        await scene.pilot.press("x")
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "hang up")
        assert "192.0.2.41 port 40346 in slot 1" in scene.text()
        await scene.pilot.press("escape")
        main.query_one(SlotPane).focus()
        await scene.pilot.click("#footer", offset=(3, 0))  # the hint of Enter
        await opened("192.0.2.41 port 40346")

    play(Scene(), act, (100, 40))


def test_below_100_columns_the_details_are_a_screen_of_their_own() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(*busy_morning())
        assert "Version" not in scene.text()
        await scene.pilot.press("d")
        await scene.settle(lambda: scene.app.screen is not scene.main, "details")
        assert "Top callers since 14:00" in scene.text()
        await scene.pilot.press("d")
        assert scene.app.screen is scene.main

    play(Scene(), act)
