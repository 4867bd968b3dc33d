"""The client machine: login, requests, events, and hostile servers."""

import time
from collections.abc import Callable

import pytest

from smtppseudo.events import Monitor
from smtppseudo.link import machine as machine_module
from smtppseudo.link.errors import (
    BadPeerError,
    ConnectionLostError,
    LinkError,
    NeedsMagicWordError,
    NotAuthorizedError,
    OpRefusedError,
    RefusedError,
)
from smtppseudo.link.incoming import (
    EVENT_CHARS_MAX,
    EVENT_FIELDS,
    MESSAGE_CHARS_MAX,
    SLOT_CHARS_MAX,
    SLOT_FIELDS,
    Dropped,
    Incoming,
    OpReply,
    Snapshot,
    Streamed,
)
from smtppseudo.link.machine import SLOTS_MAX, ClientState, MonitorClient, Secrets, checked_word
from smtppseudo.monitor.codec import encode
from smtppseudo.monitor.credentials import cookie_id, derive
from smtppseudo.monitor.session import Backend, MonitorSession, ValidProof
from tests.records import Stamped, fields
from tests.unit.monitor_peer import (
    CLIENT_NONCE,
    COOKIE,
    EVENT,
    OTHER_COOKIE,
    PLACE,
    SERVER_NONCE,
    SNAPSHOT,
    USERS,
    WORD,
    Peer,
    client,
    hello,
    logged_in,
    meet,
)
from tests.unit.test_records import KINDS

A_SNAPSHOT = Snapshot(
    9_120,
    "online",
    "2026-01-31T23:59:59.999Z",
    [{"slot": 1, "state": "free"}],
    {"greeting": "Welcome!"},
    {"connected": 7},
)


def without(frame: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in frame.items() if key != name}


def only(found: list[Incoming]) -> Incoming:
    (value,) = found
    return value


def ending(found: list[Incoming], kind: type[LinkError], text: str = "") -> LinkError:
    """Return the error that must be the only value; `text` must be part of it."""
    value = only(found)
    assert type(value) is kind
    assert text in str(value)
    return value


def assert_bad(machine: MonitorClient, found: list[Incoming], words: str) -> None:
    """Assert that the client closed with a BadPeerError, and sends and accepts nothing more."""
    text = str(ending(found, BadPeerError))
    assert text.startswith(f"{PLACE}: ")
    assert words in text
    assert text.isprintable()
    assert machine.state is ClientState.CLOSED
    assert machine.data_to_send() == b""
    assert machine.receive(encode(SNAPSHOT)) == []


# Login


@pytest.mark.parametrize("chunk_bytes", [1, 7, 65_536])
def test_login_with_the_cookie(chunk_bytes: int) -> None:
    machine, peer = client(cookies=(COOKIE,)), Peer()
    assert meet(machine, peer, chunk_bytes=chunk_bytes) == [A_SNAPSHOT]
    assert (machine.state, machine.user, machine.server) == (ClientState.AUTHENTICATED, "cookie", "smtppseudo 1.0.0")


def test_login_with_the_magic_word() -> None:
    machine, peer = client(WORD), Peer()
    assert meet(machine, peer) == [A_SNAPSHOT]
    assert machine.user == "magic"


def test_login_frames_follow_the_protocol() -> None:
    machine, peer = client(WORD), Peer()
    meet(machine, peer)
    first, second = peer.received
    assert first == {"id": 1, "op": "auth", "mechanism": "SCRAM-SHA-256", "data": f"y,,n=magic,r={CLIENT_NONCE}"}
    assert second["id"] == 2
    assert second["op"] == "auth"
    assert str(second["data"]).startswith(f"c=eSws,r={CLIENT_NONCE}{SERVER_NONCE},p=")


@pytest.mark.parametrize("cookies", [(COOKIE, OTHER_COOKIE), (OTHER_COOKIE, COOKIE)])
def test_cookie_of_this_server_is_used_before_the_word(cookies: tuple[str, ...]) -> None:
    machine = client(WORD, cookies)
    assert meet(machine, Peer()) == [A_SNAPSHOT]
    assert machine.user == "cookie"


