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
    """A box in front of the screen: a title, the body, a complaint if there is one, and buttons.

    Esc, q, Ctrl-C and the button `cancel` leave it. Enter in an input line and other buttons submit it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "cancel", "Cancel")]

    def __init__(self, title: str, *buttons: TextButton) -> None:
        super().__init__()
        self._frame, self._buttons = Vertical(), buttons
        self._frame.border_title = Content(title)
        self._frame.border_subtitle = "Tab ← → move  ⏎ press  Esc leave"

    def compose(self) -> ComposeResult:
        with self._frame:
            yield from self.body()
            yield Static("", classes="bad", markup=False)
            yield Horizontal(*self._buttons, classes="buttons")

    def body(self) -> ComposeResult:
        """Yield the widgets between the title and the buttons."""
        raise NotImplementedError

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

    def on_input_submitted(self) -> None:
        self.submit()

    def press(self, button: TextButton) -> None:  # noqa: ARG002 - most dialogs have one button besides `cancel`
        """React to another button than `cancel`."""
        self.submit()

    def submit(self) -> None:
        """Check what was typed; then act, and leave."""

    def complain(self, reason: str) -> None:
        """Show in the box why something was not done."""
        place = self.query_one(".bad", Static)
        place.update(sentence(reason) if reason else "")
        place.display = bool(reason)


def text_line(text: str) -> Static:
    """Return a paragraph of plain text."""
    return Static(printable_lines(text), classes="text", markup=False)


def field(label: str, line: Input) -> Horizontal:
    """Return an input line with its label."""
    return Horizontal(Static(label, classes="label", markup=False), line, classes="row")


class ConfirmDialog(Dialog[bool]):
    """Asks before something is lost. It ends with True, after `act` has succeeded; it shows why `act` was refused."""

    AUTO_FOCUS = "#cancel"  # Enter alone changes nothing

    def __init__(self, title: str, text: str, yes: str, act: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(title, TextButton(yes, id="yes"), TextButton("Cancel", id="cancel"))
        self._text, self._act = text, act

    def body(self) -> ComposeResult:
        yield text_line(self._text)

    def submit(self) -> None:
        self.query_one("#yes").disabled = True
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
        super().__init__(title)
        self._frame.border_subtitle = "Esc closes"
        self._text, self._shown = text, Content(otherwise)

    def compose(self) -> ComposeResult:
        with self._frame, VerticalScroll():
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
