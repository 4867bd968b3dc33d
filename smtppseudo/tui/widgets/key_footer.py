"""The footer: the keys that work now."""

from textual.widgets import Footer


class KeyFooter(Footer):
    """Textual's footer, composed again only if its keys have changed, not at every change of the focus."""

    _keys: tuple[tuple[str, str, bool], ...] | None = None

    async def recompose(self) -> None:
        shown = [active for active in self.screen.active_bindings.values() if active.binding.show]
        keys = tuple([(active.binding.key, active.binding.description, active.enabled) for active in shown])
        if keys != self._keys:
            self._keys = keys
            await super().recompose()