@pytest.mark.parametrize("changed", ["0" * 16, None, 7, cookie_id(COOKIE).upper()])
def test_cookie_is_not_sent_to_another_server(changed: object) -> None:
    machine, peer = client(WORD, (COOKIE,)), Peer()
    meet(machine, peer, encode(hello(cookie_id=changed)))
    assert "n=magic" in str(peer.received[0]["data"])
    assert machine.user == "magic"


def test_nothing_is_sent_without_a_secret_for_this_server() -> None:
    machine = client(cookies=(OTHER_COOKIE,))
    ending(machine.receive(encode(hello())), NeedsMagicWordError, f"{PLACE} needs the magic word")
    assert machine.data_to_send() == b""
    assert machine.state is ClientState.CLOSED


def test_cookie_id_is_the_start_of_the_cookies_hash() -> None:
    assert cookie_id("0" * 64) == "60e05bd1b195af2f"


def test_nothing_is_sent_before_the_hello() -> None:
    machine = client(WORD, (COOKIE,))
    assert machine.receive(b"") == []
    assert machine.data_to_send() == b""


def test_wrong_word_is_refused_and_not_retried() -> None:
    machine, peer = client("another word"), Peer()
    ending(meet(machine, peer), NotAuthorizedError, f"{PLACE}: Not Authorized! The magic word is wrong")
    assert len(peer.received) == 2
    assert machine.state is ClientState.CLOSED


def test_cookie_with_the_same_id_but_another_value_is_refused() -> None:
    users = {"cookie": derive(OTHER_COOKIE, b"salt of the cookie", 4_096)}
    ending(meet(client(cookies=(COOKIE,)), Peer(users)), NotAuthorizedError, "Not Authorized! The login failed")


@pytest.mark.parametrize(
    ("refusal", "kind", "text"),
    [
        ({"error": "rate", "message": "in 40 s"}, RefusedError, "refuses the connection: in 40 s"),
        ({"error": "rate"}, RefusedError, "refuses the connection: rate"),
        ({"error": "busy"}, RefusedError, "is busy"),
        ({"error": "not_authorized", "message": "no"}, NotAuthorizedError, "The magic word is wrong"),
    ],
)
@pytest.mark.parametrize("to", [1, 2])
def test_refusal_at_each_login_step_is_an_error(
    refusal: dict[str, object], kind: type[LinkError], text: str, to: int
) -> None:
    machine, peer = client(WORD), Peer()
    machine.receive(encode(hello()))
    if to == 2:
        machine.receive(peer.answer(machine.data_to_send()))
    error = ending(machine.receive(encode({"type": "reply", "id": to, "ok": False, **refusal})), kind, text)
    assert getattr(error, "code", "not_authorized") == refusal["error"]
    assert machine.state is ClientState.CLOSED


@pytest.mark.parametrize("before", [b"", encode(hello())])
def test_busy_error_can_come_at_any_time(before: bytes) -> None:
    machine = client(WORD)
    found = machine.receive(before + encode({"type": "error", "error": "busy", "message": "8 monitors"}))
    ending(found, RefusedError, f"{PLACE} is busy: 8 monitors;")


def test_client_and_server_machines_log_in() -> None:
    for secrets, user in ((Secrets(magic_word=WORD), "magic"), (Secrets((COOKIE,)), "cookie")):
        machine = MonitorClient(secrets, CLIENT_NONCE, PLACE)
        backend = Backend("smtppseudo 1.0.0", "", cookie_id(COOKIE), USERS.get, Peer._decoy, lambda user: 0.0)
        server = MonitorSession(backend, SERVER_NONCE, "127.0.0.1", 50_000, 0.0)
        found: list[Incoming] = []
        while data := server.data_to_send(0.0):
            found += machine.receive(data)
            for happening in server.receive(machine.data_to_send(), 0.0):
                assert isinstance(happening, ValidProof)
                server.admit(happening, 0.0)
        assert found == []
        assert (machine.state, machine.user) == (ClientState.AUTHENTICATED, user)
        assert machine.request("ping") == 3
        assert server.receive(machine.data_to_send(), 0.0) == []
        assert only(machine.receive(server.data_to_send(0.0))) == OpReply(3, {})


