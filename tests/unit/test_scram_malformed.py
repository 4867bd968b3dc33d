"""Malformed SCRAM-SHA-256 messages: each is refused and ends the exchange."""

from collections.abc import Callable

import pytest

from smtppseudo.monitor.scram import (
    MAX_MESSAGE_CHARS,
    MAX_NONCE_CHARS,
    ClientExchange,
    ExchangeState,
    ScramError,
    ServerExchange,
)
from tests.unit.scram_vectors import (
    RFC_CLIENT_FINAL,
    RFC_CLIENT_FIRST,
    RFC_CLIENT_NONCE,
    RFC_NONCE,
    RFC_PROOF,
    RFC_SERVER_FINAL,
    RFC_SERVER_FIRST,
    replaced,
    rfc_client,
    rfc_server,
    server_first,
)

MALFORMED_CLIENT_FIRST = [
    pytest.param("", "does not begin with n,, or y,,", id="empty"),
    pytest.param("n", "does not begin with n,, or y,,", id="only the flag"),
    pytest.param("n,", "does not begin with n,, or y,,", id="half a header"),
    pytest.param("n=user,r=abc", "does not begin with n,, or y,,", id="no header"),
    pytest.param("N,,n=user,r=abc", "does not begin with n,, or y,,", id="flag in capitals"),
    pytest.param("x,,n=user,r=abc", "does not begin with n,, or y,,", id="unknown flag"),
    pytest.param("y,n=user,r=abc", "authorization identity", id="y with half a header"),
    pytest.param("yes,,n=user,r=abc", "does not begin with n,, or y,,", id="more than y"),
    pytest.param("y,a=other,n=user,r=abc", "authorization identity", id="y with authzid"),
    pytest.param("p=tls-unique,,n=user,r=abc", "this kind of channel binding is not supported", id="p"),
    pytest.param("p=tls-server-end-point,,n=user,r=abc", "channel binding is not supported", id="p without TLS"),
    pytest.param("n,a=other,n=user,r=abc", "authorization identity", id="authzid"),
    pytest.param("n,,", "not a list of attributes", id="nothing behind the header"),
    pytest.param("n,,n=user", "missing or out of order", id="no nonce"),
    pytest.param("n,,r=abc", "missing or out of order", id="no user"),
    pytest.param("n,,r=abc,n=user", "missing or out of order", id="wrong order"),
    pytest.param("n,,x=1,n=user,r=abc", "where it must not", id="extension in front"),
    pytest.param("n,,n=,r=abc", "not a list of attributes", id="empty user"),
    pytest.param("n,,n=user,r=", "not a list of attributes", id="empty nonce"),
    pytest.param("n,,n=user,r=abc,", "not a list of attributes", id="comma at the end"),
    pytest.param("n,,n=user,r=abc,xyz", "not a list of attributes", id="no attribute"),
    pytest.param("n,,n=user,r=abc,1=2", "not a list of attributes", id="name not a letter"),
    pytest.param("n,,n=user,r=abc,r=def", "where it must not", id="nonce twice"),
    pytest.param("n,,n=user,r=abc,x=1,x=2", "where it must not", id="extension twice"),
    pytest.param("n,,n=user,r=abc,p=def", "where it must not", id="reserved name as extension"),
    pytest.param("n,,m=ext,n=user,r=abc", "mandatory extension", id="mandatory extension"),
    pytest.param("n,,n=user,r=abc,m=ext", "mandatory extension", id="mandatory extension behind"),
    pytest.param("n,,n=us=er,r=abc", "bare =", id="bare ="),
    pytest.param("n,,n=us=2cer,r=abc", "bare =", id="escape in small letters"),
    pytest.param("n,,n=us=3,r=abc", "bare =", id="half an escape"),
    pytest.param("n,,n=user,r=a c", "or holds a space", id="space in the nonce"),
    pytest.param(f"n,,n=user,r={'a' * (MAX_NONCE_CHARS + 1)}", "longer than", id="nonce too long"),
    pytest.param("n,,n=us\xe9r,r=abc", "printable ASCII", id="non-ASCII"),
    pytest.param("n,,n=us\x00r,r=abc", "printable ASCII", id="NUL"),
    pytest.param("n,,n=user,r=abc\n", "printable ASCII", id="line end"),
    pytest.param("n,,n=us\ud800r,r=abc", "printable ASCII", id="lone surrogate"),
    pytest.param("n,,n=user,r=\uff11", "printable ASCII", id="full-width digit"),
    pytest.param(f"n,,n={'a' * MAX_MESSAGE_CHARS},r=abc", "longer than", id="too long"),
]
MALFORMED_CLIENT_FINAL = [
    pytest.param("", "end with a proof", id="empty"),
    pytest.param(RFC_CLIENT_FINAL.partition(",p=")[0], "end with a proof", id="no proof"),
    pytest.param(replaced(RFC_PROOF, ""), "the proof is not 32 bytes", id="empty proof"),
    pytest.param(replaced(RFC_PROOF, "AAAA"), "the proof is not 32 bytes", id="short proof"),
    pytest.param(replaced(RFC_PROOF, "A" * 64), "the proof is not 32 bytes", id="long proof"),
    pytest.param(replaced(RFC_PROOF, RFC_PROOF[:-1]), "the proof is not 32 bytes", id="no padding"),
    pytest.param(replaced(RFC_PROOF, RFC_PROOF[1:]), "the proof is not 32 bytes", id="bytes lost"),
    pytest.param(replaced("dHzb", "dHz\u00e9"), "printable ASCII", id="non-ASCII in the proof"),
    pytest.param(replaced("dHzb", "dH-_"), "the proof is not 32 bytes", id="the URL alphabet"),
    pytest.param(replaced("dHzb", "dH zb"), "the proof is not 32 bytes", id="space in the proof"),
    pytest.param(replaced("dVQ=", "dVR="), "the proof is not 32 bytes", id="spare bits set"),
    pytest.param(replaced("VQ=", "VQ=="), "the proof is not 32 bytes", id="too much padding"),
    pytest.param(replaced("c=biws,", ""), "missing or out of order", id="no channel binding"),
    pytest.param(replaced("biws", "eSws"), "login is bound to another certificate", id="c= of y,,"),
    pytest.param(replaced("biws", "biw="), "login is bound to another certificate", id="c= cut short"),
    pytest.param(replaced("biws", ""), "not a list of attributes", id="c= empty"),
    pytest.param(replaced(f",r={RFC_NONCE}", ""), "missing or out of order", id="no nonce"),
    pytest.param(f"r={RFC_NONCE},c=biws,p={RFC_PROOF}", "missing or out of order", id="nonce before channel binding"),
    pytest.param(replaced(RFC_NONCE, RFC_CLIENT_NONCE), "not the one of this", id="the client's nonce only"),
    pytest.param(replaced(RFC_NONCE, RFC_NONCE + "x"), "not the one of this", id="nonce too long"),
    pytest.param(replaced(RFC_NONCE, RFC_NONCE[:-1]), "not the one of this", id="nonce too short"),
    pytest.param(replaced("c=biws", "m=ext,c=biws"), "mandatory extension", id="mandatory extension"),
    pytest.param(replaced(",p=", ",m=ext,p="), "mandatory extension", id="mandatory extension behind"),
    pytest.param(replaced(",p=", ",p=AAAA,p="), "where it must not", id="two proofs"),
    pytest.param(RFC_CLIENT_FINAL + ",x=1", "the proof is not 32 bytes", id="proof not last"),
    pytest.param(RFC_CLIENT_FINAL + "\r\n", "printable ASCII", id="line end"),
    pytest.param(replaced(",p=", f",x={'y' * MAX_MESSAGE_CHARS},p="), "longer than", id="too long"),
]
MALFORMED_SERVER_FIRST = [
    pytest.param("", "not a list of attributes", id="empty"),
    pytest.param("e=other-error", "the server refused", id="refusal"),
    pytest.param(f"s=W22ZaJ0SNY7soEsUEjb6gQ==,r={RFC_NONCE},i=4096", "out of order", id="wrong order"),
    pytest.param(f"r={RFC_NONCE},i=4096", "out of order", id="no salt"),
    pytest.param(f"r={RFC_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==", "out of order", id="no iterations"),
    pytest.param(f"m=x,{RFC_SERVER_FIRST}", "mandatory extension", id="mandatory extension"),
    pytest.param(RFC_SERVER_FIRST + ",m=x", "mandatory extension", id="mandatory extension behind"),
    pytest.param(server_first(nonce=RFC_CLIENT_NONCE), "does not extend ours", id="our nonce only"),
    pytest.param(server_first(nonce="x" + RFC_NONCE), "does not extend ours", id="another nonce"),
    pytest.param(server_first(nonce=RFC_CLIENT_NONCE[:-1]), "does not extend ours", id="our nonce cut"),
    pytest.param(server_first(nonce=RFC_NONCE + " "), "or holds a space", id="space in the nonce"),
    pytest.param(server_first(salt="W22ZaJ0SNY7soEsUEjb6gQ="), "salt must be", id="salt not base64"),
    pytest.param(server_first(salt="W22ZaJ0SNY7soEsUEjb6gR=="), "salt must be", id="spare bits in the salt"),
    pytest.param(server_first(salt="AAAAAAAAAA=="), "salt must be", id="salt of 7 bytes"),
    pytest.param(server_first(salt="A" * 88), "salt must be", id="salt of 66 bytes"),
    pytest.param(server_first(i="4095"), "iterations must be", id="4,095 iterations"),
    pytest.param(server_first(i="1"), "iterations must be", id="one iteration"),
    pytest.param(server_first(i="10000001"), "iterations must be", id="10,000,001 iterations"),
    pytest.param(server_first(i="9" * 500), "iterations must be", id="iterations without end"),
    pytest.param(server_first(i="04096"), "iterations must be", id="leading zero"),
    pytest.param(server_first(i="-4096"), "iterations must be", id="negative"),
    pytest.param(server_first(i="+4096"), "iterations must be", id="plus sign"),
    pytest.param(server_first(i="4_096"), "iterations must be", id="underscore"),
    pytest.param(server_first(i="4096.0"), "iterations must be", id="fraction"),
    pytest.param(server_first(i="\u0664\u0660\u0669\u0666"), "printable ASCII", id="Arabic digits"),
    pytest.param(RFC_SERVER_FIRST + "\n", "printable ASCII", id="line end"),
    pytest.param(RFC_SERVER_FIRST + f",x={'y' * MAX_MESSAGE_CHARS}", "longer than", id="too long"),
]
MALFORMED_SERVER_FINAL = [
    pytest.param("", "not a list of attributes", id="empty"),
    pytest.param("v=", "not a list of attributes", id="empty signature"),
    pytest.param("v=AAAA", "signature is not 32 bytes", id="short signature"),
    pytest.param(RFC_SERVER_FINAL[:-1], "signature is not 32 bytes", id="no padding"),
    pytest.param("v=" + "A" * 43 + "=", "signature is wrong", id="wrong signature"),
    pytest.param("p=" + RFC_SERVER_FINAL[2:], "missing or out of order", id="another attribute"),
    pytest.param("m=x," + RFC_SERVER_FINAL, "mandatory extension", id="mandatory extension"),
    pytest.param("e=invalid-proof", "the server refused", id="refusal"),
    pytest.param("e=\x1b[31m", "the server refused", id="refusal with an escape sequence"),
    pytest.param(RFC_SERVER_FINAL + "\n", "printable ASCII", id="line end"),
]


