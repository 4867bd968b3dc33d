"""Why a monitor's link could not be made, or is no more: each error's text is one line that says what to do."""

from smtppseudo.link import incoming
from smtppseudo.link.pins import SHOW_COMMAND


class LinkError(Exception):
    """The link could not be made, is no more, or did not do what it was asked to."""


class UnreachableError(LinkError):
    """Nothing answers there."""


class ConnectionLostError(UnreachableError):
    """The connection was there and is gone, in good order (`bye`) or not."""


class NotPrivateError(LinkError):
    """The server does not speak TLS, and nobody allowed clear text. Nothing was said."""


class CertificateError(LinkError):
    """The server shows a certificate that nobody here accepted. Nothing was said.

    `fingerprint` is as in `SHA256:0A:1B:...`, `place` host and port as they were asked for: see `pins`.
    """

    def __init__(self, text: str, fingerprint: str, place: tuple[str, int]) -> None:
        super().__init__(text)
        self.fingerprint = fingerprint
        self.place = place


class UnknownCertificateError(CertificateError):
    """It is the first that is seen of this server: a person should compare it, and may accept it."""

    def __init__(self, fingerprint: str, place: tuple[str, int]) -> None:
        host, port = place
        text = (
            f"{host} port {port} shows a certificate that this user has not accepted yet, with the fingerprint"
            f" {fingerprint}; on the server, `{SHOW_COMMAND}` prints the right one"
        )
        super().__init__(text, fingerprint, place)


class ChangedCertificateError(CertificateError):
    """It is another than the one that was accepted (`accepted`)."""

    def __init__(self, fingerprint: str, place: tuple[str, int], accepted: str) -> None:
        host, port = place
        text = (
            f"{host} port {port} shows another certificate than the one accepted, {fingerprint} instead of"
            f" {accepted}: the server has a new one, or somebody on the way pretends to be the server;"
            f" nothing was said to it; on the server, `{SHOW_COMMAND}` prints the right one"
        )
        super().__init__(text, fingerprint, place)
        self.accepted = accepted


class NeedsMagicWordError(LinkError):
    """No cookie is the server's, and there was no magic word to try. Nothing was sent."""


class NotAuthorizedError(LinkError):
    """The server does not take the secret, and it must not be tried again without asking a person."""


class RefusedError(LinkError):
    """The server does not want this connection now; `code` says why: `rate`, ..."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class BusyError(RefusedError):
    """The server has no room for one more monitor."""


class BadPeerError(LinkError):
    """What answers there does not keep to the protocol."""


class OpRefusedError(LinkError):
    """A request was not carried out, and changed nothing; `code` is the protocol's, the text the server's."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class ClosedError(LinkError):
    """The link was closed on this side."""


def error_of(ending: incoming.Ending, place: str) -> LinkError:
    """Return the error for what ended the connection with the server at `place`."""
    match ending:
        case incoming.NeedsMagicWord():
            return NeedsMagicWordError(f"{place} needs the magic word, or a user who can read the server's cookie")
        case incoming.NotAuthorized(user="magic"):
            return NotAuthorizedError(
                f"{place}: Not Authorized! That is not its magic word; on the server, `smtppseudo magic-word` sets"
                " another"
            )
        case incoming.NotAuthorized() | incoming.Refused(code="not_authorized"):
            return NotAuthorizedError(f"{place}: Not Authorized! The login failed, or took too long; try again")
        case incoming.Refused(code="busy", message=message):
            return BusyError(f"{place} is busy: {message}; close one, or try again later", "busy")
        case incoming.Refused(code=code, message=message):
            return RefusedError(f"{place} refuses: {message or code}", code)
        case incoming.Bye(reason=reason):
            return ConnectionLostError(f"{place}: the server ended the connection ({reason})")
        case incoming.Lost(message=message):
            return ConnectionLostError(f"{place}: {message}")
        case incoming.BadPeer(message=message):
            return BadPeerError(f"{place}: {message}")