def test_client_and_server_machines_refuse_a_wrong_word() -> None:
    machine = client("another word")
    backend = Backend("smtppseudo 1.0.0", "", cookie_id(COOKIE), USERS.get, Peer._decoy, lambda user: 0.0)
    server = MonitorSession(backend, SERVER_NONCE, "127.0.0.1", 50_000, 0.0)
    for _ in range(2):
        assert machine.receive(server.data_to_send(0.0)) == []
        happenings = server.receive(machine.data_to_send(), 0.0)
    assert happenings == [Monitor("not_authorized", "magic")]
    server.tick(1.0)
    ending(machine.receive(server.data_to_send(1.0)), NotAuthorizedError, "The magic word is wrong")


@pytest.mark.parametrize("offered", [["SCRAM-SHA-256"], ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]])
@pytest.mark.parametrize("channel", [b"", b"the hostile server's", b"the honest server's"])
def test_a_hostile_server_cannot_use_a_login_at_another_one(channel: bytes, offered: list[str]) -> None:
    """A hostile server passes all on to an honest server, to log in there with the same magic word."""
    machine = MonitorClient(Secrets(magic_word=WORD), CLIENT_NONCE, PLACE)
    machine.channel = channel  # the certificate that the client saw
    backend = Backend(
        "smtppseudo 1.0.0", "", "", USERS.get, Peer._decoy, lambda user: 0.0, channel=b"the honest server's"
    )
    honest = MonitorSession(backend, SERVER_NONCE, "192.0.2.1", 50_000, 0.0)
    honest.data_to_send(0.0)
    machine.receive(encode(hello(mechanisms=offered)))
    happenings: list[object] = []
    while said := machine.data_to_send():
        happenings += honest.receive(said, 0.0)
        machine.receive(honest.data_to_send(0.0))
    is_direct = channel == backend.channel and len(offered) == 2
    assert [type(each) for each in happenings] == [ValidProof] * is_direct


# Servers that mean no good, before they have proved anything


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"220 Welcome!06/01/2012 2:41:11 PM -0700\r\n", "not a monitor port"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not a monitor port"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "not a monitor port"),
        (b"{]}\n", "not a monitor port"),
        (b'{"type":"hello","type":"hello"}\n', "not a monitor port"),
        (b'{"a":"' + b"x" * 70_000, "at most 65536 bytes"),
        (encode({}), "type"),
        (encode({"type": 7}), "type"),
        (encode(SNAPSHOT), "'snapshot' before the login"),
        (encode(EVENT), "'event' before the login"),
        (encode({"type": "reply", "id": 1, "ok": True}), "'reply' before the login"),
        (encode({"type": "x" * 1_000}), "before the login"),
        (encode(hello(protocol=2)), "version 2"),
        (encode(hello(protocol=0)), "version 0"),
        (encode(hello(protocol=None)), "protocol"),
        (encode(hello(protocol=True)), "protocol"),
        (encode(hello(protocol="1")), "protocol"),
        (encode(hello(mechanisms=["PLAIN"])), "SCRAM-SHA-256"),
        (encode(hello(mechanisms="SCRAM-SHA-256")), "SCRAM-SHA-256"),
        (encode(hello(mechanisms=None)), "SCRAM-SHA-256"),
    ],
)
def test_first_frame_that_is_not_a_hello_ends_the_connection(data: bytes, words: str) -> None:
    machine = client(WORD, (COOKIE,))
    assert_bad(machine, machine.receive(data), words)


def challenge(data: object) -> bytes:
    return encode({"type": "reply", "id": 1, "ok": True, "data": data})


