"""What the screen keeps for its next start."""

import json

import pytest

from smtppseudo.link.route import Target
from smtppseudo.tui.memory import MEMORY_FILE, Memory, target_for
from tests.tui.scene import FakeStore


def test_memory_is_loaded_as_it_was_saved() -> None:
    store = FakeStore()
    Memory("192.0.2.1", 2_626, cleartext=True, theme="t").with_word("192.0.2.1", 2_626, "open sesame").save(store)
    memory = Memory.load(store)
    assert memory.word_of("192.0.2.1", 2_626) == "open sesame"
    assert "sesame" not in repr(memory)
    assert target_for(memory, None, None, None, "auto") == Target("192.0.2.1", 2_626, "open sesame", "off")
    assert target_for(memory, "localhost", None, None, "auto") == Target("localhost", None, None, "auto")
    assert memory.with_word("192.0.2.1", 2_626, None).words == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 4, "port": "x", "words": {"a 1": "short"}}', "[" * 100_000])
def test_a_malformed_memory_is_ignored(text: str) -> None:
    store = FakeStore()
    store.files[MEMORY_FILE] = text
    assert Memory.load(store) == Memory()


def test_the_memory_is_a_json_file() -> None:
    store = FakeStore()
    Memory("h", 1).save(store)
    assert json.loads(store.files[MEMORY_FILE])["host"] == "h"
