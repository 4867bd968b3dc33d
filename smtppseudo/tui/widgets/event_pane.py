"""The list of events. It draws only the lines in view."""

from datetime import tzinfo
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip

from smtppseudo.monitor.codec import Frame
from smtppseudo.tui import texts
from smtppseudo.tui.event_list import EventList, Note
from smtppseudo.tui.texts import fit, text_of
from smtppseudo.tui.transcripts import SessionKey
from smtppseudo.tui.widgets.tables import Table

_IP_WIDTH: Final = 17  # a longer address moves the rest to the right
_COMMAND_SHARE: Final = 0.42  # of the room behind the address; the reply has the rest
_COMMAND_WIDTH_MAX: Final = 48
_REPLY_TEXT_FROM: Final = 50  # with less room, the code stands alone


class EventPane(Table):
    """The events, the newest at the bottom. `is_following` keeps it in view."""

    def __init__(self, event_list: EventList, zone: tzinfo | None, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self.is_following = True
        self._list = event_list
        self._zone = zone
        self._top = 0  # the number of the item on the first line, while not following
        self._under_cursor: int | None = None  # the number of the item under the cursor; None: the newest
        self._paused_at = 0  # the number of the next item when following ended
        self._drawn = (0, 0)

    @property
    def key(self) -> SessionKey | None:
        item = self._list.at(self.cursor_line)
        return SessionKey.of(item if isinstance(item, dict) else {})

    @property
    def count(self) -> int:
        return len(self._list)

    @property
    def cursor_line(self) -> int:
        if self._under_cursor is None or self._under_cursor < self._list.first:
            return self.count - 1
        return self._list.line_of(self._under_cursor)

    @property
    def new_count(self) -> int:
        """The number of events since following ended."""
        return 0 if self.is_following else self._list.next_number - self._paused_at

    def show_events(self, event_list: EventList) -> None:
        """Show another list, or the same one after its filter was changed."""
        self._list = event_list
        self.action_jump(-1)
        self.catch_up()

    def catch_up(self) -> None:
        """Show new events."""
        lines = self.count
        if self.virtual_size.height != lines:
            self.virtual_size = Size(0, lines)
        if self.is_following:
            self._paused_at = self._list.next_number
            self._scroll_to_line(lines)
        elif self._list.line_of(self._top) != self.scroll_offset.y:
            self.scroll_to(y=self._list.line_of(self._top), animate=False)
        drawn = (lines, self._list.next_number)
        if drawn != self._drawn:
            self._drawn = drawn
            self.refresh()

    def search(self, words: str, step: int) -> bool:
        """Go to the nearest match after (`step` 1) or before (-1) the cursor; return whether there is one."""
        line = self._list.find(words, self.cursor_line if self._under_cursor is not None else self.count, step)
        if line is not None:
            self.go_to(line)
            self._scroll_to_line(line - self.size.height // 2)
        return line is not None

    def toggle_pause(self) -> None:
        """Stop following at the newest event, or follow again."""
        self.go_to(self.count - 1 if self.is_following else self.count)

    def go_to(self, line: int) -> None:
        if line >= self.count:  # follow the newest
            self._under_cursor, self.is_following = None, True
            self._scroll_to_line(line)
        else:
            line = max(0, line)
            self._under_cursor, self.is_following = self._list.number_at(line), False
            self._scroll_to_line(min(line, max(self.scroll_offset.y, line - self.size.height + 1)))
            self._top = self._list.number_at(self.scroll_offset.y)
        self.refresh()

    def on_resize(self) -> None:
        self.catch_up()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following when the wheel or the scrollbar leaves the newest line; follow again when it comes back."""
        super().watch_scroll_y(old_value, new_value)
        at_end = round(new_value) >= self.count - self.size.height
        if at_end and self._under_cursor is None:
            self.is_following = True
        elif not at_end and round(new_value) < round(old_value):
            self.is_following = False
        if not self.is_following and len(self._list):
            self._top = self._list.number_at(max(0, min(round(new_value), len(self._list) - 1)))

    def _scroll_to_line(self, line: int) -> None:
        self.scroll_to(y=max(0, min(line, self.count - self.size.height)), animate=False)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        line = self.scroll_offset.y + y
        item = self._list.at(line) if line < self.count else None
        if item is None:
            return Strip.blank(width, self.rich_style)
        if isinstance(item, Note):
            parts = [Segment(fit(f" -- {item.text} --", width), self.style("warning"))]
        else:
            parts = self._parts(item, width)
        if self._under_cursor is None or self._list.number_at(line) != self._under_cursor:
            return Strip(parts, width)
        bar = self.cursor_bar()
        return Strip([Segment(part.text, (part.style or Style()) + bar) for part in parts], width)

    def _parts(self, record: Frame, width: int) -> list[Segment]:
        kind = text_of(record, "event")
        time = texts.clock_time(text_of(record, "time"), self._zone)
        slot = texts.number_of(record, "slot") or ""
        head = f" {time} {slot:>4}  {text_of(record, 'ip'):<{_IP_WIDTH}}  "[:width]
        room = width - len(head)
        parts = [Segment(head, self.style("dim"))]
        if kind == "command":
            is_wide, reply = room >= _REPLY_TEXT_FROM, texts.reply_of(record)
            share = min(int(room * _COMMAND_SHARE), _COMMAND_WIDTH_MAX) if is_wide else room - 6
            command = fit(texts.short_command(text_of(record, "data")) + texts.remarks_on(record), share)
            parts.append(Segment(f"{command}  "[:room], self.style("said")))
            reply = fit(reply if is_wide else reply[:3], room - len(command) - 2)
            return [*parts, Segment(reply, self.style(texts.reply_class(reply)))]
        text = texts.describe(record) if kind in ("closed", "turned_away") else f"{kind} {texts.describe(record)}"
        return [*parts, Segment(fit(text, room), self.style(_STYLES.get(kind, "other")))]


_STYLES: Final = {"connected": "said", "closed": "dim", "turned_away": "warning", "error": "fault"}
