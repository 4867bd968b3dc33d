"""Magic word and cookie are in no file (but the cookie's own), in no log, and never sent."""

import base64
from pathlib import Path

from tests.monitors import Monitors, cookie_of, word_fields
from tests.running import Servers, not_on_windows

CANARY = "Canary-7f3a9c51"


def forms(secret: str) -> list[bytes]:
    """Return the forms in which a secret might leak."""
    data = secret.encode()
    encoded = [data.hex().encode(), base64.b64encode(data).rstrip(b"="), data[::-1]]
    return [data, data.upper(), data.lower(), *encoded]


@not_on_windows("reads /proc")
def test_the_secrets_appear_nowhere(servers: Servers, monitors: Monitors) -> None:
    server = servers.start(None, "-v")
    setter = monitors.log_in(server)
    setter.ok("magic_word", **word_fields(CANARY))
    peer = monitors.greeted(server).log_in("magic", CANARY)
    wrong = monitors.greeted(server)
    assert wrong.try_login("magic", CANARY[:-1])["error"] == "not_authorized"
    peer.ok("subscribe", from_seq=0)
    peer.ok("set", changes={"greeting": "Salve"})
    peer.events_until(event="settings")
    seen = {
        "arguments": Path(f"/proc/{server.pid}/cmdline").read_bytes(),
        "environment": Path(f"/proc/{server.pid}/environ").read_bytes(),
        **{f"what peer {each.port} sent and received": bytes(each.wire) for each in (setter, peer, wrong)},
    }
    cookie = cookie_of(server)
    server.stop()
    files = [path for path in server.directory.rglob("*") if path.is_file()]
    seen |= {str(path.name): path.read_bytes() for path in files}
    assert {"credentials", "settings.json", "stdout", "stderr"} <= set(seen)
    assert any(name.endswith(".log") for name in seen)
    for name, data in seen.items():
        assert not any(form in data for form in forms(CANARY) + forms(cookie)), name
    assert b"Salve" in peer.wire  # the test does find secrets
    assert sum(b"magic" in data for data in seen.values()) >= 4
