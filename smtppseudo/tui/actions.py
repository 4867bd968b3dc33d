"""Actions of the pages. Key bindings, footer, help and command palette come from this table."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Final, NamedTuple

from textual.content import Content


class ScreenAction(NamedTuple):
    """One action. The main screen's method is `action_NAME`.

    `footer` is the label in the footer, or empty; `panes` are those where it is shown there, all if empty. Where room
    is short, a high `rank` is left out first.
    """

    keys: str
    name: str
    title: str
    help: str
    footer: str = ""
    panes: str = ""
    rank: int = 0


_TABLES: Final = "slots events callers"
ACTIONS: Final = (
    ScreenAction("question_mark,f1", "help", "Help", "What the keys do, and what the screen shows", "help"),
    ScreenAction("x", "disconnect", "Disconnect", "End the session under the cursor", "hang up", _TABLES),
    ScreenAction("b", "block", "Block", "Turn away the caller under the cursor for 7 days", "block", _TABLES, 2),
    ScreenAction("f", "filter", "Filter", "Show only some slots or events", "filter", "slots events"),
    ScreenAction("slash", "search", "Search events", "Find words in the events", "search", "events callers", 3),
    ScreenAction("n", "search_next", "Next match", "Go to the next event that matches the search"),
    ScreenAction("N", "search_previous", "Previous match", "Go to the previous event that matches the search"),
    ScreenAction("p", "pause", "Pause events", "Stay here, or follow the newest event again", "pause", "events", 1),
    ScreenAction("c", "sort", "Sort by the next column", "A click on a column's title sorts, too", "sort", "slots", 3),
    ScreenAction("C", "reverse", "Reverse the order", "Sort in the other direction"),
    ScreenAction("d", "details", "Details", "The server, its service, and the top callers", "details", rank=4),
    ScreenAction("v", "service", "Service", "Install, start, stop or uninstall this machine's", "service", rank=5),
    ScreenAction("t", "theme", "Dark or light", "Change the colours", "theme", rank=6),
    ScreenAction("s", "setup", "Setup", "The server's greeting; which server to monitor, and its magic word"),
    ScreenAction("o", "switch_server", "Start or stop server", "Open or close the SMTP port"),
    ScreenAction("l", "data_events", "Log data", "Log and show what callers send, or not"),
    ScreenAction("a", "accept_mail", "Accept mail", "Accept every message and throw it away, or refuse mail"),
    ScreenAction("w", "magic_word", "New magic word", "Change the server's magic word (the monitor password)"),
    ScreenAction("r", "retry", "Connect now", "Try to connect now, if there is no connection"),
    ScreenAction("q,ctrl+q", "leave", "Quit", "Close this screen; the server keeps running", "quit"),
)
_OF_FLEET: Final = ("help", "setup", "retry", "theme", "leave")
FLEET_ACTIONS: Final = tuple(
    action._replace(footer=action.footer or action.name) for action in ACTIONS if action.name in _OF_FLEET
)

KEY_SIGNS: Final = {"question_mark": "?", "slash": "/"}
OTHER_KEYS: Final = (
    ("Enter", "Show the session under the cursor; so does a click on an event or a caller"),
    ("Tab", "Go to the next pane or to the buttons; Enter presses a button"),
    ("Arrows", "Move, like Page, Home and End; End in the events follows the newest"),
    ("Esc", "Leave a dialog, a filter, or one of several servers, like Ctrl+C; q, too, leaves a dialog, else it quits"),
    ("Ctrl+Z", "Suspend the screen; `fg` in the shell shows it again (not on Windows)"),
    ("Ctrl+P", "Command palette: every action by name"),
)
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
_KEY_NAMES: Final = {**KEY_SIGNS, "ctrl+q": "Ctrl+Q", "f1": "F1"}
_KEYS_WIDTH: Final = 9
_TEXT_WIDTH: Final = 69


def key_lines(actions: Sequence[ScreenAction]) -> list[tuple[str, str]]:
    """Return each key, and what it does."""
    keys = [" ".join([_KEY_NAMES.get(key, key) for key in action.keys.split(",")]) for action in actions]
    texts = [f"{action.title}: {action.help}" for action in actions]
    return [*zip(keys, texts, strict=True), *OTHER_KEYS]


def help_text(actions: Sequence[ScreenAction]) -> Content:
    """Return the text of the help on a page with these actions."""
    lines: list[Content] = []
    for keys, text in key_lines(actions):
        first, *rest = wrap(text, _TEXT_WIDTH - _KEYS_WIDTH)
        lines.append(Content.assemble((f"{keys:<{_KEYS_WIDTH}}", "bold"), first))
        lines += [Content(" " * _KEYS_WIDTH + line) for line in rest]
    return Content("\n").join([*lines, Content(_ABOUT)])
