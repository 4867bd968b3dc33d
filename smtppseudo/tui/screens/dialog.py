"""Dialogs: what is asked before anything is lost, and what they have in common."""

from collections.abc import Awaitable, Callable
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from smtppseudo.link.errors import LinkError
from smtppseudo.tui.texts import sentence, shown
from smtppseudo.tui.waiting import begin
from smtppseudo.tui.widgets.push import Push

T = TypeVar("T")


class Dialog(ModalScreen[T], Generic[T]):
    """A box before the screen that Esc leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def action_cancel(self) -> None:
        """Leave it, nothing done."""
        self.dismiss(None)

    def complain(self, reason: str) -> None:
        """Say, in the box, why it was not done."""
        place = self.query_one(".bad", Static)
        place.update(sentence(reason) if reason else "")
        place.display = bool(reason)


class Confirm(Dialog[bool]):
    """Asks before something is lost. It ends with true; or does it first (`act`), and says so where it is refused."""

    def __init__(self, title: str, text: str, yes: str, act: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._yes = yes
        self._act = act

    def compose(self) -> ComposeResult:
        """Make the box."""
        with Vertical() as box:
            box.border_title = self._title
            yield Static(shown(self._text), classes="text", markup=False)
            yield Static("", classes="bad", markup=False)
            with Horizontal(classes="buttons"):
                yield Push(self._yes, id="yes")
                yield Push("Cancel", id="no")

    def on_mount(self) -> None:
        """Let Enter alone change nothing."""
        self.query_one("#no").focus()

    def on_push_pressed(self, event: Push.Pressed) -> None:
        """Do it, or not."""
        event.stop()
        if event.push.id == "yes":
            event.push.disabled = True
            begin(self, self._do, "act")
        else:
            self.action_cancel()

    async def _do(self) -> None:
        try:
            if self._act is not None:
                await self._act()
        except LinkError as error:
            self.complain(str(error))
            self.query_one("#no", Push).label = "Close"
            self.query_one("#no").focus()
        else:
            self.dismiss(True)
