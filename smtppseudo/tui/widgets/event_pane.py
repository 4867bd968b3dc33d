"""The list of events. It draws only the lines in view."""

from datetime import tzinfo
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.event_list import EventList, Note
from smtppseudo.tui.texts import (
    clock_time,
    describe,
    fit,
    number_of,
    remarks_on,
    reply_class,
    reply_of,
    short_command,
    text_of,
)
from smtppseudo.tui.widgets.tables import MOVE_KEYS, TABLE_STYLES, cursor_bar

_IP_WIDTH: Final = 17  # a longer address moves the rest to the right
_COMMAND_SHARE: Final = 0.42  # of the room behind the address; the reply has the rest
_COMMAND_WIDTH_MAX: Final = 48
_REPLY_TEXT_FROM: Final = 50  # with less room, the code stands alone


class EventPane(ScrollView, can_focus=True):
    """The events, the newest at the bottom. `is_following` keeps it in view; `is_paused` hides newer ones."""

    COMPONENT_CLASSES: ClassVar[set[str]] = TABLE_STYLES | {
        f"events--{part}" for part in ("time", "connected", "closed", "warning", "other", "note")
    }
    BINDINGS: ClassVar[list[BindingType]] = [*MOVE_KEYS, Binding("enter", "open", "Session")]

    is_following: reactive[bool] = reactive(True)
    is_paused: reactive[bool] = reactive(False)

    class Changed(Message):
        """`is_following` or `is_paused` has changed."""

    class Opened(Message):
        """The operator opened an event's session."""

        def __init__(self, record: Frame) -> None:
            super().__init__()
            self.record = record

    def __init__(self, event_list: EventList, zone: tzinfo | None, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._list = event_list
        self._zone = zone
        self._top = 0  # the number of the item on the first line, while not following
        self._until: int | None = None  # the number of the first hidden item, while paused
        self._cursor: int | None = None  # the number of the item under the cursor; None: the newest
        self._drawn = (0, 0)

    @property
    def record(self) -> Frame | None:
        """The event under the cursor."""
        item = self._list.at(self._cursor_line)
        return item if isinstance(item, dict) else None

    def watch_is_following(self) -> None:
        self.post_message(self.Changed())

    def watch_is_paused(self, is_paused: bool) -> None:
        self._until = self._list.next_number if is_paused else None
        self.post_message(self.Changed())
        self.catch_up()

    @property
    def held_back(self) -> int:
        """The number of events since the pause began."""
        return 0 if self._until is None else self._list.next_number - self._until

    def show_events(self, event_list: EventList) -> None:
        """Show another list, or the same one after its filter was changed."""
        self._list = event_list
        self._cursor = None
        if self.is_paused:
            self._until = event_list.next_number
        self.catch_up()
        self.refresh()

    def catch_up(self) -> None:
        """Show new events."""
        lines = self._lines()
        if self.virtual_size.height != lines:
            self.virtual_size = Size(0, lines)
        if self.is_following:
            self.scroll_to(y=max(0, lines - self.size.height), animate=False)
        elif self._list.line_of(self._top) != self.scroll_offset.y:
            self.scroll_to(y=self._list.line_of(self._top), animate=False)
        drawn = (lines, self._list.next_number if self._until is None else self._until)
        if drawn != self._drawn:
            self._drawn = drawn
            self.refresh()

    def search(self, words: str, step: int) -> bool:
        """Go to the nearest match after (`step` 1) or before (-1) the cursor; return whether there is one."""
        line = self._list.find(words, self._cursor_line if self._cursor is not None else self._lines(), step)
        if line is None or line >= self._lines():
            return False
        self._go_to(line)
        self._scroll_to_line(line - self.size.height // 2)
        return True

    def forget_cursor(self) -> None:
        """Remove the cursor."""
        self._cursor = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        line = self.scroll_offset.y + y
        item = self._list.at(line) if line < self._lines() else None
        if item is None:
            return Strip.blank(width, self.rich_style)
        style = self.get_component_rich_style
        if isinstance(item, Note):
            parts = [Segment(fit(f" -- {item.text} --", width), style("events--note"))]
        else:
            parts = self._parts(item, width)
        if self._cursor is None or self._list.number_at(line) != self._cursor:
            return Strip(parts, width)
        bar = cursor_bar(self)
        return Strip([Segment(part.text, (part.style or Style()) + bar) for part in parts], width)

    def on_resize(self) -> None:
        self.catch_up()

    def on_click(self, event: events.Click) -> None:
        """Open the session of an event."""
        line = self.scroll_offset.y + event.y
        if line < self._lines():
            self._go_to(line)
            self.action_open()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following when the wheel or the scrollbar leaves the newest line; follow again when it comes back."""
        super().watch_scroll_y(old_value, new_value)
        at_end = round(new_value) >= self._lines() - self.size.height
        if at_end and not self.is_following and self._cursor is None:
            self.is_following = True
        elif not at_end and round(new_value) < round(old_value):
            self.is_following = False
        if not self.is_following and len(self._list):
            self._top = self._list.number_at(max(0, min(round(new_value), len(self._list) - 1)))

    def action_move(self, step: int) -> None:
        self._walk(step)

    def action_page(self, step: int) -> None:
        self._walk(step * max(1, self.size.height - 1))

    def action_jump(self, line: int) -> None:
        """Go to a line; -1: to the newest, and follow."""
        if line >= 0:
            self._go_to(line)
        else:
            self._cursor, self.is_following = None, True
            self._scroll_to_line(self._lines())
            self.refresh()

    def action_open(self) -> None:
        record = self.record
        if record is not None:
            self.post_message(self.Opened(record))

    @property
    def _cursor_line(self) -> int:
        if self._cursor is None or self._cursor < self._list.first:
            return self._lines() - 1
        return self._list.line_of(self._cursor)

    def _walk(self, step: int) -> None:
        line = self._cursor_line + step
        if line >= self._lines():
            self.action_jump(-1)
        else:
            self._go_to(line)

    def _go_to(self, line: int) -> None:
        """Put the cursor on a line, and show it."""
        if not self._lines():
            return
        line = max(0, min(line, self._lines() - 1))
        self._cursor, self.is_following = self._list.number_at(line), False
        top = self.scroll_offset.y
        self._scroll_to_line(min(line, max(top, line - self.size.height + 1)))
        self._top = self._list.number_at(self.scroll_offset.y)
        self.refresh()

    def _scroll_to_line(self, line: int) -> None:
        self.scroll_to(y=max(0, min(line, self._lines() - self.size.height)), animate=False)

    def _lines(self) -> int:
        """Return the number of lines that are not hidden."""
        if self._until is None:
            return len(self._list)
        return self._list.line_of(self._until - 1) + 1 if len(self._list) else 0

    def _parts(self, record: Frame, width: int) -> list[Segment]:
        kind = text_of(record, "event")
        time = clock_time(text_of(record, "time"), self._zone)
        head = f" {time} {number_of(record, 'slot') or '':>4}  {text_of(record, 'ip'):<{_IP_WIDTH}}  "[:width]
        room, style = width - len(head), self.get_component_rich_style
        parts = [Segment(head, style("events--time"))]
        if kind == "command":
            share = min(int(room * _COMMAND_SHARE), _COMMAND_WIDTH_MAX) if room >= _REPLY_TEXT_FROM else room - 6
            command = fit(short_command(text_of(record, "data")) + remarks_on(record), share)
            reply = reply_of(record)[: None if room >= _REPLY_TEXT_FROM else 3]
            parts.append(Segment(f"{command}  "[:room], style("reply--said")))
            parts.append(Segment(fit(reply, room - len(command) - 2), style(f"reply--{reply_class(reply)}")))
        else:
            text = describe(record) if kind == "closed" else f"{kind} {describe(record)}"
            parts.append(Segment(fit(text, room), style(_STYLES.get(kind, "events--other"))))
        return parts


_STYLES: Final = {
    "connected": "events--connected",
    "closed": "events--closed",
    "turned_away": "events--warning",
    "error": "reply--fault",
}