def challenge_of(nonce: str = CLIENT_NONCE + SERVER_NONCE, salt: str = "c2FsdHNhbHQ=", i: str = "600000") -> bytes:
    return challenge(f"r={nonce},s={salt},i={i}")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (challenge_of(i="1"), "iterations must be"),
        (challenge_of(i="599999"), "iterations must be 600000 to 10000000"),
        (challenge_of(i="10000001"), "iterations must be"),
        (challenge_of(i="999999999999"), "iterations must be"),
        (challenge_of(nonce=CLIENT_NONCE), "does not extend"),
        (challenge_of(nonce=SERVER_NONCE + CLIENT_NONCE), "does not extend"),
        (challenge_of(salt="c2FsdA=="), "salt"),
        (challenge_of(salt="!"), "salt"),
        (challenge("x" * 1_025), "login failed"),
        (challenge(""), "login failed"),
        (challenge("e=other-error"), "the server refused"),
        (challenge(None), "data"),
        (challenge(7), "data"),
        (encode({"type": "reply", "id": 2, "ok": True}), "was not sent"),
        (encode({"type": "reply", "id": 1}), "ok"),
        (encode({"type": "reply", "id": 1, "ok": 1}), "ok"),
        (encode({"type": "reply", "id": 1, "ok": False}), "error"),
        (encode({"type": "reply", "id": "1", "ok": True}), "id"),
        (encode(hello()), "'hello' before the login"),
        (encode(SNAPSHOT), "'snapshot' before the login"),
        (b"garbage\n", "invalid frame"),
    ],
)
def test_bad_challenge_ends_the_connection_without_key_derivation(data: bytes, words: str) -> None:
    machine = client(WORD)
    machine.receive(encode(hello()))
    machine.data_to_send()
    started_at = time.process_time()
    assert_bad(machine, machine.receive(data), words)
    assert time.process_time() - started_at < 1.0  # nothing was derived for it


def awaiting_signature() -> MonitorClient:
    machine = client(WORD)
    machine.receive(encode(hello()))
    machine.receive(challenge_of())
    machine.data_to_send()
    assert machine.state is ClientState.AWAITS_SIGNATURE
    return machine


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "signature is wrong"),
        (f"v={'A' * 43}=", "signature is wrong"),
        ("v=AAAA", "signature"),
        ("e=other-error", "the server refused"),
        ("", "login failed"),
        (None, "data"),
    ],
)
def test_wrong_server_signature_ends_the_connection(data: object, words: str) -> None:
    machine = awaiting_signature()
    found = machine.receive(encode({"type": "reply", "id": 2, "ok": True, "data": data}) + encode(SNAPSHOT))
    assert_bad(machine, found, words)


def test_server_cannot_skip_its_proof() -> None:
    machine = awaiting_signature()
    assert_bad(machine, machine.receive(encode(SNAPSHOT)), "before the login")


def test_signature_of_another_exchange_is_refused() -> None:
    machine, peer = client(WORD), Peer()
    recorded = MonitorClient(Secrets(magic_word=WORD), "another-nonce-0123456789", PLACE)
    recorded.receive(encode(hello()))
    recorded.receive(peer.answer(recorded.data_to_send()))
    signature = peer.answer(recorded.data_to_send())
    peer = Peer()
    machine.receive(encode(hello()))
    machine.receive(peer.answer(machine.data_to_send()))
    machine.data_to_send()
    assert_bad(machine, machine.receive(signature), "signature is wrong; do not trust this server")


# After the login


def test_request_and_its_reply() -> None:
    machine, peer = logged_in()
    peer.replies["subscribe"] = [{"oldest_seq": 7}]
    assert machine.request("subscribe", from_seq=9, events=["closed"]) == 3
    assert only(machine.receive(peer.answer(machine.data_to_send()))) == OpReply(3, {"oldest_seq": 7})
    assert peer.received[-1] == {"id": 3, "op": "subscribe", "from_seq": 9, "events": ["closed"]}


def test_replies_may_come_in_any_order() -> None:
    machine, _ = logged_in()
    first, second = machine.request("get"), machine.request("ping")
    found = [only(machine.receive(encode({"type": "reply", "id": id_, "ok": True}))) for id_ in (second, first)]
    assert found == [OpReply(second, {}), OpReply(first, {})]


def test_refused_request_raises_and_keeps_the_login() -> None:
    machine, _ = logged_in()
    request_id = machine.request("set", changes={"greeting": ""})
    refusal = {"type": "reply", "id": request_id, "ok": False, "error": "bad_value", "message": "greeting must be ..."}
    reply = only(machine.receive(encode(refusal)))
    assert isinstance(reply, OpReply)
    assert reply.id == request_id
    assert isinstance(reply.error, OpRefusedError)
    assert (str(reply.error), reply.error.code) == ("greeting must be ...", "bad_value")
    assert machine.state is ClientState.AUTHENTICATED


def test_request_before_the_login_is_an_error() -> None:
    with pytest.raises(ValueError, match="not logged in"):
        client(WORD).request("ping")


def test_request_over_the_limit_is_an_error_and_not_sent() -> None:
    machine, _ = logged_in()
    with pytest.raises(ValueError, match="16,384"):
        machine.request("set", changes={"greeting": "x" * 16_384})
    assert machine.data_to_send() == b""
    assert machine.request("ping") == 3


