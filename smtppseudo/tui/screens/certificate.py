"""The dialog about a server's certificate: a person compares its fingerprint, and accepts it or not."""

from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from smtppseudo.link.errors import CertificateError, ChangedCertificateError
from smtppseudo.link.pins import SHOW_COMMAND
from smtppseudo.tui.screens.dialog import Dialog
from smtppseudo.tui.texts import shown
from smtppseudo.tui.widgets.push import Push

_LINE_CHARS: Final = len("0A:") * 16


class Certificate(Dialog[bool]):
    """The dialog; it ends with true where the certificate is to be trusted from now on."""

    def __init__(self, error: CertificateError) -> None:
        super().__init__()
        self._error = error

    def compose(self) -> ComposeResult:
        """Make the box."""
        error = self._error
        host, port = error.place
        with Vertical() as box:
            box.border_title = "Certificate"
            yield Static("\n".join(map(shown, _text(error, f"{host} port {port}"))), classes="text", markup=False)
            with Horizontal(classes="buttons"):
                yield Push("Trust it from now on", id="yes")
                yield Push("Cancel", id="no")

    def on_mount(self) -> None:
        """Let Enter alone accept nothing."""
        self.query_one("#no").focus()

    def on_push_pressed(self, event: Push.Pressed) -> None:
        """Accept it, or not."""
        event.stop()
        self.dismiss(event.push.id == "yes")


def _text(error: CertificateError, place: str) -> list[str]:
    if isinstance(error, ChangedCertificateError):
        lines = [f"{place} shows another certificate than the one that was accepted.", ""]
        lines += ["Accepted:", *_in_lines(error.accepted), "Now:", *_in_lines(error.fingerprint), ""]
        lines += ["Either the server has a new one, or somebody on the way pretends to be the server."]
    else:
        lines = [f"{place} is new here. Its certificate has the fingerprint", *_in_lines(error.fingerprint), ""]
    return [*lines, "Nothing was said to it yet. On the server, this prints the right one:", f"  {SHOW_COMMAND}"]


def _in_lines(fingerprint: str) -> list[str]:
    """Break a fingerprint in two, for it is too long for a line of a dialog."""
    name, _, digits = fingerprint.partition(":")
    return [f"  {name}:{digits[:_LINE_CHARS]}", f"  {' ' * len(name)} {digits[_LINE_CHARS:]}"]
