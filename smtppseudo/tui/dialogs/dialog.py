"""What all dialogs share, the confirmation, and the dialog that shows a text."""

from collections.abc import Awaitable, Callable
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from smtppseudo.events import printable_lines
from smtppseudo.link.errors import LinkError
from smtppseudo.tui.background import start_worker
from smtppseudo.tui.texts import sentence
from smtppseudo.tui.widgets.buttons import TextButton, TextSwitch

T = TypeVar("T")


class Dialog(ModalScreen[T], Generic[T]):
    """A box in front of the screen. Esc, q, Ctrl-C and the button `cancel` leave it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "cancel", "Cancel")]

    def action_cancel(self) -> None:
        """Leave; nothing is changed."""
        self.dismiss(None)

    def on_text_button_pressed(self, event: TextButton.Pressed) -> None:
        event.stop()
        button = event.button
        if isinstance(button, TextSwitch):
            button.is_on = not button.is_on
        elif button.id == "cancel":
            self.action_cancel()
        else:
            self.press(button)

    def press(self, button: TextButton) -> None:
        """React to another button."""

    def complain(self, reason: str) -> None:
        """Show in the box why something was not done."""
        place = self.query_one(".bad", Static)
        place.update(sentence(reason) if reason else "")
        place.display = bool(reason)


def box(title: str, subtitle: str = "Tab ← → move  ⏎ press  Esc leave") -> Vertical:
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


class ConfirmDialog(Dialog[bool]):
    """Asks before something is lost. It ends with True, after `act` has succeeded; it shows why `act` was refused."""

    AUTO_FOCUS = "#cancel"  # Enter alone changes nothing

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
            yield buttons(TextButton(self._yes, id="yes"), TextButton("Cancel", id="cancel"))

    def press(self, button: TextButton) -> None:
        button.disabled = True
        start_worker(self, self._finish, "act")

    async def _finish(self) -> None:
        try:
            if self._act is not None:
                await self._act()
        except LinkError as error:
            self.complain(str(error))
            self.query_one("#cancel", TextButton).label = "Close"
            self.query_one("#cancel").focus()
        else:
            self.dismiss(True)


class TextDialog(Dialog[None]):
    """Shows a text that may grow. `text` is called twice a second; where it returns None, the last text stays."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter,d,question_mark,f1", "cancel", "Close")]

    def __init__(self, title: str, text: Callable[[], Content | None], otherwise: str = "") -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._shown = Content(otherwise)

    def compose(self) -> ComposeResult:
        with box(self._title, "Esc closes"), VerticalScroll():
            yield Static(self._shown, markup=False)

    def on_mount(self) -> None:
        self.catch_up()
        self.set_interval(0.5, self.catch_up)

    def catch_up(self) -> None:
        """Show what has changed; stay at the end of the text."""
        text = self._text()
        if text is None or text == self._shown:
            return
        self._shown = text
        scroll = self.query_one(VerticalScroll)
        at_end = scroll.is_vertical_scroll_end and scroll.max_scroll_y > 0
        self.query_one(Static).update(text)
        if at_end:
            scroll.scroll_end(animate=False)
