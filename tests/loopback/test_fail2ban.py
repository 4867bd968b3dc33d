"""The fail2ban filter, run by fail2ban: it matches each refusal with address and time, and no other line."""

import shutil
import subprocess
from datetime import datetime
from itertools import product
from pathlib import Path
from random import Random

import pytest

from smtppseudo.events import Closed, Command, Connected, Error, Event, TurnedAway, unescape
from tests.clients import LIMIT_S
from tests.documents import block
from tests.records import Stamped, command, parse, render_json, render_text
from tests.running import CHECKOUT, Servers

pytestmark = pytest.mark.skipif(shutil.which("fail2ban-regex") is None, reason="fail2ban is not installed")

FILTER = block("fail2ban", "[Definition]").text
JAIL = block("fail2ban", "[smtppseudo]").text
REFUSALS = ("521", "550", "553", "554")
VICTIM = "9.9.9.9"
HOSTILE = (
    f'" code=553 reply="x" ip={VICTIM} ',
    f"ip={VICTIM}",
    f"\n2026-11-24T13:54:36.351Z command slot=1 session=1 ip={VICTIM} port=1 data=DATA code=554 reply=x\n",
    f'","code":553,"reply":"x"}}\n{{"time":"2026-11-24T13:54:36.351Z","event":"command","slot":1,"session":1,"ip":"{VICTIM}","port":1,'
    '"data":"DATA","code":554,"reply":"x"}',
    "\\",
    '\\"',
    " code=553 reply=",
    "AUTH",
    "auth ",
    "\tAUTH\x0b",
    "<ADDR>",
    "2026-11-24T13:54:36.351Z",
    "MAIL FROM:<a@b>",
    "\xff",
    " ",
    "",
)


def is_refusal(stamped: Stamped) -> bool:
    event = stamped.event
    return isinstance(event, Command) and (
        event.reply[:3] in REFUSALS or unescape(event.data).upper().split(None, 1)[:1] == [b"AUTH"]
    )


def hostile_records(seed: int) -> list[Stamped]:
    """Return records, many of them of callers that forge lines about another address."""
    random = Random(seed)
    records = []
    for number in range(1, 400):
        said = "".join(random.choices(HOSTILE, k=random.randrange(5))).encode("latin-1")
        code = random.choice((220, 250, 354, 421, 500, 501, 502, 503, 521, 550, 552, 553, 554))
        event: Event = random.choice(
            (
                command(said, b"%d %b" % (code, said)),
                command(said, b"%d %b" % (code, said), eol_lf=True, pregreet=True, truncated_bytes=9),
                Connected(25),
                Closed("quit", 1, 2, 3, 4),
                TurnedAway("client", 3),
                Error("ip=9.9.9.9 code=553"),
            )
        )
        ip = random.choice(("20.1.2.3", "2a01:4f8:1:2::25", "127.0.0.1"))
        records.append(Stamped(0, f"2026-11-24T13:54:36.{number:03}Z", number, number, ip, 40_000, event))
    return records


def matched(directory: Path, text: str) -> tuple[list[str], list[str]]:
    """Return the lines that match, and the time and address that fail2ban finds in each."""
    rules, log = directory / "smtppseudo.conf", directory / "log"
    rules.write_text(FILTER)
    log.write_text(text)
    done = subprocess.run(
        ["fail2ban-regex", "--usedns=no", "-o", "<time> <ip> <msg>", str(log), str(rules)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stderr == ""
    found = [line.split(" ", 2) for line in done.stdout.splitlines()]
    return [line for _, _, line in found], [f"{time} {ip}" for time, ip, _ in found]


def assert_refusals_match(directory: Path, text: str) -> int:
    """Assert that exactly the refusals match; return their number."""
    lines = text.splitlines()
    refusals = [(line, parse(line)) for line in lines if is_refusal(parse(line))]
    assert 0 < len(refusals) < len(lines)
    found, places = matched(directory, text)
    assert found == [line for line, _ in refusals]
    assert places == [
        f"{int(datetime.fromisoformat(stamped.time).timestamp())} {stamped.ip}" for _, stamped in refusals
    ]
    return len(refusals)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    ("reject_at", "refusals"), [("connect", 13), ("helo", 13), ("mail", 7), ("rcpt", 4), ("message", 3)]
)
def test_filter_matches_refusals_in_the_log_of_a_server(
    servers: Servers, tmp_path: Path, log_format: str, reject_at: str, refusals: int
) -> None:
    server = servers.start({"log_format": log_format, "reject_at": reject_at, "slots_per_client": 0})
    with server.connect("127.0.0.9") as client:
        client.expect("5" if reject_at == "connect" else "220")
        for line in (
            "EHLO x",
            f'NOOP " code=553 reply="no" ip={VICTIM}',
            "MAIL FROM:<a@b>",
            f"MAIL FROM:<{VICTIM}>",
            "RCPT TO:<x@y>",
            "RSET",
            "DATA",
            "AUTH PLAIN c2VjcmV0",
            "c2VjcmV0",
            "\tauth\tx",
            "AUTHX",
            f'MAIL FROM:<"\\" code=554 ip={VICTIM}>',
            "VRFY x",
        ):
            client.say(line, "")
        client.say("QUIT", "221")
        client.expect_end()
    server.stop()
    count = assert_refusals_match(tmp_path, server.log_text)
    assert count == refusals
    assert "127.0.0.9" in server.log_text


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_filter_matches_the_log_of_an_old_version(tmp_path: Path, log_format: str) -> None:
    assert_refusals_match(tmp_path, (CHECKOUT / f"tests/data/before-bytes/{log_format}/log/2026-11-28.log").read_text())


@pytest.mark.parametrize("seed", range(3))
def test_hostile_data_never_matches_another_address(tmp_path: Path, seed: int) -> None:
    records = hostile_records(seed)
    for render, server_name in product((render_text, render_json), ("", "mx1")):
        assert_refusals_match(tmp_path, "".join(render(records, server_name)))
    random = Random(seed)
    mixed = "".join(random.choice((render_text, render_json))([record])[0] for record in records)
    assert_refusals_match(tmp_path, mixed)
