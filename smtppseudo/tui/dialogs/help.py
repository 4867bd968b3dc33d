"""The help: the keys, from the table of actions, and what the screen shows."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Final

from textual.content import Content

from smtppseudo.tui.actions import KEY_SIGNS, OTHER_KEYS, ScreenAction

_ABOUT: Final = """
A slot is a place for one connection. It keeps its last session after that was closed: open ones come first, \
then the latest. Slots that were never used share one line.

A filter takes words, all of which must match, and networks: ip:192.0.2.0/24. In the slots it also takes \
state:open, in the events event:connected,closed. An empty filter shows everything.

When the screen connects, it gets the latest events from the server, about a thousand. \
What callers send is shown as printable ASCII: \\x1b is an escape character, and it is harmless here.

Offline, in red: the SMTP port is closed, or this screen has no connection to the server; the words beside it \
say which. Replies: blue refuses, grey (50z, 421) is the caller's mistake, red is a fault of the server.
"""
_KEY_NAMES: Final = {**KEY_SIGNS, "ctrl+q": "Ctrl+Q"}
_KEYS_WIDTH: Final = 9
_TEXT_WIDTH: Final = 69


def key_lines(actions: Sequence[ScreenAction]) -> list[tuple[str, str]]:
    """Return each key, and what it does."""
    of_actions = [(_key_names(action.keys), f"{action.title}: {action.help}") for action in actions]
    return of_actions + list(OTHER_KEYS)


def _key_names(keys: str) -> str:
    return " ".join([_KEY_NAMES.get(key, key.upper() if len(key) > 1 else key) for key in keys.split(",")])


def help_text(actions: Sequence[ScreenAction]) -> Content:
    """Return the text of the help on a page with these actions."""
    lines: list[Content] = []
    for keys, text in key_lines(actions):
        first, *rest = wrap(text, _TEXT_WIDTH - _KEYS_WIDTH)
        lines.append(Content.assemble((f"{keys:<{_KEYS_WIDTH}}", "bold"), first))
        lines += [Content(" " * _KEYS_WIDTH + line) for line in rest]
    return Content("\n").join([*lines, Content(_ABOUT)])
