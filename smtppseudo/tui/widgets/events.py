"""The pane of events. It draws only the lines that are seen, from what the model keeps."""

from collections.abc import Callable
from datetime import tzinfo
from typing import ClassVar, Final

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from smtppseudo.monitor.codec import Frame
from smtppseudo.tui.stream import Mark, Stream
from smtppseudo.tui.texts import clock_time, fitted, number_of, text_of, told

_IP_WIDTH: Final = 17  # enough for most; a longer one pushes the rest to the right
_KIND_WIDTH: Final = 9


class EventPane(ScrollView, can_focus=True):
    """The stream, the newest at the bottom. `is_following` keeps that in view, `is_paused` holds everything still."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "events--time",
        "events--connected",
        "events--closed",
        "events--command",
        "events--warning",
        "events--other",
        "events--mark",
        "events--found",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Line up", show=False),
        Binding("down,j", "move(1)", "Line down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "jump(0)", "Oldest", show=False),
        Binding("end", "jump(-1)", "Newest, and follow", show=False),
    ]

    is_following: reactive[bool] = reactive(True)
    is_paused: reactive[bool] = reactive(False)

    class Changed(Message):
        """It follows, or is paused, or not any more."""

    def __init__(self, stream: Stream, zone: Callable[[], tzinfo | None], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._stream = stream
        self._zone = zone
        self._top = 0  # the number of what is on the first line, where it does not follow
        self._until: int | None = None  # the number of the first item not shown, while paused
        self._found: int | None = None  # the number of what a search found
        self._drawn = (0, 0)

    def watch_is_following(self) -> None:
        """Tell of it."""
        self.post_message(self.Changed())

    def watch_is_paused(self, is_paused: bool) -> None:
        """Hold still, or go on."""
        self._until = self._stream.next_number if is_paused else None
        self.post_message(self.Changed())
        self.catch_up()

    @property
    def held_back(self) -> int:
        """How many events came since it was paused."""
        return 0 if self._until is None else self._stream.next_number - self._until

    def show_stream(self, stream: Stream) -> None:
        """Show another stream."""
        self._stream = stream
        self._found = None
        if self.is_paused:
            self._until = stream.next_number
        self.catch_up()
        self.refresh()

    def catch_up(self) -> None:
        """Show what came."""
        lines = self._lines()
        if self.virtual_size.height != lines:
            self.virtual_size = Size(0, lines)
        if self.is_following:
            self.scroll_to(y=max(0, lines - self.size.height), animate=False)
        elif self._stream.line_of(self._top) != self.scroll_offset.y:
            self.scroll_to(y=self._stream.line_of(self._top), animate=False)
        drawn = (lines, self._stream.next_number if self._until is None else self._until)
        if drawn != self._drawn:
            self._drawn = drawn
            self.refresh()

    def search(self, words: str, step: int) -> bool:
        """Go to the next event, on or back, that holds these words; say whether there is one."""
        here = self._line_of_found()
        line = self._stream.find(words, here, step)
        if line is None or line >= self._lines():
            return False
        self._found = self._stream.number_at(line)
        self.is_following = False
        self._scroll_to_line(line - self.size.height // 2)
        self.refresh()
        return True

    def forget_search(self) -> None:
        """Show nothing as found any more."""
        self._found = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw a line of what is seen."""
        width = self.scrollable_content_region.width
        line = self.scroll_offset.y + y
        item = self._stream.at(line) if line < self._lines() else None
        if item is None:
            return Strip.blank(width, self.rich_style)
        is_found = self._found is not None and self._stream.number_at(line) == self._found
        if isinstance(item, Mark):
            text = fitted(f" -- {item.text} --", width)
            return Strip([Segment(text, self.get_component_rich_style("events--mark"))], width)
        return self._line(item, width, is_found=is_found)

    def on_resize(self) -> None:
        """Keep the newest in view."""
        self.catch_up()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Notice when the wheel or the bar takes it off the newest line, or back there."""
        super().watch_scroll_y(old_value, new_value)
        at_end = round(new_value) >= self._lines() - self.size.height
        if at_end and not self.is_following and self._found is None:
            self.is_following = True
        elif not at_end and round(new_value) < round(old_value):
            self.is_following = False
        if not self.is_following and len(self._stream):
            self._top = self._stream.number_at(max(0, min(round(new_value), len(self._stream) - 1)))

    def action_move(self, step: int) -> None:
        """Go a line up or down."""
        self._scroll_to_line(self.scroll_offset.y + step)

    def action_page(self, step: int) -> None:
        """Go a page up or down."""
        self._scroll_to_line(self.scroll_offset.y + step * max(1, self.size.height - 1))

    def action_jump(self, line: int) -> None:
        """Go to the oldest, or to the newest and stay there."""
        self.is_following = line < 0
        self._found = None
        self._scroll_to_line(line if line >= 0 else self._lines())

    def _scroll_to_line(self, line: int) -> None:
        self.scroll_to(y=max(0, min(line, self._lines() - self.size.height)), animate=False)

    def _lines(self) -> int:
        if self._until is None:
            return len(self._stream)
        return self._stream.line_of(self._until - 1) + 1 if len(self._stream) else 0

    def _line_of_found(self) -> int:
        if self._found is not None and self._found >= self._stream.first:
            return self._stream.line_of(self._found)
        return self._lines()

    def _line(self, record: Frame, width: int, *, is_found: bool) -> Strip:
        kind = text_of(record, "event")
        time = clock_time(text_of(record, "time"), self._zone())
        slot = number_of(record, "slot")
        ip = text_of(record, "ip")
        detail = f"{kind:<{_KIND_WIDTH}} {told(record)}"
        head = f" {time} {slot or '':>4}  {ip:<{_IP_WIDTH}}  "
        room = max(0, width - len(head))
        if is_found:
            style = self.get_component_rich_style("events--found")
            return Strip([Segment(fitted(head + detail, width), style)], width)
        styles = self.get_component_rich_style
        of_kind = styles(f"events--{kind}" if kind in _OWN_STYLE else _STYLES.get(kind, "events--other"))
        segments = [Segment(fitted(head, min(width, len(head))), styles("events--time"))]
        segments.append(Segment(fitted(detail, room), of_kind))
        return Strip(segments, width)


_OWN_STYLE: Final = ("connected", "closed", "command")
_STYLES: Final = {"turned_away": "events--warning", "error": "events--warning"}
