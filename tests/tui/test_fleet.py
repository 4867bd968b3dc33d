"""Several servers on one screen: the table, one server of it, the magic word that they share, and the memory."""

import pytest
from textual.screen import Screen

from smtppseudo.link.errors import ConnectionLostError, NeedsMagicWordError, NotAuthorizedError
from smtppseudo.link.route import Target
from smtppseudo.tui.actions import FLEET_ACTIONS
from smtppseudo.tui.dialogs.dialog import ConfirmDialog
from smtppseudo.tui.dialogs.magic_word import LoginDialog
from smtppseudo.tui.dialogs.setup import SetupDialog
from smtppseudo.tui.feeder import LinkDown, Update
from smtppseudo.tui.fleet_screen import FleetScreen
from smtppseudo.tui.main_screen import MainScreen
from smtppseudo.tui.memory import MEMORY_FILE
from tests.tui.scene import Scene, batch, fleet_morning, fleet_scene, link_up, play, session_events

WIDE = (160, 40)
NO_WORD = LinkDown(NeedsMagicWordError("192.0.2.1 port 26"), None)


def rows(scene: Scene) -> list[str]:
    """Return the lines of the table."""
    return [line for line in scene.text().splitlines() if " ● " in line[10:40] or " ○ " in line[10:40]]


def only(at: int, *updates: Update, count: int = 3) -> list[list[Update]]:
    """Return updates of one of some servers."""
    return [list(updates) if number == at else [] for number in range(count)]


def shows(scene: Scene, kind: type[Screen[None]]) -> bool:
    """Return whether a screen of this kind is in front."""
    return isinstance(scene.app.screen, kind)


def test_the_table_has_a_line_a_server_and_the_sums() -> None:
    async def act(scene: Scene) -> None:
        assert scene.text().count("connecting") == 12
        await scene.tell_all(fleet_morning())
        lines = rows(scene)
        for number, words in (
            (1, "mx1 ● Online 1/25 41 1 198.51.100.7 14:29 1.0.0 cookie"),
            (2, "mx2 ○ Offline 1/25 82 2 203.0.113.99 14:29 1.0.0 cookie connection lost"),
            (4, "192.0.2.4:26 ○ Offline unreachable"),
            (8, "192.0.2.8:26 ○ Offline wrong magic word"),
            (9, "mx9 ● Online 3/25 369 4 203.0.113.99 14:29 1.0.0 cookie 12 log lines could not be written."),
            (10, "mx10 ○ Offline 0/25 1,018 0 1.0.0 cookie SMTP port closed"),
            (11, "192.0.2.11:26 ○ Offline new certificate"),
        ):
            assert " ".join(lines[number - 1].split()) == words
        assert "7 of 12 servers online   2,863 mails refused today   15 in the last minute" in scene.text()

    play(fleet_scene(), act, WIDE)


def test_a_server_cannot_take_the_name_of_another() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all([[link_up(server_name=name)] for name in ("mx1", "mx1", "192.0.2.1:26", "mx4")])
        assert [line.split()[0] for line in rows(scene)] == ["192.0.2.1:26", "192.0.2.2:26", "192.0.2.3:26", "mx4"]

    play(fleet_scene(4), act, WIDE)


def test_the_trouble_of_the_server_under_the_cursor_stands_below_the_table() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all(fleet_morning())
        await scene.pilot.press(*["down"] * 7)
        assert "192.0.2.8 port 26: Not Authorized! The magic word is wrong." in scene.text()
        await scene.pilot.press("down")
        assert "Not Authorized" not in scene.text()

    play(fleet_scene(), act, WIDE)


@pytest.mark.parametrize("back", ["escape", "ctrl+c"])
def test_enter_or_a_click_shows_a_server_and_esc_comes_back(back: str) -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all(fleet_morning())
        home = scene.app.screen
        await scene.pilot.press("down", "down", "enter")
        assert shows(scene, MainScreen)
        assert "Esc servers" in scene.text()
        await scene.tell_all(only(2, batch(*session_events(90, 9, "192.0.2.77", "new.example", "<a@b>")), count=12))
        assert "new.example" in scene.text()
        await scene.pilot.press("f", "x", back)
        assert shows(scene, MainScreen)  # that was the filter
        await scene.pilot.press("question_mark", back)
        assert shows(scene, MainScreen)
        await scene.pilot.press(back)
        assert scene.app.screen is home
        assert "192.0.2.77" in rows(scene)[2]
        await scene.pilot.click("#servers", offset=(5, 6))
        assert shows(scene, MainScreen)
        assert scene.view.model.settings["server_name"] == "mx6"
        await scene.pilot.press("q")
        await scene.settle(lambda: not scene.app.is_running, "quit")

    play(fleet_scene(), act, WIDE)


def test_updates_of_servers_that_are_not_shown_are_followed() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all([[link_up()], [link_up()], []])
        await scene.pilot.press("enter")
        await scene.tell_all(only(1, LinkDown(ConnectionLostError("192.0.2.2 port 26: the end"), 4.0)))
        assert "the end" not in scene.text()
        await scene.pilot.press("escape")
        assert "connection lost" in rows(scene)[1]

    play(fleet_scene(3), act, WIDE)


