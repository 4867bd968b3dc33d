"""Block lists in the programs that read them: rbldnsd, nft and Postfix."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtppseudo.blocklist.formats import RENDERERS
from smtppseudo.blocklist.policy import Entry
from tests.clients import LIMIT_S, connect, wait_until
from tests.documents import block
from tests.loopback import postfix, rbldnsd
from tests.loopback.nft import needs_nft, run_with_nft
from tests.loopback.rbldnsd import PATH, Rbldnsd

LAST = 1_795_528_476  # 2026-11-24T13:54:36Z
ENTRIES = [Entry(source, LAST, LAST + 60) for source in ("9.9.9.9", "100.1.2.3", "2a01:4f8:1:2::/64")]


def render(name: str, entries: list[Entry]) -> str:
    return "".join(RENDERERS[name](entries, "mx.example.org"))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def zone() -> Iterator[Path]:
    """A zone file without entries."""
    if not rbldnsd.is_installed():
        pytest.skip("rbldnsd or dig is not installed")
    with rbldnsd.open_directory() as directory:
        path = directory / "zone"
        path.write_text(render("rbldnsd", []))
        yield path


@pytest.fixture
def server(zone: Path) -> Iterator[Rbldnsd]:
    with rbldnsd.serving(zone, free_port()) as server:
        yield server


def assert_test_entries(server: Rbldnsd) -> None:
    """Assert that the server has the test entries of RFC 5782 section 5."""
    for listed in ("127.0.0.2", "::ffff:7f00:2"):
        assert server.look_up(listed) == ["127.0.0.2"]
        assert server.look_up(listed, "TXT") == ['"127.0.0.2 called mx.example.org, which takes no mail; last: test"']
    for not_listed in ("127.0.0.1", "::ffff:7f00:1"):
        assert server.look_up(not_listed) == server.look_up(not_listed, "TXT") == []


def test_rbldnsd_serves_an_empty_list(server: Rbldnsd) -> None:
    assert_test_entries(server)
    assert server.look_up("9.9.9.9") == []
    assert server.ask("bl.test", "NS") == ["mx.example.org."]
    assert server.ask("bl.test", "SOA")[0].startswith("mx.example.org. hostmaster.mx.example.org. ")


def test_rbldnsd_reloads_a_new_list(zone: Path, server: Rbldnsd) -> None:
    aside = zone.with_name("new")
    aside.write_text(render("rbldnsd", ENTRIES))
    aside.replace(zone)
    wait_until(lambda: server.look_up("9.9.9.9"), "the new list")
    assert_test_entries(server)
    for ip in ("9.9.9.9", "100.1.2.3", "2a01:4f8:1:2::", "2a01:4f8:1:2:ffff:ffff:ffff:ffff"):
        assert server.look_up(ip) == ["127.0.0.2"]
        assert server.look_up(ip, "TXT") == [f'"{ip} called mx.example.org, which takes no mail; last: 2026-11-24"']
    for ip in ("9.9.9.8", "100.1.2.4", "2a01:4f8:1:3::", "2a01:4f8:1:1:ffff:ffff:ffff:ffff"):
        assert server.look_up(ip) == []


def test_rbldnsd_logs_no_warning(zone: Path) -> None:
    zone.write_text(render("rbldnsd", ENTRIES))
    server = Rbldnsd(zone, free_port())
    server.wait_until_loaded()
    said = server.stop()
    assert "ip4set:ipv4: e32/24/16/8=3/0/0/0" in said
    assert "ip6trie:ipv6: ents=2 " in said
    assert "warning" not in said
    assert "error" not in said


@needs_nft
def test_nft_replaces_the_sets_repeatedly(tmp_path: Path) -> None:
    """The test runs in its own network namespace, with a chain that uses the sets."""
    rules = tmp_path / "rules"
    rules.write_text(
        "add chain inet smtppseudo input { type filter hook input priority -10; }\n"
        "add rule inet smtppseudo input ip saddr @blocklist4 drop\n"
    )
    lists = {"empty": [], "one": ENTRIES[:1], "some": ENTRIES, "six": ENTRIES[2:]}
    for name, entries in lists.items():
        (tmp_path / name).write_text(render("nft", entries))
    script = (
        "nft -c -f empty && nft -c -f some && nft -f some && nft -f rules && nft list ruleset && echo AGAIN"
        " && nft -f six && nft list ruleset && nft -f empty && nft -f one && echo AGAIN && nft list ruleset"
    )
    printed = run_with_nft(script, tmp_path)
    first, second, third = printed.split("AGAIN")
    assert "elements = { 9.9.9.9, 100.1.2.3 }" in first
    assert "elements = { 2a01:4f8:1:2::/64 }" in first
    assert "9.9.9.9" not in second
    assert "2a01:4f8:1:2::/64" in second
    assert "elements = { 9.9.9.9 }" in third
    assert "2a01" not in third
    assert "ip saddr @blocklist4 drop" in third


@pytest.mark.skipif(shutil.which("postmap", path=PATH) is None, reason="postmap is not installed")
@pytest.mark.parametrize(("ip", "found"), [("9.9.9.9", "reject"), ("9.9.9.8", ""), ("2a01:4f8:1:2::25", "reject")])
def test_postfix_finds_the_plain_list_as_documented(tmp_path: Path, ip: str, found: str) -> None:
    table = tmp_path / "callers.cidr"
    table.write_text(render("plain", ENTRIES))
    subprocess.run(["sed", "-i", "s/$/ reject/", str(table)], check=True, timeout=LIMIT_S)
    (tmp_path / "main.cf").touch()
    done = subprocess.run(
        ["postmap", "-c", str(tmp_path), "-q", ip, f"cidr:{table}"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={"PATH": PATH},
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (found, "")


@pytest.mark.slow
@pytest.mark.skipif(postfix.missing() != "", reason=postfix.missing())
@pytest.mark.parametrize(
    ("setting", "refusal"),
    [("smtpd_client_restrictions", "Client host rejected"), ("postscreen_access_list", "550 5.3.2 ")],
)
def test_postfix_refuses_listed_callers_as_documented(setting: str, refusal: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # Postfix reads it as another user
        table = directory / "callers.cidr"
        table.write_text("127.0.0.9 reject\n")
        text = block("block-lists", setting).text.replace("/etc/postfix/callers.cidr", str(table))
        more = {**dict(line.split(" = ", 1) for line in text.splitlines()), "mynetworks": "127.0.0.1/32"}
        is_postscreen = setting.startswith("postscreen")
        with (
            postfix.running(9, {}, more=more, postscreen=is_postscreen) as server,
            connect("127.0.0.1", server.port, "127.0.0.9") as client,
        ):
            client.expect("220-" if is_postscreen else "220 ")
            client.say("HELO x", "2")
            client.say("MAIL FROM:<a@sender.test>", "2")
            assert refusal in client.say("RCPT TO:<b@c.test>", "55")


def test_rbldnsd_serves_blocked_networks(zone: Path) -> None:
    networks = ("20.1.0.0/20", "2a01:4f8:1:3::25", "2a02::/32")
    zone.write_text(render("rbldnsd", [Entry(network, LAST, LAST + 60) for network in networks]))
    with rbldnsd.serving(zone, free_port()) as server:
        for ip in ("20.1.15.255", "2a01:4f8:1:3::25", "2a02:0:1::"):
            assert server.look_up(ip) == ["127.0.0.2"]
        for ip in ("20.1.16.0", "2a01:4f8:1:3::26", "2a03::"):
            assert server.look_up(ip) == []
