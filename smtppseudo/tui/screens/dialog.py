"""Dialogs: what they have in common, and the confirmation."""

from collections.abc import Awaitable, Callable
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from smtppseudo.link.errors import LinkError
from smtppseudo.tui.background import start_worker
from smtppseudo.tui.texts import printable, sentence
from smtppseudo.tui.widgets.buttons import TextButton

T = TypeVar("T")


class Dialog(ModalScreen[T], Generic[T]):
    """A box in front of the screen. Esc leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def action_cancel(self) -> None:
        """Leave; nothing is changed."""
        self.dismiss(None)

    def complain(self, reason: str) -> None:
        """Show in the box why something was not done."""
        place = self.query_one(".bad", Static)
        place.update(sentence(reason) if reason else "")
        place.display = bool(reason)


def box(title: str, subtitle: str = "") -> Vertical:
    """Return the frame of a dialog."""
    frame = Vertical()
    frame.border_title, frame.border_subtitle = Content(title), subtitle
    return frame


def text_line(text: str) -> Static:
    """Return a paragraph of plain text."""
    return Static(printable_lines(text), classes="text", markup=False)


def complaint() -> Static:
    """Return the hidden paragraph that `complain` shows."""
    return Static("", classes="bad", markup=False)


def field(label: str, line: Input) -> Horizontal:
    """Return an input line with its label."""
    return Horizontal(Static(label, classes="label", markup=False), line, classes="row")


def buttons(*row: TextButton) -> Horizontal:
    """Return a row of buttons."""
    return Horizontal(*row, classes="buttons")


def printable_lines(text: str) -> str:
    """Return a text of several lines as printable ASCII."""
    return "\n".join(map(printable, text.split("\n")))


class ConfirmDialog(Dialog[bool]):
    """Asks before something is lost. It ends with True, after `act` has succeeded; it shows why `act` was refused."""

    def __init__(self, title: str, text: str, yes: str, act: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._yes = yes
        self._act = act

    def compose(self) -> ComposeResult:
        with box(self._title):
            yield text_line(self._text)
            yield complaint()
            yield buttons(TextButton(self._yes, id="yes"), TextButton("Cancel", id="no"))

    def on_mount(self) -> None:
        self.query_one("#no").focus()  # Enter alone changes nothing

    def on_text_button_pressed(self, event: TextButton.Pressed) -> None:
        event.stop()
        if event.button.id == "yes":
            event.button.disabled = True
            start_worker(self, self._finish, "act")
        else:
            self.action_cancel()

    async def _finish(self) -> None:
        try:
            if self._act is not None:
                await self._act()
        except LinkError as error:
            self.complain(str(error))
            self.query_one("#no", TextButton).label = "Close"
            self.query_one("#no").focus()
        else:
            self.dismiss(True)
