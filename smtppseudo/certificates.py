"""Certificates: what is shown to senders and to monitors, read from files and read again."""

from typing import TYPE_CHECKING

from smtppseudo.settings import Settings

if TYPE_CHECKING:
    from smtppseudo.net.tls import Tls


class Certificates:
    """What is shown under TLS: to senders (`tls`), and to monitors of other machines; None where none is set.

    Raises SettingsError.
    """

    def __init__(self, settings: Settings) -> None:
        self.tls: Tls | None = None
        self.monitor_tls: Tls | None = None
        self.read(settings)

    def read(self, settings: Settings) -> None:
        """Read the files again, for who comes from now on. Raises SettingsError; nothing is changed then."""
        if not (settings.tls_cert or settings.monitor_tls_cert):
            self.tls = self.monitor_tls = None
            return
        from smtppseudo.net import tls  # noqa: PLC0415 - most servers have no certificate

        named = (
            ("", settings.tls_cert, settings.tls_key),
            ("monitor_", settings.monitor_tls_cert, settings.monitor_tls_key),
        )
        contexts = [tls.load(prefix, cert, key) if cert else None for prefix, cert, key in named]
        self.tls, self.monitor_tls = (
            None if context is None else tls.renewed(before, context)
            for before, context in zip((self.tls, self.monitor_tls), contexts, strict=True)
        )
