"""The details as a screen of their own, for narrow terminals."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType

from smtppseudo.tui.dialogs.dialog import Dialog, box
from smtppseudo.tui.widgets.details import Details, Section

_REFRESH_S: Final = 1.0


class DetailsDialog(Dialog[None]):
    """The dialog. `sections` is called again and again."""

    BINDINGS: ClassVar[list[BindingType]] = [("d,enter", "cancel", "Close")]

    def __init__(self, sections: Callable[[], Sequence[Section]]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> ComposeResult:
        with box("Details", "Esc closes"):
            yield Details(id="all-details")

    def on_mount(self) -> None:
        self._show()
        self.set_interval(_REFRESH_S, self._show)

    def _show(self) -> None:
        details = self.query_one(Details)
        details.show(self._sections())