def slots(start: int, count: int) -> list[dict[str, object]]:
    return [{"slot": number, "state": "free"} for number in range(start, start + count)]


def test_partial_lists_of_slots_are_joined() -> None:
    machine, peer = logged_in()
    peer.replies["slots"] = [
        {"slots": slots(1, 100), "more": True},
        {"slots": slots(101, 100), "more": True},
        {"slots": slots(201, 50), "more": False},
    ]
    request_id = machine.request("slots")
    data = peer.answer(machine.data_to_send())
    assert only(machine.receive(data)) == OpReply(request_id, {"slots": slots(1, 250)})
    assert_bad(machine, machine.receive(data[: data.index(b"\n") + 1]), "a request that was not sent")


def test_two_lists_of_slots_at_once_are_kept_apart() -> None:
    machine, _ = logged_in()
    first, second = machine.request("slots"), machine.request("slots")

    def part(request_id: int, start: int, *, more: bool) -> list[Incoming]:
        frame = {"type": "reply", "id": request_id, "ok": True, "slots": slots(start, 1), "more": more}
        return machine.receive(encode(frame))

    assert part(first, 1, more=True) == part(second, 11, more=True) == []
    assert only(part(first, 2, more=False)) == OpReply(first, {"slots": slots(1, 2)})
    assert only(part(second, 12, more=False)) == OpReply(second, {"slots": slots(11, 2)})


def test_partial_list_is_dropped_when_the_request_is_refused() -> None:
    machine, _ = logged_in()
    request_id = machine.request("slots")
    frame = {"type": "reply", "id": request_id, "ok": True, "slots": slots(1, 1), "more": True}
    refusal = {"type": "reply", "id": request_id, "ok": False, "error": "io"}
    reply = only(machine.receive(encode(frame) + encode(refusal)))
    assert isinstance(reply, OpReply)
    assert (reply.id, str(reply.error)) == (request_id, "io")
    assert machine._slots == {0: []}


def test_partial_snapshots_are_joined() -> None:
    machine, _ = logged_in()
    parts = [SNAPSHOT | {"slots": slots(1, 100), "more": True}, SNAPSHOT | {"slots": slots(101, 1)}]
    assert machine.receive(encode(parts[0])) == []
    assert only(machine.receive(encode(parts[1]))) == A_SNAPSHOT._replace(slots=slots(1, 101))


def test_second_snapshot_ends_the_connection() -> None:
    machine, _ = logged_in()
    assert only(machine.receive(encode(SNAPSHOT))) == A_SNAPSHOT
    assert_bad(machine, machine.receive(encode(SNAPSHOT | {"slots": slots(1, 1), "more": True})), "a second snapshot")