def test_the_word_is_asked_once_for_all_that_need_it() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all([[NO_WORD], [link_up()], [NO_WORD], []])
        assert isinstance(scene.app.screen, LoginDialog)
        assert "is tried at each server here that needs one" in " ".join(scene.text().split())
        await scene.pilot.press(*"open sesame", "enter")
        assert shows(scene, FleetScreen)
        tried = {source.started[0][0] for source in scene.sources[4:]}
        assert tried == {Target(f"192.0.2.{number}", 26, "open sesame") for number in (1, 3)}
        late = scene.sources[3]
        late.updates.append(NO_WORD)
        scene.app.tick()
        await scene.pilot.pause()
        assert shows(scene, FleetScreen)
        assert scene.source.started[0][0] == Target("192.0.2.4", 26, "open sesame")
        assert "sesame" not in scene.store.files[MEMORY_FILE]

    play(fleet_scene(4), act, WIDE)


def test_a_cancelled_question_comes_back_on_request_only() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all([[NO_WORD], [NO_WORD], []])
        await scene.pilot.press("escape")
        await scene.tell_all(only(2, NO_WORD))
        assert shows(scene, FleetScreen)
        await scene.pilot.press("r", *"open sesame", "enter")
        assert len(scene.sources) == 6

    play(fleet_scene(3), act, WIDE)


def test_a_mistyped_word_is_typed_once_again() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all([[NO_WORD], [NO_WORD], [link_up()]])
        await scene.pilot.press(*"open sesam", "enter")
        for source in scene.sources[3:5]:
            source.updates.append(LinkDown(NotAuthorizedError("192.0.2.1 port 26: Not Authorized!"), None))
        scene.app.tick()
        await scene.pilot.pause()
        assert shows(scene, FleetScreen)
        await scene.pilot.press("r", *"open sesame", "enter")
        tried = {source.started[0][0].magic_word for source in scene.sources[5:]}
        assert (len(scene.sources), tried) == (7, {"open sesame"})

    play(fleet_scene(3), act, WIDE)


def test_a_server_with_another_word_asks_for_its_own() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all([[link_up()], [LinkDown(NotAuthorizedError("192.0.2.2 port 26: no"), None)], []])
        assert shows(scene, FleetScreen)
        await scene.pilot.press("down", "enter")
        await scene.settle(lambda: isinstance(scene.app.screen, LoginDialog), "asked")
        await scene.pilot.press(*"another word", "enter")
        assert len(scene.sources) == 4
        assert scene.source.started[0][0] == Target("192.0.2.2", 26, "another word")
        assert shows(scene, MainScreen)

    play(fleet_scene(3), act, WIDE)


def test_an_unknown_certificate_is_asked_about_where_the_operator_goes() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all(fleet_morning())
        assert shows(scene, FleetScreen)
        await scene.pilot.press("end", "up", "enter")
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "asked")
        await scene.pilot.press("escape", "escape", "r")
        await scene.settle(lambda: isinstance(scene.app.screen, ConfirmDialog), "asked on the list, too")
        await scene.pilot.click("#yes")
        await scene.settle(lambda: scene.sources[10].retries == 1, "connected again")

    play(fleet_scene(), act, WIDE)


def test_the_list_and_a_change_in_it_are_remembered() -> None:
    async def act(scene: Scene) -> None:
        assert scene.store.files[MEMORY_FILE].count('"host"') == 3
        await scene.tell_all([[link_up()], [link_up()], [link_up()]])
        await scene.pilot.press("down", "s")
        setup = scene.app.screen
        assert isinstance(setup, SetupDialog)
        await scene.settle(lambda: not setup.query_one("#greeting").disabled, "loaded")
        setup.query_one("#port").value = "2626"  # type: ignore[attr-defined]
        await scene.pilot.press("enter")
        await scene.settle(lambda: isinstance(scene.app.screen, FleetScreen), "saved")
        assert scene.source.started[0][0] == Target("192.0.2.2", 2626)
        assert scene.store.files[MEMORY_FILE].count('"host"') == 3
        assert '"port": 2626' in scene.store.files[MEMORY_FILE]

    play(fleet_scene(3), act, WIDE)


def test_footer_help_and_palette_have_the_actions_of_the_list() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all([[link_up()], [link_up()], [link_up()]])
        assert scene.text().splitlines()[-1].strip() == "⏎ open ? help t theme s setup r retry q quit"
        commands = {command.title for command in scene.app.get_system_commands(scene.app.screen)}
        assert commands == {action.title for action in FLEET_ACTIONS}
        await scene.pilot.press("question_mark")
        assert "Connect now" in scene.text()
        assert "Disconnect:" not in scene.text()
        await scene.pilot.press("escape", "t")
        assert "light" in scene.store.files[MEMORY_FILE]

    play(fleet_scene(3), act, WIDE)


def test_fifty_servers_scroll_with_the_cursor() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell_all([[link_up(server_name=f"server{number}")] for number in range(1, 51)])
        await scene.pilot.press("end")
        assert "server50 " in scene.text()
        assert "server1 " not in scene.text()
        assert "Server " in scene.text().splitlines()[1]
        await scene.pilot.press("home")
        assert "server1 " in scene.text()

    play(fleet_scene(50), act, (80, 24))
