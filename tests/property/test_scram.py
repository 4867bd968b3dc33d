"""SCRAM, for any messages: each is accepted or a ScramError, and only the right secret logs in."""

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.monitor.credentials import decoy, derive
from smtppseudo.monitor.scram import REFUSED, ClientExchange, ScramError, ServerExchange
from tests.fuzz import targets
from tests.unit.scram_vectors import RFC_CLIENT_FINAL, RFC_CLIENT_FIRST, RFC_SERVER_FINAL, RFC_SERVER_FIRST

ITERATIONS = 4_096
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20)
nonces = st.text("abcXYZ019+/!%=", min_size=16, max_size=24)
base64_of = st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode())
values = printable | base64_of | st.sampled_from(["4096", "04096", "4095", "99999999999", "biws", "a=2Cb", "=", ""])
attributes = st.builds(lambda name, value: f"{name}={value}", st.sampled_from("anmrcsipvex0"), values)
lists = st.lists(attributes | st.sampled_from(["n", "y", "", "p=x"]), max_size=6).map(",".join)
right = [RFC_CLIENT_FIRST, RFC_CLIENT_FINAL, RFC_SERVER_FIRST, RFC_SERVER_FINAL]
damaged = st.builds(
    lambda text, at, more: text[: at % len(text)] + more + text[at % len(text) :],
    st.sampled_from(right),
    st.integers(0, 200),
    st.text(max_size=2) | st.just(","),
)
messages = lists | damaged | st.sampled_from(right)


@settings(max_examples=200)
@given(messages, messages)
def test_any_message_is_accepted_or_a_scram_error(first: str, final: str) -> None:
    targets.scram(f"{first}\n{final}".encode("latin-1", "replace"))


@settings(max_examples=40)
@given(printable, printable, printable, st.binary(min_size=8, max_size=64), nonces, nonces)
def test_only_the_right_secret_logs_in(
    user: str, secret: str, other: str, salt: bytes, client_nonce: str, server_nonce: str
) -> None:
    known = derive(secret, salt, ITERATIONS)
    for said in (secret, other):
        server = ServerExchange({user: known}.get, lambda name: decoy(b"x" * 32, name, ITERATIONS), server_nonce)
        client = ClientExchange(user, said, client_nonce)
        outcome = server.final(client.final(server.first(client.first())))
        assert (outcome != REFUSED) is (said == secret)
        if outcome != REFUSED:
            client.verify(outcome)
        else:
            try:
                client.verify(outcome)
            except ScramError:
                continue
            raise AssertionError("a refusal was taken for a proof")
