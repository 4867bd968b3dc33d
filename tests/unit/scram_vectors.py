"""The example exchange of RFC 7677 section 3, and both sides of it."""

import base64

from smtppseudo.monitor.credentials import Credentials, decoy, derive
from smtppseudo.monitor.scram import ClientExchange, ServerExchange

RFC_USER = "user"
RFC_SECRET = "pencil"
RFC_CLIENT_NONCE = "rOprNGfwEbeRWgbNEkqO"
RFC_SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
RFC_NONCE = RFC_CLIENT_NONCE + RFC_SERVER_NONCE
RFC_SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
RFC_CLIENT_FIRST = f"n,,n=user,r={RFC_CLIENT_NONCE}"
RFC_SERVER_FIRST = f"r={RFC_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
RFC_PROOF = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
RFC_CLIENT_FINAL = f"c=biws,r={RFC_NONCE},p={RFC_PROOF}"
RFC_SERVER_FINAL = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
RFC_CREDENTIALS = derive(RFC_SECRET, RFC_SALT, 4096)
SECRETS = ["pencil", "magic word", "~!@#$%^&*()_+,=<>?\"'`\\|", "  spaces  ", "x" * 128, "0123456789abcdef" * 4]
SERVER_SECRET = b"a secret that the server keeps over restarts"


def replaced(old: str, new: str) -> str:
    assert RFC_CLIENT_FINAL.count(old) == 1
    return RFC_CLIENT_FINAL.replace(old, new)


def server_first(*, nonce: str = RFC_NONCE, salt: str = "W22ZaJ0SNY7soEsUEjb6gQ==", i: str = "4096") -> str:
    return f"r={nonce},s={salt},i={i}"


def known(user: str) -> Credentials | None:
    return {RFC_USER: RFC_CREDENTIALS, "a,b=c": RFC_CREDENTIALS}.get(user)


def stand_in(user: str) -> Credentials:
    return decoy(SERVER_SECRET, user, 4096)


def rfc_server(nonce: str = RFC_SERVER_NONCE) -> ServerExchange:
    return ServerExchange(known, stand_in, nonce)


def rfc_client(user: str = RFC_USER, secret: str = RFC_SECRET) -> ClientExchange:
    return ClientExchange(user, secret, RFC_CLIENT_NONCE)