STEPS = {
    "client-first": MALFORMED_CLIENT_FIRST,
    "client-final": MALFORMED_CLIENT_FINAL,
    "server-first": MALFORMED_SERVER_FIRST,
    "server-final": MALFORMED_SERVER_FINAL,
}


def exchange_before(step: str) -> tuple[ServerExchange | ClientExchange, Callable[[str], object], str]:
    """Return an exchange in which this message is next, the method that processes it, and the valid message."""
    server, client = rfc_server(), rfc_client()
    if step == "client-first":
        return server, server.first, RFC_CLIENT_FIRST
    if step == "client-final":
        server.first(RFC_CLIENT_FIRST)
        return server, server.final, RFC_CLIENT_FINAL
    client.first()
    if step == "server-first":
        return client, client.final, RFC_SERVER_FIRST
    client.final(RFC_SERVER_FIRST)
    return client, client.verify, RFC_SERVER_FINAL


@pytest.mark.parametrize(
    ("step", "message", "reason"),
    [pytest.param(step, *case.values, id=f"{step}, {case.id}") for step, cases in STEPS.items() for case in cases],
)
def test_a_malformed_message_ends_the_exchange(step: str, message: str, reason: str) -> None:
    exchange, process, valid = exchange_before(step)
    with pytest.raises(ScramError, match=reason) as caught:
        process(message)
    assert_repeats_nothing(caught.value, message)
    assert exchange.state is ExchangeState.FAILED
    with pytest.raises(ScramError, match="out of order"):
        process(valid)


def assert_repeats_nothing(error: ScramError, message: str) -> None:
    text = str(error)
    assert text
    assert text.isascii()
    assert text.isprintable()
    for attribute in message.split(","):
        value = attribute[2:]
        assert len(value) < 5 or value not in text
