"""The screen in a real terminal."""

import re
import shlex
from pathlib import Path

import pytest

from tests.clients import wait_until
from tests.monitors import state_dir
from tests.running import Servers, command, environment, run
from tests.tmux import Tmux


def test_it_runs_in_a_terminal(tmux: Tmux, servers: Servers, tmp_path: Path) -> None:
    server = servers.start()
    env = environment(
        TERM="tmux-256color", COLORTERM="truecolor", LANG="C.UTF-8", XDG_CONFIG_HOME=str(tmp_path / "config")
    )
    with server.connect() as client:
        client.expect("220")
        client.say("HELO \x1b[2J\x1b]0;owned\x07\xe2\x80\xae[/x]", "250")
        tmux.start(command("monitor", "--state-dir", str(state_dir(server))), env)
        tmux.wait_for("● Online 1/25")
        tmux.press("Enter")
        text = tmux.wait_for("C HELO \\x1b[2J\\x1b]0;owned\\x07\\xe2\\x80\\xae[/x]")
        raw = tmux.text("-e")
        assert not re.search(r"[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e]", raw)
        assert "owned\x07" not in raw
        assert len(text.splitlines()) <= 24
        tmux.press("Escape")
        tmux.wait_for("State▲")
        tmux.press("?")
        tmux.wait_for("Help: What the keys do")
        tmux.press("Escape")
        tmux.wait_for("State▲")
        tmux.press("q")
    tmux.wait_for("ended with 0")
    assert not list((tmp_path / "config").glob("**/*"))


def test_without_a_server_the_screen_says_what_to_do(tmux: Tmux, tmp_path: Path) -> None:
    env = environment(TERM="tmux-256color", LANG="C.UTF-8", XDG_CONFIG_HOME=str(tmp_path / "config"))
    tmux.start(command("monitor", "--state-dir", str(tmp_path), "--monitor-port", "1"), env)
    tmux.wait_for("Cannot reach 127.0.0.1 port 1: Connection refused")
    tmux.press("t")
    kept = tmp_path / "config/smtppseudo/monitor.json"
    wait_until(kept.exists, "the file")
    assert oct(kept.stat().st_mode & 0o777) == "0o600"
    tmux.press("C-q")
    tmux.wait_for("ended with 0")


def test_without_a_terminal_it_ends_with_an_error() -> None:
    done = run("monitor")
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr


def in_shell(tmux: Tmux, tmp_path: Path, *words: str) -> None:
    """Run a command in a shell with job control; wait for its screen."""
    env = environment(TERM="tmux-256color", LANG="C.UTF-8", HOME=str(tmp_path), TMPDIR=str(tmp_path), PS1="$ ")
    tmux.start(["bash", "--norc", "--noprofile", "-i"], env)
    tmux.wait_for("$")
    tmux.press(shlex.join(command(*words)), "Enter")
    tmux.wait_for("Setup")


@pytest.mark.parametrize("words", [("demo",), ("monitor", "--monitor-port", "1")], ids=["demo", "monitor"])
def test_ctrl_z_suspends_it_and_fg_shows_it_again(tmux: Tmux, tmp_path: Path, words: tuple[str, ...]) -> None:
    in_shell(tmux, tmp_path, *words)
    tmux.press("C-z")
    tmux.wait_for("Stopped")
    tmux.press("clear; stty -a | grep -o ' icanon'", "Enter")
    tmux.wait_for("icanon")
    tmux.press("bg", "Enter")  # it needs the terminal: it is stopped again
    tmux.wait_for("&")
    tmux.press("fg", "Enter")
    tmux.wait_for("quit")
    assert "Setup" in tmux.text()
    tmux.press("s")
    tmux.wait_for("IP to monitor")
    tmux.press("C-z")  # in a dialog, too
    tmux.wait_for("Stopped")
    tmux.press("fg", "Enter")
    tmux.wait_for("IP to monitor")
    tmux.press("Escape")
    wait_until(lambda: "IP to monitor" not in tmux.text(), "the main screen")
    tmux.press("q")
    wait_until(lambda: "quit" not in tmux.text(), "the shell")
    tmux.press("echo ended with $?", "Enter")
    tmux.wait_for("ended with 0")


def test_ctrl_z_does_nothing_where_no_shell_could_continue_it(tmux: Tmux, tmp_path: Path) -> None:
    env = environment(TERM="tmux-256color", LANG="C.UTF-8", HOME=str(tmp_path))
    tmux.start(command("monitor", "--monitor-port", "1"), env)
    tmux.wait_for("Cannot reach")
    tmux.press("C-z")
    tmux.press("?")
    tmux.wait_for("Help: What the keys do")
    tmux.press("q", "q")
    tmux.wait_for("ended with 0")
