"""What the screen keeps for its next start."""

import json

import pytest

from smtppseudo.link.route import Target
from smtppseudo.tui.memory import MEMORY_FILE, Memory, targets_for
from tests.tui.scene import FakeStore

HERE = (None, None)


def test_memory_is_loaded_as_it_was_saved() -> None:
    store = FakeStore()
    memory = Memory(store)
    memory.theme = "t"
    memory.servers = [Target("192.0.2.1", 2_626, tls="off"), Target("mx2")]
    memory.keep_word(Target("192.0.2.1", 2_626, "open sesame"), is_kept=True)
    memory.save()
    memory = Memory(store)
    assert memory.theme == "t"
    assert memory.word_of(Target("192.0.2.1", 2_626)) == "open sesame"
    assert "sesame" not in repr(memory)
    both = [Target("192.0.2.1", 2_626, "open sesame", "off"), Target("mx2", None, None, "auto")]
    assert targets_for(memory, [HERE], None, "auto") == both
    assert targets_for(memory, [("localhost", None)], None, "auto") == [Target("localhost")]
    assert targets_for(memory, [("192.0.2.1", 2_626)], None, "auto") == [both[0]._replace(tls="auto")]
    assert targets_for(memory, [(None, 2_626)], "one word", "on") == [Target(None, 2_626, "one word", "on")]
    memory.keep_word(Target("192.0.2.1", 2_626, "open sesame"), is_kept=False)
    assert memory.words == {}


def test_without_a_memory_this_machine_is_shown() -> None:
    assert targets_for(Memory(FakeStore()), [HERE], None, "auto") == [Target()]


def test_a_server_keeps_its_place_in_the_list() -> None:
    memory = Memory(FakeStore())
    memory.servers = [Target("a"), Target("b")]
    memory.replace(Target("a"), Target("c"))
    assert memory.servers == [Target("c"), Target("b")]
    memory.replace(Target("other"), Target("d"))
    assert memory.servers == [Target("d")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"host": 4, "port": "x", "words": {"a 1": "short"}}',
        '{"servers": [4, {"host": ["x"]}, {"port": 26}]}',
        '{"servers": "x"}',
        "[" * 100_000,
    ],
)
def test_a_malformed_memory_is_ignored(text: str) -> None:
    store = FakeStore()
    store.files[MEMORY_FILE] = text
    memory = Memory(store)
    assert (memory.servers, memory.theme, memory.words) == ([], "", {})


def test_the_memory_is_a_json_file_and_an_older_one_is_read() -> None:
    store = FakeStore()
    store.files[MEMORY_FILE] = '{"host": "192.0.2.1", "port": 2626, "cleartext": true, "theme": "", "words": {}}'
    memory = Memory(store)
    memory.save()
    assert memory.servers == [Target("192.0.2.1", 2_626, tls="off")]
    assert json.loads(store.files[MEMORY_FILE])["servers"] == [{"host": "192.0.2.1", "port": 2626, "cleartext": True}]
