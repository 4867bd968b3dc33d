"""The dialog about a server's certificate: the operator compares its fingerprint and accepts it or not."""

from typing import Final

from textual.app import ComposeResult

from smtppseudo.link.errors import CertificateError, ChangedCertificateError
from smtppseudo.link.pins import SHOW_COMMAND
from smtppseudo.tui.screens.dialog import Dialog, box, buttons, text_line
from smtppseudo.tui.widgets.buttons import TextButton

_LINE_CHARS: Final = len("0A:") * 16


class CertificateDialog(Dialog[bool]):
    """The dialog. It ends with True if the certificate is trusted from now on."""

    def __init__(self, error: CertificateError) -> None:
        super().__init__()
        self._error = error

    def compose(self) -> ComposeResult:
        host, port = self._error.place
        with box("Certificate"):
            yield text_line(_text(self._error, f"{host} port {port}"))
            yield buttons(TextButton("Trust it from now on", id="yes"), TextButton("Cancel", id="no"))

    def on_mount(self) -> None:
        self.query_one("#no").focus()  # Enter alone accepts nothing

    def on_text_button_pressed(self, event: TextButton.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.id == "yes")


def _text(error: CertificateError, place: str) -> str:
    if isinstance(error, ChangedCertificateError):
        lines = [f"{place} shows another certificate than the one that was accepted.", ""]
        lines += ["Accepted:", *_in_lines(error.accepted), "Now:", *_in_lines(error.fingerprint), ""]
        lines += ["Either the server has a new certificate, or another machine pretends to be the server."]
    else:
        lines = [f"{place} is new here. The fingerprint of its certificate is", *_in_lines(error.fingerprint), ""]
    lines += ["No password was sent yet. To compare, run on the server:", f"  {SHOW_COMMAND}"]
    return "\n".join(lines)


def _in_lines(fingerprint: str) -> list[str]:
    """Split a fingerprint in two: it is too long for a line of the dialog."""
    name, _, digits = fingerprint.partition(":")
    return [f"  {name}:{digits[:_LINE_CHARS]}", f"  {' ' * len(name)} {digits[_LINE_CHARS:]}"]
