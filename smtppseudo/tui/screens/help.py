"""The help: what the keys do, drawn from the table of actions, and what is to be seen."""

from textwrap import wrap
from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from smtppseudo.tui.actions import ACTIONS, OTHER_KEYS
from smtppseudo.tui.screens.dialog import Dialog

_ABOUT = """
Slots are the places that a connection can take. A slot keeps its last session after that has closed, \
so the table tells who was there last. Slots never used come last.

A filter takes words, all of which must be there, and ip:192.0.2.0/24; in the slots also state:open, in the \
events event:connected,closed. An empty filter shows everything.

The events begin with those that the server still had when this screen came: about a thousand. \
Whatever a caller sends is shown as printable ASCII; \\x1b is an escape character, and it stays harmless.

Online, in blue, says that the SMTP port is open. Offline, in red, says that it is closed, or that this \
screen has no connection to the server; the words beside it say which.
"""


def key_names(keys: str) -> str:
    """Render keys for people: `? F1`."""
    return " ".join([_NAMES.get(key, key.upper() if len(key) > 1 else key) for key in keys.split(",")])


_NAMES: Final = {"question_mark": "?", "slash": "/", "ctrl+q": "Ctrl+Q"}
_KEYS_WIDTH: Final = 9
_TEXT_WIDTH: Final = 69


def key_lines() -> list[tuple[str, str]]:
    """Return each key and what it does."""
    of_actions = [(key_names(action.keys), f"{action.title}: {action.help}") for action in ACTIONS]
    return of_actions + list(OTHER_KEYS)


class Help(Dialog[None]):
    """The help."""

    BINDINGS = [("question_mark,f1,q", "cancel", "Close")]  # noqa: RUF012 - as Textual has it

    def compose(self) -> ComposeResult:
        """Make the box."""
        with Vertical() as box:
            box.border_title = "Help"
            box.border_subtitle = "Esc closes"
            with VerticalScroll():
                yield Static(self._text(), markup=False)

    def on_mount(self) -> None:
        """Let the arrows scroll."""
        self.query_one(VerticalScroll).focus()

    def _text(self) -> Content:
        lines: list[Content] = []
        for keys, does in key_lines():
            first, *rest = wrap(does, _TEXT_WIDTH - _KEYS_WIDTH)
            lines.append(Content.assemble((f"{keys:<{_KEYS_WIDTH}}", "bold"), first))
            lines += [Content(" " * _KEYS_WIDTH + line) for line in rest]
        return Content("\n").join([*lines, Content(_ABOUT)])
