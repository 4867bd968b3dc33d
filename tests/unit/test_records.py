"""Records: events as lines of a log, in text and JSON, and back."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

import pytest

from smtppseudo.events import (
    NAMES,
    Block,
    Closed,
    Command,
    Connected,
    Error,
    Event,
    Handshake,
    Message,
    Monitor,
    Offline,
    Online,
    SettingsChanged,
    TurnedAway,
)
from smtppseudo.log.records import TIME as TIMES
from smtppseudo.log.records import render_record, with_current_names
from tests.records import Stamped, command, fields, parse, render_json, render_text

TIME: Final = "2026-01-31T23:59:59.999Z"
Render = Callable[[Stamped], str]
IN_SESSION: Final = (3, 7, "2001:db8::1", 50_000)
OUTSIDE: Final = (0, 0, "", 0)

OF_NO_SESSION: Final = (TurnedAway, Error, Online, Offline, SettingsChanged, Monitor, Block)


def stamped(event: Event, place: tuple[int, int, str, int] = IN_SESSION) -> Stamped:
    return Stamped(0, TIME, *place, event)


def as_text(record: Stamped) -> str:
    (line,) = render_text([record])
    return line


def as_json(record: Stamped) -> str:
    (line,) = render_json([record])
    return line


RENDERERS: Final = (as_text, as_json)

# Every kind of event, and its own fields in text and in JSON
KINDS: Final[list[tuple[Event, str, str]]] = [
    (Connected(25), "local_port=25", '"local_port":25'),
    (Connected(25, "2001:db8::1"), "local_port=25 local_ip=2001:db8::1", '"local_port":25,"local_ip":"2001:db8::1"'),
    (
        Command("NOOP", "250 OK"),
        "data=NOOP code=250 reply=OK",
        '"data":"NOOP","code":250,"reply":"OK"',
    ),
    (
        Command("", "500 Command unrecognized: ", eol_lf=True),
        'data="" code=500 reply="Command unrecognized: " eol=lf',
        '"data":"","code":500,"reply":"Command unrecognized: ","eol":"lf"',
    ),
    (
        Command("a=b", "421 x", eol_lf=True, pregreet=True, pipelined=True, truncated_bytes=9),
        'data="a=b" code=421 reply=x eol=lf pregreet=true pipelined=true truncated_bytes=9',
        '"data":"a=b","code":421,"reply":"x","eol":"lf","pregreet":true,"pipelined":true,"truncated_bytes":9',
    ),
    (
        Command("EHLO x", "250 Hi", pipelined=True, more_lines=5),
        'data="EHLO x" code=250 reply=Hi pipelined=true more_lines=5',
        '"data":"EHLO x","code":250,"reply":"Hi","pipelined":true,"more_lines":5',
    ),
    (
        command(b'"\\\n\xff', b"250 \xff"),
        r'data="\x22\\\x0a\xff" code=250 reply=\xff',
        r'"data":"\"\\\\\\x0a\\xff","code":250,"reply":"\\xff"',
    ),
    (Message(0), "bytes=0", '"bytes":0'),
    (
        Handshake("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        "version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384",
        '"version":"TLSv1.3","cipher":"TLS_AES_256_GCM_SHA384"',
    ),
    (Handshake(failure="NO_SHARED_CIPHER"), "failure=NO_SHARED_CIPHER", '"failure":"NO_SHARED_CIPHER"'),
    (
        Closed("quit", 1, 2, 3, 0, 6),
        "reason=quit duration_ms=1 received_bytes=2 sent_bytes=3 commands=0 mails_refused=6",
        '"reason":"quit","duration_ms":1,"received_bytes":2,"sent_bytes":3,"commands":0,"mails_refused":6',
    ),
    (
        Closed("errors", 1, 2, 3, 4, not_logged=5),
        "reason=errors duration_ms=1 received_bytes=2 sent_bytes=3 commands=4 mails_refused=0 not_logged=5",
        '"reason":"errors","duration_ms":1,"received_bytes":2,"sent_bytes":3,"commands":4,"mails_refused":0,"not_logged":5',
    ),
    (TurnedAway("client", 12), "reason=client count=12", '"reason":"client","count":12'),
    (Error("disk full"), 'message="disk full"', '"message":"disk full"'),
    (Error('no "a" \\\\ b', 7), r'message="no \x22a\x22 \\ b" lost=7', r'"message":"no \"a\" \\\\ b","lost":7'),
    (Online("start"), "by=start", '"by":"start"'),
    (Offline("monitor 127.0.0.1"), 'by="monitor 127.0.0.1"', '"by":"monitor 127.0.0.1"'),
    (SettingsChanged("greeting,reject_at", ""), 'keys=greeting,reject_at by=""', '"keys":"greeting,reject_at","by":""'),
    (
        SettingsChanged("refusal", "SIGHUP", 'refusal: "" -> "no"'),
        r'keys=refusal by=SIGHUP changes="refusal: \x22\x22 -> \x22no\x22"',
        r'"keys":"refusal","by":"SIGHUP","changes":"refusal: \"\" -> \"no\""',
    ),
    (
        Block("blocked", "198.51.100.0/24", "always", "not you"),
        'action=blocked network=198.51.100.0/24 until=always reason="not you"',
        '"action":"blocked","network":"198.51.100.0/24","until":"always","reason":"not you"',
    ),
    (Monitor("login", "cookie"), "action=login user=cookie", '"action":"login","user":"cookie"'),
]


def test_examples_have_every_kind_of_event() -> None:
    assert {type(event) for event, _, _ in KINDS} == set(NAMES)


@pytest.mark.parametrize(("event", "text", "json_text"), KINDS)
def test_event_of_a_session_is_rendered(event: Event, text: str, json_text: str) -> None:
    name = NAMES[type(event)]
    assert as_text(stamped(event)) == f"{TIME} {name} slot=3 session=7 ip=2001:db8::1 port=50000 {text}\n"
    place = '"slot":3,"session":7,"ip":"2001:db8::1","port":50000'
    assert as_json(stamped(event)) == f'{{"time":"{TIME}","event":"{name}",{place},{json_text}}}\n'


@pytest.mark.parametrize(("event", "text", "json_text"), [kind for kind in KINDS if isinstance(kind[0], OF_NO_SESSION)])
def test_event_without_a_session_is_rendered(event: Event, text: str, json_text: str) -> None:
    name = NAMES[type(event)]
    assert as_text(stamped(event, OUTSIDE)) == f"{TIME} {name} {text}\n"
    assert as_json(stamped(event, OUTSIDE)) == f'{{"time":"{TIME}","event":"{name}",{json_text}}}\n'


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize("place", [IN_SESSION, OUTSIDE, (0, 0, "192.0.2.1", 0)])
@pytest.mark.parametrize("event", [event for event, _, _ in KINDS])
def test_rendered_record_is_parsed(render: Render, place: tuple[int, int, str, int], event: Event) -> None:
    line = render(stamped(event, place))
    assert parse(line) == parse(line.removesuffix("\n")) == stamped(event, place)


@pytest.mark.parametrize("render", RENDERERS)
def test_multiline_reply_keeps_code_and_text(render: Render) -> None:
    event = parse(render(stamped(Command("EHLO x", "250-Hello x")))).event
    assert isinstance(event, Command)
    assert (event.reply[:3], event.reply[4:]) == ("250", "Hello x")


@pytest.mark.parametrize("render", RENDERERS)
def test_seq_is_not_logged(render: Render) -> None:
    assert render(stamped(Message(1))._replace(seq=9120)) == render(stamped(Message(1)))


def by_fields(record: Stamped) -> str:
    """Render a record field by field, without the code under test."""
    line = f"{record.time} {NAMES[type(record.event)]}"
    for name, value in fields(record):
        text = "true" if value is True else str(value).replace('"', r"\x22")
        quoted = isinstance(value, str) and (not value or re.search('[ ="]', value))
        line += f' {name}="{text}"' if quoted else f" {name}={text}"
    return line + "\n"


@pytest.mark.parametrize("data", [*(bytes([byte]) for byte in range(256)), b"", b"a b", b'"="', b"MAIL FROM:<a@b>"])
def test_fast_rendering_of_commands_equals_the_general_one(data: bytes) -> None:
    for event in (command(data, b"250 OK"), command(b"NOOP", b"250 " + data)):
        record = stamped(event)
        assert as_text(record) == by_fields(record)
        assert parse(as_text(record)) == record


@pytest.mark.parametrize("event", [event for event, _, _ in KINDS])
def test_fast_rendering_equals_the_general_one(event: Event) -> None:
    assert as_text(stamped(event)) == by_fields(stamped(event))


@pytest.mark.parametrize("text", ["\n", "\x1b[2J", "\x7f", "\x9b31m", "\u2028", "\u00e4", "\ud800"])
def test_rendered_record_has_no_terminal_escapes(text: str) -> None:
    hostile: list[dict[str, object]] = [
        {"time": TIME, "event": "error", "message": text},
        {"time": TIME, "event": f"error{text}"},
        {"time": TIME + text, "event": "error"},
        {"time": TIME, "event": "error", f"a{text}": 1},
        {"time": TIME, "event": "error", "message": [text]},
    ]
    for record in hostile:
        assert re.fullmatch(r"[ -~]+\n", render_record(record))


def test_batch_is_rendered_in_order() -> None:
    batch = [stamped(event) for event, _, _ in KINDS]
    assert render_text(batch) == [as_text(record) for record in batch]
    assert render_json(batch) == [as_json(record) for record in batch]
    assert render_text([]) == render_json([]) == []


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)),
        f'x\n{TIME} online by="peer"'.encode(),
        f"x\r\n{TIME} closed reason=quit".encode(),
        b'" code=250 reply="x',
        b'a" slot=9 b="',
        b'x="y"',
        b"\\",
        b"\\\\",
        b'\\"',
        rb"\x22",
        rb"\\x22 ",
        rb' \x22"',
        rb"\x0a\n",
        b"\xe2\x80\xa8\xc2\x85\x0b\x0c\x1c\x1d\x1e",
        b'"},{"event":"online","by":"x"}',
        rb"\u000a",
        b"\x1b[2J\x9b31m",
        b"",
        b" ",
        b"=",
    ],
)
def test_data_of_a_caller_cannot_forge_a_line(render: Render, data: bytes) -> None:
    record = stamped(command(data, b"500 " + data))
    line = render(record)
    assert re.fullmatch(r"[ -~]+\n", line)
    assert line.splitlines() == [line[:-1]]
    assert parse(line) == record


def test_json_line_has_no_duplicate_key() -> None:
    pairs = json.loads(as_json(stamped(Command("x", "250 OK", pipelined=True))), object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert names == ["time", "event", "slot", "session", "ip", "port", "data", "code", "reply", "pipelined"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "x",
        TIME,
        f"{TIME} ",
        f"{TIME} nothing",
        f"{TIME} monitors by=x",
        f"{TIME[:-1]} online by=x",
        f"x{TIME} online by=x",
        f"{TIME} online",
        f"{TIME} online by",
        f'{TIME} online by="x',
        f'{TIME} online by=x"y"',
        f"{TIME} online by=x=y",
        f"{TIME} online  by=x",
        f"{TIME} online by=x nonsense",
        f"{TIME} Online by=x",
        f"{TIME} connected local_port=x",
        f"{TIME} connected slot=x local_port=25",
        f"{TIME} command data=x code=250",
        f"{TIME} command data=x reply=y",
        f"{TIME} command code=250 reply=y",
        f"{TIME} command data=\u20ac code=250 reply=y",
        f"{TIME} command data=x code=250 reply=y truncated_bytes=z",
        f"{TIME} closed reason=quit duration_ms=1 received_bytes=2 sent_bytes=3",
        "{",
        "{}",
        '{"time"',
        f'{{"time":"{TIME}","event":"online"}}',
        f'{{"time":"{TIME}","event":"online","by":"x"}} x',
        f'{{"time":"{TIME}","event":"connected","local_port":null}}',
        f'{{"time":"{TIME}","event":"connected","slot":[],"local_port":25}}',
        f'{{"time":"{TIME}","event":["online"],"by":"x"}}',
        '{"event":"online","by":"x"}',
        '{"time":1,"event":"online","by":"x"}',
    ],
)
def test_invalid_line_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(line)


def _is_a_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def test_only_times_that_exist_are_times() -> None:
    years = (0, 1, 4, 100, 400, 1900, 1996, 2000, 2023, 2024, 2026, 2096, 2100, 2400, 9996, 9999)
    days = [
        f"{year:04}-{month:02}-{day:02}T12:00:00.000Z" for year in years for month in range(14) for day in range(34)
    ]
    hours = [f"2026-11-24T{hour:02}:00:00.000Z" for hour in range(100)]
    minutes = [f"2026-11-24T12:{minute:02}:{second:02}.000Z" for minute in range(100) for second in (0, 59, 60, 99)]
    for text in (*days, *hours, *minutes):
        # Python 3.13 takes 24:00:00 for the next midnight.
        is_time = _is_a_time(text) and "T24" not in text
        assert (re.fullmatch(TIMES, text) is not None) is is_time, text


@pytest.mark.parametrize(
    "line",
    [
        f"{TIME} online by=x more=y slots=",
        f"{TIME} online more=1 by=x seq=0 server=mx1",
        f'{{"time":"{TIME}","event":"online","by":"x","more":[{{}}],"server":"mx1"}}',
    ],
)
def test_unknown_fields_are_ignored(line: str) -> None:
    assert parse(line) == Stamped(0, TIME, *OUTSIDE, Online("x"))


@pytest.mark.parametrize(
    ("line", "current"),
    [
        (
            f"{TIME} refused ip=192.0.2.1 reason=client count=3",
            f"{TIME} turned_away ip=192.0.2.1 reason=client count=3",
        ),
        (f"{TIME} message octets=7", f"{TIME} message bytes=7"),
        (
            f"{TIME} command data=x code=250 reply=OK eol=lf truncated_octets=9",
            f"{TIME} command data=x code=250 reply=OK eol=lf truncated_bytes=9",
        ),
        (
            f"{TIME} closed reason=quit duration_ms=1 received_octets=2 sent_octets=3 commands=4 left_out=5",
            f"{TIME} closed reason=quit duration_ms=1 received_bytes=2 sent_bytes=3 commands=4 mails_refused=0"
            " not_logged=5",
        ),
    ],
)
def test_old_names_become_current_names(line: str, current: str) -> None:
    assert as_text(parse(line)) == current + "\n"
    time, event, *pairs = line.split(" ")
    old = {"time": time, "event": event, **dict(pair.split("=") for pair in pairs)}
    assert parse(json.dumps(old)) == parse(line)
    assert render_record(with_current_names(old)) == current.replace(" mails_refused=0", "") + "\n"


def test_record_with_current_names_is_not_copied() -> None:
    record = {"time": TIME, "event": "online", "by": "x"}
    assert with_current_names(record) is record


def test_server_name_is_the_last_field_of_every_record() -> None:
    for event, text, members in KINDS:
        (line,) = render_text([stamped(event)], "mx-1.a_B")
        assert line.endswith(f" {text} server=mx-1.a_B\n")
        assert parse(line) == stamped(event)
        (line,) = render_json([stamped(event)], "mx-1.a_B")
        assert line.endswith(f',{members},"server":"mx-1.a_B"}}\n')
        assert parse(line) == stamped(event)


def test_deep_nesting_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"."):
        parse('{"time":' + "[" * 100_000)


@pytest.mark.parametrize("render", RENDERERS)
def test_truncated_line_is_a_value_error(render: Render) -> None:
    line = render(stamped(Closed("quit", 1, 2, 3, 4)))
    least = line.index("commands=") if render is as_text else len(line) - 2
    for end in range(least):
        with pytest.raises(ValueError, match=r"."):
            parse(line[:end])
