"""Pages: the screens behind the dialogs. Each has its actions, which the footer, the help and the palette show."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual.screen import Screen
from textual.widgets import Input, Static

from smtppseudo.tui.actions import KEY_SIGNS, ScreenAction, help_text
from smtppseudo.tui.dialogs.dialog import TextDialog
from smtppseudo.tui.feeder import EventBatch
from smtppseudo.tui.operations import Operations
from smtppseudo.tui.widgets.bars import Hint, KeyFooter
from smtppseudo.tui.widgets.buttons import TextButton


class Page(Screen[None]):
    """A page that shows `servers`. Its `action_` methods are described in `actions`."""

    actions: ClassVar[tuple[ScreenAction, ...]]
    not_urgent: ClassVar[tuple[type, ...]] = (EventBatch,)  # updates that can wait for the next draw

    def __init__(self, servers: Sequence[Operations]) -> None:
        super().__init__()
        self.servers = servers
        self.notice = Static("", id="notice", markup=False)
        self.footer = KeyFooter(id="footer")

    @property
    def selected(self) -> Operations:
        """The server that the actions are about."""
        return self.servers[0]

    def redraw(self, *, texts: bool = True) -> None:
        """Draw changes in the tables; with `texts`, everything else, too."""
        raise NotImplementedError

    def follow_loss(self, server: Operations) -> None:
        """Ask for what a server's login lacked."""
        raise NotImplementedError

    def cancel_prompt(self) -> bool:
        """Leave a filter or a search that is being typed; return whether there was one."""
        return False

    def on_mount(self) -> None:
        self.redraw()
        self.show_hints()

    def on_descendant_focus(self) -> None:
        self.show_hints()

    def show_hints(self) -> None:
        """Show in the footer what the keys do now."""
        self.footer.hints = self.hints()

    def hints(self) -> list[Hint]:
        """Return what the keys of the actions do where the focus is."""
        pane = "" if self.focused is None else self.focused.id or ""
        hints: list[Hint] = []
        for action in self.actions:
            key = action.keys.split(",")[0]
            if action.footer and (not action.panes or pane in action.panes.split()):
                hints.append(Hint(KEY_SIGNS.get(key, key), action.footer, action.name, action.rank))
        return hints

    def show_notice(self, text: str) -> None:
        """Show a text below or above the tables, or none."""
        if self.notice.content != text:
            self.notice.update(text)
        self.notice.display = bool(text)

    async def action_enter(self) -> None:
        if isinstance(self.focused, Input):
            await self.focused.action_submit()
        elif self.focused is not None:
            await self.focused.run_action("press" if isinstance(self.focused, TextButton) else "open")

    def action_help(self) -> None:
        self.app.push_screen(TextDialog("Help", partial(help_text, self.actions)))

    def action_setup(self) -> None:
        self.selected.show_setup()

    def action_retry(self) -> None:
        self.selected.retry()

    def action_theme(self) -> None:
        self.selected.toggle_theme()

    def action_leave(self) -> None:
        self.app.exit()