def test_too_long_list_of_slots_ends_the_connection() -> None:
    machine, _ = logged_in()
    part = encode(SNAPSHOT | {"slots": slots(1, 1_000), "more": True})
    for _ in range(SLOTS_MAX // 1_000):
        assert machine.receive(part) == []
    assert_bad(machine, machine.receive(part), "more than 60,000 slots")


def test_event_record_equals_the_logs_record() -> None:
    machine, _ = logged_in()
    streamed = only(machine.receive(encode(EVENT)))
    assert isinstance(streamed, Streamed)
    assert streamed.seq == 9_121
    assert list(streamed.record) == ["time", "event", "slot", "session", "ip", "port", "local_port"]
    assert streamed.record == without(without(EVENT, "type"), "seq")


def test_dropped_events_are_reported() -> None:
    machine, _ = logged_in()
    assert only(machine.receive(encode({"type": "dropped", "count": 812}))) == Dropped(812)


def test_unknown_frames_and_fields_are_ignored() -> None:
    machine, _ = logged_in()
    more = [{"type": "weather", "sun": True}, EVENT | {"event": "eclipse", "totality": 1.5, "of": ["sun"]}]
    streamed = only(machine.receive(b"".join(map(encode, more))))
    assert isinstance(streamed, Streamed)
    assert streamed.record == without(without(EVENT, "type"), "seq") | {"event": "eclipse"}


def test_bye_ends_the_connection() -> None:
    machine, _ = logged_in()
    found = machine.receive(encode({"type": "bye", "reason": "shutdown"}) + encode(EVENT))
    ending(found, ConnectionLostError, f"{PLACE}: the server ended the connection (shutdown)")
    assert machine.end_of_stream() == []
    with pytest.raises(ValueError, match="not logged in"):
        machine.request("ping")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"garbage\n", "invalid frame"),
        (b"{" + b"[" * 100 + b"\n", "invalid frame"),
        (b'{"type":"event","seq":1e999}\n', "invalid frame"),
        (b'{"a":"' + b"x" * 65_531, "at most 65536 bytes"),
        (encode(without(EVENT, "type")), "type"),
        (encode(without(EVENT, "seq")), "seq"),
        (encode(EVENT | {"seq": -1}), "seq"),
        (encode(EVENT | {"seq": 1.5}), "seq"),
        (encode(without(EVENT, "time")), "time"),
        (encode(without(EVENT, "event")), "event"),
        (encode(EVENT | {"ip": 7}), "ip"),
        (encode(EVENT | {"slot": "3"}), "slot"),
        (encode(EVENT | {"slot": True}), "slot"),
        (encode(EVENT | {"data": ["x"]}), "data"),
        (encode(EVENT | {"data": "ü"}), "data is too long, or not ASCII"),
        (encode(EVENT | {"data": "x" * EVENT_CHARS_MAX}), "data is too long"),
        (encode({"type": "dropped"}), "count"),
        (encode({"type": "error"}), "error"),
        (encode({"type": "reply", "id": 99, "ok": True}), "was not sent"),
        (encode(without(SNAPSHOT, "slots")), "slots"),
        (encode(SNAPSHOT | {"slots": {}}), "slots"),
        (encode(SNAPSHOT | {"slots": [7]}), "slot"),
        (encode(SNAPSHOT | {"slots": [{"state": "free"}]}), "slot"),
        (encode(SNAPSHOT | {"slots": [{"slot": 1}]}), "state"),
        (encode(SNAPSHOT | {"slots": [{"slot": 1, "state": "open", "helo": None}]}), "helo"),
        (
            encode(SNAPSHOT | {"slots": [{"slot": 1, "state": "open", "helo": "x" * SLOT_CHARS_MAX}]}),
            "helo is too long",
        ),
        (encode(SNAPSHOT | {"slots": [], "more": True}), "an empty part of a list"),
        (encode(without(SNAPSHOT, "seq")), "seq"),
        (encode(without(SNAPSHOT, "state")), "state"),
        (encode(without(SNAPSHOT, "started_at")), "started_at"),
        (encode(without(SNAPSHOT, "settings")), "settings"),
        (encode(SNAPSHOT | {"counters": []}), "counters"),
    ],
)
def test_frame_that_breaks_the_protocol_ends_the_connection(data: bytes, words: str) -> None:
    machine, _ = logged_in()
    assert_bad(machine, machine.receive(data), words)


@pytest.mark.parametrize("fields", [{}, {"slots": []}, {"settings": {}}])
def test_reply_that_promises_more_of_nothing_ends_the_connection(fields: dict[str, object]) -> None:
    machine, _ = logged_in()
    reply = {"type": "reply", "id": machine.request("slots"), "ok": True, "more": True, **fields}
    machine.data_to_send()
    assert_bad(machine, machine.receive(encode(reply)), "an empty part of a list")


def test_unknown_fields_and_long_lines_of_slots_are_not_kept() -> None:
    machine, _ = logged_in()
    odd = [slot | {"of": [[[]] * 100] * 10, "n": {"n": 1}, "last": "x" * 8_192} for slot in slots(1, 2)]
    snapshot = only(machine.receive(encode(SNAPSHOT | {"slots": odd})))
    assert isinstance(snapshot, Snapshot)
    assert snapshot.slots == [slot | {"last": "x" * MESSAGE_CHARS_MAX} for slot in slots(1, 2)]


def test_bytes_without_a_value_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "BYTES_MAX", 100_000)
    machine, _ = logged_in()
    weather = encode({"type": "weather", "of": "x" * 50_000})
    assert machine.receive(weather) == []
    assert machine.receive(encode(EVENT)) != []
    assert machine.receive(weather) == []
    assert_bad(machine, machine.receive(weather), "sent 100,000 bytes without a whole reply")


