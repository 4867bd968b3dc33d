"""Certificates: the server's side of TLS for SMTP and for monitors, read from files and renewed by a reload."""

from typing import TYPE_CHECKING

from smtppseudo.config.settings import Settings

if TYPE_CHECKING:
    from smtppseudo.net.tls import Tls


class Certificates:
    """`tls` is for STARTTLS, `monitor_tls` for monitors; None where no certificate is set. Raises SettingsError."""

    def __init__(self, settings: Settings) -> None:
        self.tls: Tls | None = None
        self.monitor_tls: Tls | None = None
        self.chain = b""  # the certificate of `tls`, as read
        self.load(settings)

    def load(self, settings: Settings) -> None:
        """Load the files, for new connections. Raises SettingsError; nothing is changed then."""
        if not (settings.tls_cert or settings.monitor_tls_cert):
            self.tls, self.monitor_tls, self.chain = None, None, b""
            return
        from smtppseudo.net import pem, tls  # noqa: PLC0415 - most servers have no certificate

        smtp_context, chain = pem.load("", settings.tls_cert, settings.tls_key)
        monitor_context, monitor_chain = pem.load("monitor_", settings.monitor_tls_cert, settings.monitor_tls_key)
        self.tls, self.chain = tls.renewed(self.tls, smtp_context), chain
        self.monitor_tls = tls.renewed(self.monitor_tls, monitor_context)
        if self.monitor_tls is not None:
            self.monitor_tls.channel = pem.fingerprint_in(monitor_chain)
