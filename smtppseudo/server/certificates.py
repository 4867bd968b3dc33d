"""Certificates: what is shown to senders and to monitors, read from files and read again."""

from typing import TYPE_CHECKING

from smtppseudo.config.settings import Settings

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
        from smtppseudo.net import pem, tls  # noqa: PLC0415 - most servers have no certificate

        for_senders = pem.load("", settings.tls_cert, settings.tls_key)
        for_monitors = pem.load("monitor_", settings.monitor_tls_cert, settings.monitor_tls_key)
        self.tls = tls.renewed(self.tls, for_senders)
        self.monitor_tls = tls.renewed(self.monitor_tls, for_monitors)
