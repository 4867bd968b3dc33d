"""SCRAM-SHA-256: the RFC's example, order, replay, and a foreign client and server."""

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest
import scramp

from smtppseudo.monitor.credentials import Credentials, derive
from smtppseudo.monitor.scram import (
    BINDS,
    MAX_NONCE_CHARS,
    REFUSED,
    ClientExchange,
    ExchangeState,
    ScramError,
    ServerExchange,
)
from tests.unit.scram_vectors import (
    RFC_CLIENT_FINAL,
    RFC_CLIENT_FIRST,
    RFC_CLIENT_NONCE,
    RFC_CREDENTIALS,
    RFC_NONCE,
    RFC_PROOF,
    RFC_SALT,
    RFC_SECRET,
    RFC_SERVER_FINAL,
    RFC_SERVER_FIRST,
    RFC_SERVER_NONCE,
    RFC_USER,
    SECRETS,
    known,
    replaced,
    rfc_client,
    rfc_server,
    server_first,
    stand_in,
)


def run(client: ClientExchange, server: ServerExchange) -> str:
    return server.final(client.final(server.first(client.first())))


def test_the_exchange_of_rfc_7677() -> None:
    client, server = rfc_client(), rfc_server()
    assert client.first() == RFC_CLIENT_FIRST
    assert server.first(RFC_CLIENT_FIRST) == RFC_SERVER_FIRST
    assert client.final(RFC_SERVER_FIRST) == RFC_CLIENT_FINAL
    assert server.final(RFC_CLIENT_FINAL) == RFC_SERVER_FINAL
    client.verify(RFC_SERVER_FINAL)
    assert client.state is ExchangeState.DONE
    assert server.state is ExchangeState.DONE


def test_states_move_one_step_at_a_time() -> None:
    client, server = rfc_client(), rfc_server()
    seen: list[tuple[ExchangeState, ExchangeState, str]] = [(client.state, server.state, server.user)]
    first = client.first()
    seen.append((client.state, server.state, server.user))
    reply = server.first(first)
    seen.append((client.state, server.state, server.user))
    client.final(reply)
    seen.append((client.state, server.state, server.user))
    assert seen == [
        (ExchangeState.START, ExchangeState.AWAITS_FIRST, ""),
        (ExchangeState.AWAITS_FIRST, ExchangeState.AWAITS_FIRST, ""),
        (ExchangeState.AWAITS_FIRST, ExchangeState.AWAITS_FINAL, RFC_USER),
        (ExchangeState.AWAITS_FINAL, ExchangeState.AWAITS_FINAL, RFC_USER),
    ]


@pytest.mark.parametrize("user", ["a,b=c", "=2C", ",", "=", "=3D2C", "a b"])
def test_a_user_name_survives_its_escapes(user: str) -> None:
    asked: list[str] = []

    def lookup(name: str) -> Credentials:
        asked.append(name)
        return RFC_CREDENTIALS

    server = ServerExchange(lookup, stand_in, RFC_SERVER_NONCE)
    outcome = run(rfc_client(user), server)
    assert asked == [user]
    assert (server.user, outcome == REFUSED) == (user, False)


def test_a_server_ignores_extensions_but_signs_them() -> None:
    salted = hashlib.pbkdf2_hmac("sha256", RFC_SECRET.encode(), RFC_SALT, 4096)
    server = rfc_server()
    first = server.first(RFC_CLIENT_FIRST + ",x=some,y=thing")
    bare = f"c=biws,r={RFC_NONCE},z=more"
    auth_message = f"n=user,r={RFC_CLIENT_NONCE},x=some,y=thing,{first},{bare}".encode()
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth_message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    assert server.final(f"{bare},p={base64.b64encode(proof).decode()}") != REFUSED


def test_a_client_ignores_extensions() -> None:
    client = rfc_client()
    client.first()
    client.final(RFC_SERVER_FIRST + ",x=some")
    assert client.state is ExchangeState.AWAITS_FINAL


def test_a_wrong_secret_is_an_outcome() -> None:
    client, server = rfc_client(secret="Pencil"), rfc_server()
    outcome = run(client, server)
    assert outcome == REFUSED
    assert server.state is ExchangeState.FAILED
    with pytest.raises(ScramError, match="the server refused"):
        client.verify(outcome)
    assert client.state is ExchangeState.FAILED


