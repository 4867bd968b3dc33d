"""The dialog about a server's certificate: the operator compares its fingerprint and accepts it or not."""

from typing import Final

from smtppseudo.link.errors import CertificateError, ChangedCertificateError
from smtppseudo.link.pins import SHOW_COMMAND
from smtppseudo.tui.dialogs.dialog import ConfirmDialog

_LINE_CHARS: Final = len("0A:") * 16


class CertificateDialog(ConfirmDialog):
    """The dialog. It ends with True if the certificate is trusted from now on."""

    def __init__(self, error: CertificateError) -> None:
        super().__init__("Certificate", _text(error), "Trust it from now on")


def _text(error: CertificateError) -> str:
    host, port = error.place
    place = f"{host} port {port}"
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
