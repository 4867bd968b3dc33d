"""Things to press, in one line each: buttons, and switches that say `[x]` rather than change their colour alone."""

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Push(Widget, can_focus=True):
    """A button of one line."""

    BINDINGS = [Binding("enter,space", "press", "Press", show=False)]  # noqa: RUF012 - as Textual has it

    label: reactive[str] = reactive("", layout=True)

    class Pressed(Message):
        """It was pressed."""

        def __init__(self, push: "Push") -> None:
            super().__init__()
            self.push = push

        @property
        def control(self) -> "Push":
            """The button."""
            return self.push

    def __init__(self, label: str, *, id: str, key: str = "") -> None:  # noqa: A002
        super().__init__(id=id)
        self.set_reactive(Push.label, label)
        self._key = key

    def render(self) -> Content:
        """Draw it."""
        return Content.assemble("[ ", *self._named(), " ]")

    def _named(self) -> tuple[Content | str, ...]:
        if not self._key:
            return (self.label,)
        return (Content.styled(self._key, "$footer-key-foreground bold"), " ", self.label)

    def on_click(self, event: events.Click) -> None:
        """Be pressed by the mouse."""
        event.stop()
        self.action_press()

    def action_press(self) -> None:
        """Be pressed."""
        if not self.disabled:
            self.post_message(self.Pressed(self))


class Switch(Push):
    """A switch. Pressing it asks for a change; `is_on` says how things are."""

    is_on: reactive[bool] = reactive(False)

    def render(self) -> Content:
        """Draw it."""
        return Content.assemble(f"[{'x' if self.is_on else ' '}] ", *self._named())
