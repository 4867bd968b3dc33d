"""Text from outside that could harm a terminal or the layout."""

from typing import Any

import pytest

from smtppseudo.link.errors import (
    ConnectionLostError,
)
from smtppseudo.tui.feeder import LinkDown
from smtppseudo.tui.main_screen import DETAILS_COLUMNS
from tests.hostile import CONTROL, LAYOUT
from tests.tui.scene import Scene, batch, event, link_up, play, status


@pytest.mark.parametrize("text", CONTROL + LAYOUT, ids=range(len(CONTROL + LAYOUT)))
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
        scene.source.refuse("block", "bad_value", text)
        yes = ("shift+tab", "enter")
        for keys in (
            ("enter",),
            ("escape", "down", "enter"),
            ("escape", "b", *yes),
            ("escape", "o", *yes),
            ("escape", "s"),
        ):
            await scene.pilot.press(*keys)
            await scene.pilot.pause()
            check(scene.text())
        await scene.pilot.press("escape", "escape")
        await scene.tell(LinkDown(ConnectionLostError(text), 1.0))
        scene.app.page.report("Stop server", text)
        await scene.pilot.pause()
        check(scene.text())

    def check(shown: str) -> None:
        assert not [char for char in shown if not char.isprintable() and char != "\n"]
        assert not any(char in shown for char in "日\uff57👩\u0301\u202e")

    play(Scene(), act, (DETAILS_COLUMNS, 40))