@pytest.mark.parametrize("bit", [0, 7, 100, 255])
def test_one_bit_of_the_proof_decides(bit: int) -> None:
    proof = bytearray(base64.b64decode(RFC_PROOF))
    proof[bit // 8] ^= 1 << bit % 8
    server = rfc_server()
    server.first(RFC_CLIENT_FIRST)
    outcome = server.final(replaced(RFC_PROOF, base64.b64encode(proof).decode()))
    assert outcome == REFUSED


def test_a_client_detects_a_server_without_the_credentials() -> None:
    impostor = RFC_CREDENTIALS._replace(server_key=bytes(32))
    client = rfc_client()
    outcome = run(client, ServerExchange({RFC_USER: impostor}.get, stand_in, RFC_SERVER_NONCE))
    assert outcome != REFUSED
    with pytest.raises(ScramError, match="signature is wrong"):
        client.verify(outcome)
    assert client.state is ExchangeState.FAILED


def test_a_replayed_final_fails_under_another_nonce() -> None:
    server = rfc_server()
    server.first(RFC_CLIENT_FIRST)
    assert server.final(RFC_CLIENT_FINAL) != REFUSED
    again = rfc_server("another-server-nonce")
    again.first(RFC_CLIENT_FIRST)
    with pytest.raises(ScramError, match="not the one of this exchange"):
        again.final(RFC_CLIENT_FINAL)
    assert again.state is ExchangeState.FAILED


def test_a_replayed_proof_fails_under_another_nonce() -> None:
    nonce = "another-server-nonce"
    again = rfc_server(nonce)
    again.first(RFC_CLIENT_FIRST)
    outcome = again.final(replaced(RFC_SERVER_NONCE, nonce))
    assert outcome == REFUSED


def test_an_unknown_user_gets_the_reply_of_a_known_one() -> None:
    server = rfc_server()
    first = server.first(f"n,,n=nobody,r={RFC_CLIENT_NONCE}")
    nonce, salt, iterations = first.split(",")
    assert nonce == f"r={RFC_NONCE}"
    assert len(salt) == len("s=W22ZaJ0SNY7soEsUEjb6gQ==")
    assert iterations == "i=4096"
    assert server.final(RFC_CLIENT_FINAL) == REFUSED


def test_lookup_and_decoy_are_called_for_every_user() -> None:
    asked: list[tuple[str, str]] = []

    def lookup(user: str) -> Credentials | None:
        asked.append(("lookup", user))
        return known(user)

    def decoy_for(user: str) -> Credentials:
        asked.append(("decoy", user))
        return stand_in(user)

    for user in (RFC_USER, "nobody"):
        ServerExchange(lookup, decoy_for, RFC_SERVER_NONCE).first(f"n,,n={user},r=abc")
    assert sorted(asked) == sorted((kind, user) for kind in ("lookup", "decoy") for user in (RFC_USER, "nobody"))


def test_an_unknown_user_is_refused_even_with_a_valid_proof() -> None:
    server = ServerExchange(lambda _user: None, lambda _user: RFC_CREDENTIALS, RFC_SERVER_NONCE)
    server.first(RFC_CLIENT_FIRST)
    assert server.final(RFC_CLIENT_FINAL) == REFUSED


def test_known_and_unknown_users_take_the_same_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    digest: Callable[[bytes, bytes, str], bytes] = hmac.digest

    def counted(key: bytes, message: bytes, name: str) -> bytes:
        calls.append(len(message))
        return digest(key, message, name)

    monkeypatch.setattr("hmac.digest", counted)
    costs = []
    for user in ("user", "resu"):
        calls.clear()
        server = rfc_server()
        server.first(f"n,,n={user},r={RFC_CLIENT_NONCE}")
        server.final(RFC_CLIENT_FINAL)
        costs.append(list(calls))
    assert len(costs[0]) == 5  # three for the decoy, two for the proof and the signature
    assert costs[0] == costs[1]


@pytest.mark.parametrize("i", ["4096", "10000000"])
def test_the_bounds_of_the_iteration_count_are_allowed(i: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def pbkdf2(_hash: str, _secret: bytes, _salt: bytes, iterations: int) -> bytes:
        asked.append(iterations)
        return bytes(32)

    monkeypatch.setattr("hashlib.pbkdf2_hmac", pbkdf2)
    client = rfc_client()
    client.first()
    client.final(server_first(i=i))
    assert asked == [int(i)]


@pytest.mark.parametrize("salt_bytes", [8, 64])
def test_the_bounds_of_the_salt_are_allowed(salt_bytes: int) -> None:
    client = rfc_client()
    client.first()
    client.final(server_first(salt=base64.b64encode(b"x" * salt_bytes).decode()))
    assert client.state is ExchangeState.AWAITS_FINAL


def test_a_message_of_1024_characters_is_allowed_and_one_more_is_not() -> None:
    longest = RFC_CLIENT_FIRST + ",x=" + "y" * (1_024 - len(RFC_CLIENT_FIRST) - 3)
    rfc_server().first(longest)
    with pytest.raises(ScramError, match="longer than 1024 characters"):
        rfc_server().first(longest + "y")


def test_a_server_accepts_each_message_once_and_in_order() -> None:
    server = rfc_server()
    with pytest.raises(ScramError, match="out of order"):
        server.final(RFC_CLIENT_FINAL)
    server = rfc_server()
    server.first(RFC_CLIENT_FIRST)
    with pytest.raises(ScramError, match="out of order"):
        server.first(RFC_CLIENT_FIRST)
    server = rfc_server()
    server.first(RFC_CLIENT_FIRST)
    assert server.final(RFC_CLIENT_FINAL) != REFUSED
    with pytest.raises(ScramError, match="out of order"):
        server.final(RFC_CLIENT_FINAL)


def test_a_wrong_proof_allows_no_second_try() -> None:
    server = rfc_server()
    server.first(RFC_CLIENT_FIRST)
    assert server.final(replaced("dHzb", "AAAA")) == REFUSED
    with pytest.raises(ScramError, match="out of order"):
        server.final(RFC_CLIENT_FINAL)


def test_a_client_accepts_each_message_once_and_in_order() -> None:
    client = rfc_client()
    with pytest.raises(ScramError, match="out of order"):
        client.final(RFC_SERVER_FIRST)
    client = rfc_client()
    client.first()
    with pytest.raises(ScramError, match="out of order"):
        client.first()
    client = rfc_client()
    client.first()
    with pytest.raises(ScramError, match="out of order"):
        client.verify(RFC_SERVER_FINAL)


def test_an_empty_signature_proves_nothing() -> None:
    client = rfc_client()
    client.first()
    client.final(RFC_SERVER_FIRST)
    with pytest.raises(ScramError):
        client.verify("v=====")
    assert client.state is ExchangeState.FAILED


@pytest.mark.parametrize("nonce", ["", "short", "a" * 15, "a" * (MAX_NONCE_CHARS + 1), "a" * 20 + ",", "a b" * 9])
def test_our_own_nonce_must_be_valid(nonce: str) -> None:
    with pytest.raises(ValueError, match="a nonce must be 16 to 256"):
        ServerExchange(known, stand_in, nonce)
    with pytest.raises(ValueError, match="a nonce must be 16 to 256"):
        ClientExchange(RFC_USER, RFC_SECRET, nonce)


def test_the_longest_nonces_fit_into_the_messages() -> None:
    client = ClientExchange(RFC_USER, RFC_SECRET, "c" * MAX_NONCE_CHARS)
    outcome = run(client, rfc_server("s" * MAX_NONCE_CHARS))
    assert outcome != REFUSED
    client.verify(outcome)


@pytest.mark.parametrize("secret", ["", "p\xe4ssword", "pass\nword", "pass\ud800word", "\x7fpassword"])
def test_an_invalid_secret_is_refused_without_repeating_it(secret: str) -> None:
    for attempt in (
        lambda: derive(secret, RFC_SALT, 4096),
        lambda: ClientExchange(RFC_USER, secret, RFC_CLIENT_NONCE),
    ):
        with pytest.raises(ValueError, match="the secret is empty or") as caught:
            attempt()
        assert not secret or secret not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


@pytest.mark.parametrize("user", ["", "us\xe9r", "user\n"])
def test_an_invalid_user_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match="the user name must be printable ASCII"):
        ClientExchange(user, RFC_SECRET, RFC_CLIENT_NONCE)


def test_no_repr_shows_a_key_or_a_secret() -> None:
    client, server = rfc_client(), rfc_server()
    run(client, server)
    shown = repr(RFC_CREDENTIALS) + str(RFC_CREDENTIALS) + repr(client) + repr(server)
    assert "iterations=4096" in shown
    for kept in (RFC_SALT, RFC_CREDENTIALS.stored_key, RFC_CREDENTIALS.server_key):
        assert repr(kept) not in shown
        assert kept.hex() not in shown
    assert RFC_SECRET not in shown


def test_a_client_discards_the_secret() -> None:
    client = rfc_client()
    client.first()
    client.final(RFC_SERVER_FIRST)
    assert RFC_SECRET not in vars(client).values()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("user", ["magic", "a,b=c"])
@pytest.mark.parametrize(("binding", "flag"), [(None, "n,,"), (("tls-unique", b"data"), "y,,")])
def test_a_foreign_client_logs_in_to_our_server(
    user: str, secret: str, binding: tuple[str, bytes] | None, flag: str
) -> None:
    credentials = derive(secret, RFC_SALT, 4096)
    server = ServerExchange({user: credentials}.get, stand_in, RFC_SERVER_NONCE)
    client = scramp.ScramClient(["SCRAM-SHA-256"], user, secret, channel_binding=binding)
    first = client.get_client_first()
    assert first.startswith(flag)
    client.set_server_first(server.first(first))
    outcome = server.final(client.get_client_final())
    assert (server.user, outcome == REFUSED) == (user, False)
    client.set_server_final(outcome)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("user", ["magic", "a,b=c"])
def test_our_client_logs_in_to_a_foreign_server(user: str, secret: str) -> None:
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    stored = mechanism.make_auth_info(secret, iteration_count=5000, salt=RFC_SALT)
    server = mechanism.make_server({user: stored}.get)
    client = ClientExchange(user, secret, RFC_CLIENT_NONCE)
    server.set_client_first(client.first())
    server.set_client_final(client.final(server.get_server_first()))
    client.verify(server.get_server_final())
    assert client.state is ExchangeState.DONE


@pytest.mark.parametrize(("data", "is_right"), [(b"the certificate", True), (b"another one", False)])
def test_a_foreign_client_that_binds_to_the_channel(data: bytes, is_right: bool) -> None:
    server = ServerExchange({"magic": derive("open sesame", RFC_SALT, 4096)}.get, stand_in, RFC_SERVER_NONCE)
    server.channel = b"the certificate"
    binding = ("tls-server-end-point", data)
    client = scramp.ScramClient(["SCRAM-SHA-256-PLUS"], "magic", "open sesame", channel_binding=binding)
    client.set_server_first(server.first(client.get_client_first()))
    if is_right:
        client.set_server_final(server.final(client.get_client_final()))
    else:
        with pytest.raises(ScramError, match="is bound to another certificate"):
            server.final(client.get_client_final())


def test_a_client_that_can_bind_is_refused_without() -> None:
    server = rfc_server()
    server.channel = b"the certificate"
    with pytest.raises(ScramError, match="another one between may have hidden that"):
        server.first("y" + RFC_CLIENT_FIRST[1:])


def test_our_client_binds_to_the_channel_of_a_foreign_server() -> None:
    channel = ("tls-server-end-point", b"the certificate")
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256-PLUS")
    stored = mechanism.make_auth_info(RFC_SECRET, iteration_count=5000, salt=RFC_SALT)
    server = mechanism.make_server({RFC_USER: stored}.get, channel_binding=channel)
    client = rfc_client()
    server.set_client_first(client.first(BINDS, channel[1]))
    server.set_client_final(client.final(server.get_server_first()))
    client.verify(server.get_server_final())


@pytest.mark.parametrize(("flag", "binding"), [("n", "eSws"), ("y", "biws"), ("y", "cD10bHM=")])
def test_a_channel_binding_must_be_that_of_the_flag(flag: str, binding: str) -> None:
    server = rfc_server()
    server.first(flag + RFC_CLIENT_FIRST[1:])
    with pytest.raises(ScramError, match="is bound to another certificate"):
        server.final(replaced("biws", binding))
    assert server.state is ExchangeState.FAILED


def test_a_foreign_client_with_the_wrong_secret_is_refused() -> None:
    server = rfc_server()
    client = scramp.ScramClient(["SCRAM-SHA-256"], RFC_USER, "pencils")
    client.set_server_first(server.first(client.get_client_first()))
    outcome = server.final(client.get_client_final())
    assert outcome == REFUSED
    with pytest.raises(scramp.ScramException, match="invalid-proof"):
        client.set_server_final(outcome)


def test_a_foreign_server_refuses_our_wrong_secret() -> None:
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    server = mechanism.make_server({RFC_USER: mechanism.make_auth_info("another", salt=RFC_SALT)}.get)
    client = rfc_client()
    server.set_client_first(client.first())
    with pytest.raises(scramp.ScramException):
        server.set_client_final(client.final(server.get_server_first()))
    with pytest.raises(ScramError, match="the server refused"):
        client.verify(server.get_server_final())
