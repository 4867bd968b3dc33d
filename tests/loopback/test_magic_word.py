"""`magic-word` and `--magic-file`: setting the magic word and giving it."""

import subprocess
from pathlib import Path

import pytest

from smtppseudo.events import Monitor
from tests.clients import LIMIT_S
from tests.loopback.commands import Terminal, ask, elsewhere, outcome, write_word
from tests.monitors import monitor_port, state_dir
from tests.running import Running, Servers, command, environment, not_on_windows, run


@pytest.fixture
def server(servers: Servers) -> Running:
    return servers.start()


def test_a_generated_magic_word_logs_in(server: Running, tmp_path: Path) -> None:
    status = elsewhere(tmp_path, server, "status")
    first = ask(server, "magic-word", "--generate").strip()
    assert len(first) >= 20
    outcome(run(*status, "--magic-file", write_word(tmp_path, first)), 0)
    second = ask(server, "magic-word", "--generate").strip()
    assert second != first
    outcome(run(*status, "--magic-file", write_word(tmp_path, second)), 0)
    line = outcome(run(*status, "--magic-file", write_word(tmp_path, first)), 77)
    assert "Not Authorized!" in line
    assert first not in line
    for word in (first, second):
        assert word not in server.log_text
        assert all(word not in path.read_text() for path in state_dir(server).iterdir())
    assert server.wait_for_event(Monitor, action="not_authorized").event == Monitor("not_authorized", "magic")


def test_a_magic_word_from_standard_input(server: Running, tmp_path: Path) -> None:
    words = command("magic-word", "--stdin", "--state-dir", str(state_dir(server)))
    for text, status in (("  a word with spaces \nmore\n", 0), ("short\n", 78), ("x" * 129, 78), ("", 78)):
        done = subprocess.run(
            words, env=environment(), input=text, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert ("the magic word is set" in outcome(done, status)) is (status == 0)
    path = write_word(tmp_path, "  a word with spaces ")
    outcome(run(*elsewhere(tmp_path, server, "status", "--magic-file", path)), 0)


def test_a_typed_magic_word_logs_in(server: Running, tmp_path: Path) -> None:
    with Terminal("magic-word", "--state-dir", str(state_dir(server))) as terminal:
        terminal.type_at("New magic word: ", "the magic word")
        terminal.type_at("The same again: ", "the magic word")
        status, shown = terminal.end()
        assert (status, "the magic word is set" in shown) == (0, True)
        assert "the magic word\r\nThe same" not in shown  # no echo
    with Terminal(*elsewhere(tmp_path, server, "status")) as terminal:
        terminal.type_at(f"Magic word of 127.0.0.1 port {monitor_port(server)}: ", "the magic word")
        status, shown = terminal.end()
        assert (status, "online, up" in shown) == (0, True)
        assert "the magic word" not in shown


def test_mistyped_magic_words_are_refused(server: Running, tmp_path: Path) -> None:
    with Terminal("magic-word", "--state-dir", str(state_dir(server))) as terminal:
        terminal.type_at("New magic word: ", "the magic word")
        terminal.type_at("The same again: ", "the tragic word")
        status, shown = terminal.end()
        assert (status, "the two typed words differ" in shown) == (1, True)
    with Terminal(*elsewhere(tmp_path, server, "status")) as terminal:
        terminal.type_at(": ", "the magic word")  # none was set
        status, shown = terminal.end()
        assert (status, "Not Authorized!" in shown) == (77, True)
        assert shown.count("Magic word of") == 1
    with Terminal(*elsewhere(tmp_path, server, "status")) as terminal:
        terminal.type_at(": ", "short")
        status, shown = terminal.end()
        assert (status, "8 to 128" in shown) == (77, True)
    assert len(server.events(Monitor)) == 3  # in, out, and one wrong word


def test_without_a_terminal_the_error_names_the_option(server: Running, tmp_path: Path) -> None:
    for words in (["status"], ["watch"], ["stop"], ["magic-word", "--generate"]):
        line = outcome(run(*elsewhere(tmp_path, server, *words)), 77)
        assert "--magic-file FILE" in line
        assert str(tmp_path / "none" / "cookie") in line
    assert "--generate" in ask(server, "magic-word", status=2)


@not_on_windows("file modes mean nothing there")
def test_a_magic_file_that_all_can_read_is_refused(server: Running, tmp_path: Path) -> None:
    path = Path(write_word(tmp_path, "the magic word"))
    path.chmod(0o644)
    for words in (["status"], ["magic-word", "--generate"]):
        line = outcome(run(*elsewhere(tmp_path, server, *words, "--magic-file", str(path))), 77)
        assert f"`chmod o= {path}`" in line