def test_second_reply_to_a_request_ends_the_connection() -> None:
    machine, _ = logged_in()
    reply = encode({"type": "reply", "id": machine.request("ping"), "ok": True})
    machine.data_to_send()
    assert only(machine.receive(reply)) == OpReply(3, {})
    assert_bad(machine, machine.receive(reply), "was not sent")


def test_field_types_match_those_of_the_events() -> None:
    shown = {name for event, _, _ in KINDS for name, _ in fields(Stamped(1, "", 1, 1, "::1", 1, event))}
    assert set(EVENT_FIELDS) == shown | {"time", "event"}
    for event, _, _ in KINDS:
        for name, value in fields(Stamped(1, "", 1, 1, "::1", 1, event)):
            assert type(value) is EVENT_FIELDS[name], name
    assert set(SLOT_FIELDS) >= {"session", "ip", "port", "helo", "mail_from", "last", "error", "commands", "idle_ms"}


NASTY = "\x1b[2J\u202e\u200b\x00\n\x7f\x9b"
TAMED = "?[2J??????"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"data": NASTY + "ü"}, {"data": TAMED + "ü"}),
        ({NASTY: "x"}, {TAMED: "x"}),
        ({NASTY: 7}, {TAMED: 7}),
        ({"more": [{NASTY: NASTY}]}, {"more": [{TAMED: TAMED}]}),
        ({"more": {"more": [[NASTY, 7]]}}, {"more": {"more": [[TAMED, 7]]}}),
    ],
)
def test_unprintable_characters_are_replaced(sent: dict[str, object], shown: dict[str, object]) -> None:
    machine, _ = logged_in()
    snapshot = only(machine.receive(encode(SNAPSHOT | {"settings": sent})))
    assert isinstance(snapshot, Snapshot)
    assert snapshot.settings == shown


def test_messages_of_the_server_are_sanitized_and_cut() -> None:
    machine, _ = logged_in()
    refusal = {"type": "error", "error": NASTY, "message": NASTY * 1_000}
    refused = ending(machine.receive(encode(refusal)), RefusedError)
    assert isinstance(refused, RefusedError)
    assert refused.code.isprintable()
    assert str(refused).isprintable()
    assert len(str(refused).removeprefix(f"{PLACE} refuses the connection: ")) == MESSAGE_CHARS_MAX


# The end of the stream


@pytest.mark.parametrize("server_goes_on", [False, True])
def test_secrets_are_forgotten_after_use(server_goes_on: bool) -> None:
    machine = client(WORD, (COOKIE, OTHER_COOKIE))
    if server_goes_on:
        meet(machine, Peer())
    else:
        machine.end_of_stream()
    assert not machine._by_cookie
    assert machine._by_word is None


def test_end_of_stream_before_the_hello_is_an_error() -> None:
    machine = client(WORD)
    ending(machine.end_of_stream(), ConnectionLostError, f"{PLACE}: the server closed the connection without a hello")
    assert machine.state is ClientState.CLOSED
    assert machine.end_of_stream() == []


@pytest.mark.parametrize("make", [awaiting_signature, lambda: logged_in()[0]])
def test_end_of_stream_after_the_hello_is_an_error(make: Callable[[], MonitorClient]) -> None:
    ending(make().end_of_stream(), ConnectionLostError, f"{PLACE}: the server closed the connection")


# Secrets


def test_repr_hides_secrets() -> None:
    assert "word" not in repr(Secrets((COOKIE,), WORD))
    assert COOKIE not in repr(Secrets((COOKIE,), WORD))


@pytest.mark.parametrize("word", ["", "7 chars", "x" * 129, "no\ttabs here", "Zauberwörter"])
def test_invalid_magic_word_is_an_error_that_does_not_show_it(word: str) -> None:
    for take in (checked_word, client):
        with pytest.raises(ValueError, match="8 to 128 printable ASCII") as caught:
            take(word)
        assert not word or word not in str(caught.value)


@pytest.mark.parametrize("word", ["8 chars!", "x" * 128, "  spaces  "])
def test_valid_magic_words_are_accepted(word: str) -> None:
    assert checked_word(word) == word


def test_invalid_nonce_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="nonce"):
        MonitorClient(Secrets(magic_word=WORD), "short", PLACE)
