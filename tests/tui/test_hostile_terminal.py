"""The hostile corpus in a real terminal: what callers said, and reasons of blocks, as every command shows them."""

import re
import shlex
import socket
from pathlib import Path

import pytest

from smtppseudo.events import escape
from tests.hostile import CONTROL, HOSTILE, LAYOUT, data_of, require_harmless
from tests.loopback.test_proxies import header_of
from tests.monitors import state_dir
from tests.running import Running, Servers, command, environment
from tests.tmux import Tmux
from tests.unit.test_report_page import ATTRIBUTES, TAGS, Page

CALLER = "20.1.1.7"
SIZE = (200, 60)
# Control characters but LF, the escape sequences of the screen itself, which tmux adds, and what reorders text.
OBEYED = re.compile(
    r"[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\x1b[^[]"
)


def send(server: Running, text: str) -> None:
    """Say a text in every place of a session."""
    lines = [b"HELO %b", b"MAIL FROM:<%b@evil.invalid>", b"RCPT TO:<%b>", b"%b", b"QUIT", b""]
    with socket.create_connection(("127.0.0.1", server.port), 20) as sock:
        sock.sendall(header_of(CALLER) + b"\r\n".join(lines).replace(b"%b", data_of(text)))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4_096):
            pass


@pytest.mark.slow
def test_no_text_of_a_caller_or_a_reason_reaches_a_terminal(tmux: Tmux, servers: Servers, tmp_path: Path) -> None:
    server = servers.start({"proxies": ["127.0.0.1"]})
    for text in HOSTILE:
        send(server, text)
    place, logs, page = ["--state-dir", str(state_dir(server))], str(server.log_dir), tmp_path / "page.html"
    texts = [text.replace("\0", "")[:60] for text in LAYOUT + CONTROL]
    runs = [["block", f"21.0.0.{number}", f"--reason={text}", *place] for number, text in enumerate(texts)]
    runs += [["blocked", *place], ["blocked", "--json", *place], ["report", "--html", str(page), logs]]
    runs += [["report", "--by", "helo,sender,recipient,domain,verb", "--top", "999", logs]]
    runs += [["find", "--ip", CALLER, logs], ["find", "--ip", CALLER, "--json", logs]]
    runs += [["find", "--", text, logs] for text in texts if text]
    script = tmp_path / "script"
    lines = [*(shlex.join(command(*words)) for words in runs), "echo all done; read go"]
    lines.append(shlex.join(command("monitor", *place)))
    script.write_text("\n".join(lines), errors="surrogateescape")
    env = environment(TERM="tmux-256color", LANG="C.UTF-8", PAGER="cat", XDG_CONFIG_HOME=str(tmp_path / "config"))
    tmux.start(["sh", "-c", f"sleep 1; sh {script}"], env, SIZE)
    title = tmux.run("display-message", "-p", "#{pane_title}")
    tmux.run("pipe-pane", "-o", f"cat > {tmp_path}/raw")
    tmux.wait_for("all done")
    raw = (tmp_path / "raw").read_bytes().decode("utf-8").replace("\r\n", "\n")  # all that the terminal got
    assert raw.count("\x1b[34m") > 20
    require_harmless(re.sub(r"\x1b\[(?:34|0)m", "", raw))
    assert not re.search("Traceback|too many|^2026-01-01T|^pwned", raw, re.MULTILINE)
    for text in CONTROL:
        assert raw.count(escape(data_of(text)[:8])) > 1
    found = Page(page.read_text())
    assert found.tags.keys() <= TAGS
    assert found.attributes <= ATTRIBUTES
    require_harmless(page.read_text())
    assert title == tmux.run("display-message", "-p", "#{pane_title}")
    for key, words in (("Enter", "● Online"), ("Enter", "Esc closes"), ("Escape", "following"), ("b", "─ Block ─")):
        tmux.press(key)
        tmux.wait_for(words)
        tmux.wait_for(r"\x")
        assert not OBEYED.search(tmux.text("-e"))
