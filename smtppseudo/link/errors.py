"""Why a link could not be made or has ended. Each error's text is one line: where, what happened, what to do."""

from smtppseudo.link.pins import SHOW_COMMAND


class LinkError(Exception):
    """The base class. After every error except OpRefusedError, the link cannot be used any more.

    `short` is the error in at most 18 characters; `code` is the protocol's, such as `busy`, if the server has refused.
    """

    short = "no connection"

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class UnreachableError(LinkError):
    """No server answers at this address."""

    short = "unreachable"


class ConnectionLostError(UnreachableError):
    """The connection has ended, with a `bye` frame or without."""

    short = "connection lost"


class NotPrivateError(LinkError):
    """The server does not speak TLS, and clear text was not allowed. Nothing was sent."""

    short = "no TLS"


class CertificateError(LinkError):
    """The server's certificate is not trusted. Nothing was sent.

    `fingerprint` is its fingerprint, `accepted` that of the accepted one; `place` is the requested host and port.
    """

    text = ""

    def __init__(self, fingerprint: str, place: tuple[str, int], accepted: str = "") -> None:
        text = self.text.format(fingerprint=fingerprint, accepted=accepted)
        super().__init__(f"{place[0]} port {place[1]} shows {text}")
        self.fingerprint, self.place, self.accepted = fingerprint, place, accepted


class UnknownCertificateError(CertificateError):
    """No certificate of this server was accepted before. A person should compare the fingerprint, and can accept it."""

    short = "new certificate"
    text = (
        "a certificate that this user has not accepted yet, with the fingerprint {fingerprint}; on the server,"
        f" `{SHOW_COMMAND}` prints the right one"
    )


class ChangedCertificateError(CertificateError):
    """The certificate is not the accepted one."""

    short = "other certificate"
    text = (
        "another certificate than the accepted one, {fingerprint} instead of {accepted}: the server has a new"
        " certificate, or somebody on the network path pretends to be the server; nothing was sent to it; on the"
        f" server, `{SHOW_COMMAND}` prints the right fingerprint"
    )


class NeedsMagicWordError(LinkError):
    """No cookie belongs to the server at `place`, and no magic word was given. Nothing was sent."""

    short = "needs magic word"

    def __init__(self, place: str) -> None:
        super().__init__(f"{place} needs the magic word, or a user who can read the server's cookie")
        self.place = place


class NotAuthorizedError(LinkError):
    """The server refuses the secret. A person must be asked before the next try."""

    short = "wrong magic word"


class RefusedError(LinkError):
    """The server refuses the connection for now."""

    short = "refuses for now"


class BadPeerError(LinkError):
    """The other side breaks the protocol."""

    short = "wrong protocol"


class OpRefusedError(LinkError):
    """The server refused a request, which changed nothing. The text is the server's."""


class ClosedError(LinkError):
    """This side closed the link."""
