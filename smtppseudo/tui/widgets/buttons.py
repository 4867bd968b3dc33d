"""Buttons and switches of one line. A switch shows `[x]`, so that it is readable without colours."""

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class TextButton(Widget, can_focus=True):
    """A button. `key` is shown before the label: the key that does the same."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "press", "Press", show=False),
        Binding("left,up", "app.focus_previous", "Previous", show=False),
        Binding("right,down", "app.focus_next", "Next", show=False),
    ]
    label: reactive[str] = reactive("", layout=True)

    @dataclass
    class Pressed(Message):
        """The button was pressed."""

        button: "TextButton"

    def __init__(self, label: str, *, id: str, key: str = "", disabled: bool = False) -> None:  # noqa: A002
        super().__init__(id=id, disabled=disabled)
        self.set_reactive(TextButton.label, label)
        self._key = key

    def render(self) -> Content:
        return Content.assemble("[", *self._key_and_label(), "]")

    def _key_and_label(self) -> tuple[Content | str, ...]:
        if not self._key:
            return (self.label,)
        return (Content.styled(self._key, "$accent bold"), " ", self.label)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_press()

    def action_press(self) -> None:
        if not self.disabled:
            self.post_message(self.Pressed(self))


class TextSwitch(TextButton):
    """A switch. Pressing it only asks for a change; `is_on` is the actual state."""

    is_on: reactive[bool] = reactive(False)

    def __init__(self, label: str, *, id: str, key: str = "", is_on: bool = False, disabled: bool = False) -> None:  # noqa: A002
        super().__init__(label, id=id, key=key, disabled=disabled)
        self.set_reactive(TextSwitch.is_on, is_on)

    def render(self) -> Content:
        return Content.assemble(f"[{'x' if self.is_on else ' '}] ", *self._key_and_label())
