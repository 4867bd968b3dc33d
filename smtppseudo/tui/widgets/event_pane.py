"""The list of events. It draws only the lines in view."""

from datetime import tzinfo
from typing import ClassVar, Final

from rich.segment import Segment
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.event_list import EventList, Note
from smtppseudo.tui.texts import clock_time, describe, fit, number_of, text_of
from smtppseudo.tui.widgets.move_keys import MOVE_KEYS

_IP_WIDTH: Final = 17  # a longer address moves the rest to the right
_KIND_WIDTH: Final = 9


class EventPane(ScrollView, can_focus=True):
    """The events, the newest at the bottom. `is_following` keeps it in view; `is_paused` hides newer ones."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"events--{part}" for part in ("time", "connected", "closed", "command", "warning", "other", "note", "found")
    }
    BINDINGS: ClassVar[list[BindingType]] = MOVE_KEYS

    is_following: reactive[bool] = reactive(True)
    is_paused: reactive[bool] = reactive(False)

    class Changed(Message):
        """`is_following` or `is_paused` has changed."""

    def __init__(self, event_list: EventList, zone: tzinfo | None, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._list = event_list
        self._zone = zone
        self._top = 0  # the number of the item on the first line, while not following
        self._until: int | None = None  # the number of the first hidden item, while paused
        self._found: int | None = None  # the number of the item that a search found
        self._drawn = (0, 0)

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
        self._found = None
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
        """Go to the nearest match after (`step` 1) or before (-1) the last one; return whether there is one."""
        start = self._line_of_found()
        line = self._list.find(words, start, step)
        if line is None or line >= self._lines():
            return False
        self._found = self._list.number_at(line)
        self.is_following = False
        self._scroll_to_line(line - self.size.height // 2)
        self.refresh()
        return True

    def forget_search(self) -> None:
        """Remove the mark of the match."""
        self._found = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        line = self.scroll_offset.y + y
        item = self._list.at(line) if line < self._lines() else None
        if item is None:
            return Strip.blank(width, self.rich_style)
        is_found = self._found is not None and self._list.number_at(line) == self._found
        if isinstance(item, Note):
            text = fit(f" -- {item.text} --", width)
            return Strip([Segment(text, self.get_component_rich_style("events--note"))], width)
        return self._line(item, width, is_found=is_found)

    def on_resize(self) -> None:
        self.catch_up()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following when the wheel or the scrollbar leaves the newest line; follow again when it comes back."""
        super().watch_scroll_y(old_value, new_value)
        at_end = round(new_value) >= self._lines() - self.size.height
        if at_end and not self.is_following and self._found is None:
            self.is_following = True
        elif not at_end and round(new_value) < round(old_value):
            self.is_following = False
        if not self.is_following and len(self._list):
            self._top = self._list.number_at(max(0, min(round(new_value), len(self._list) - 1)))

    def action_move(self, step: int) -> None:
        self._scroll_to_line(self.scroll_offset.y + step)

    def action_page(self, step: int) -> None:
        self._scroll_to_line(self.scroll_offset.y + step * max(1, self.size.height - 1))

    def action_jump(self, line: int) -> None:
        """Go to a line; -1: to the newest, and follow."""
        self.is_following = line < 0
        self._found = None
        self._scroll_to_line(line if line >= 0 else self._lines())

    def _scroll_to_line(self, line: int) -> None:
        self.scroll_to(y=max(0, min(line, self._lines() - self.size.height)), animate=False)

    def _lines(self) -> int:
        """Return the number of lines that are not hidden."""
        if self._until is None:
            return len(self._list)
        return self._list.line_of(self._until - 1) + 1 if len(self._list) else 0

    def _line_of_found(self) -> int:
        if self._found is not None and self._found >= self._list.first:
            return self._list.line_of(self._found)
        return self._lines()

    def _line(self, record: Frame, width: int, *, is_found: bool) -> Strip:
        kind = text_of(record, "event")
        time = clock_time(text_of(record, "time"), self._zone)
        slot = number_of(record, "slot")
        head = f" {time} {slot or '':>4}  {text_of(record, 'ip'):<{_IP_WIDTH}}  "
        detail = f"{kind:<{_KIND_WIDTH}} {describe(record)}"
        style = self.get_component_rich_style
        if is_found:
            return Strip([Segment(fit(head + detail, width), style("events--found"))], width)
        head_width = min(width, len(head))
        parts = [Segment(fit(head, head_width), style("events--time"))]
        parts.append(Segment(fit(detail, width - head_width), style(_STYLES.get(kind, "events--other"))))
        return Strip(parts, width)


_STYLES: Final = {
    "connected": "events--connected",
    "closed": "events--closed",
    "command": "events--command",
    "turned_away": "events--warning",
    "error": "events--warning",
}
