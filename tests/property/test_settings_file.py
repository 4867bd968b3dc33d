"""The settings file, for any text: settings, or one error that names the place; rendering and parsing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtppseudo.config.file import default_file, parse_file, to_toml
from smtppseudo.config.settings import KEYS, STAGES, SettingsError, check
from tests.fuzz import targets

printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
scalars = (
    st.integers(-5, 1 << 51)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.sampled_from([*STAGES, "text", "json", "/var/log", "mx.example.org", "::1", "10.0.0.0/8", "SIZE 30"])
    | printable
    | st.text(max_size=9).map("/{}".format)
)
values = scalars | st.lists(scalars, max_size=4).map(tuple)
names = st.sampled_from(list(KEYS))
tables = st.dictionaries(names, values, max_size=6)


def taken(name: str, value: Any) -> bool:
    try:
        check(name, value)
    except SettingsError:
        return False
    return True


@settings(max_examples=200)
@given(tables)
def test_allowed_values_survive_rendering_and_parsing(table: dict[str, Any]) -> None:
    allowed = {name: check(name, as_read(value)) for name, value in table.items() if taken(name, as_read(value))}
    text = "".join(f"{name} = {to_toml(value)}\n" for name, value in allowed.items())
    assert parse_file(text, "x.toml", pytest.fail) == allowed


def as_read(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@settings(max_examples=200)
@given(tables, st.integers(0, 5_000), st.text(max_size=3) | st.sampled_from(['"', "[", "]\n", "= ", "\n", "'''"]))
def test_any_text_is_settings_or_one_error(table: dict[str, Any], at: int, more: str) -> None:
    text = "".join(f"{name} = {to_toml(value)}\n" for name, value in table.items())
    for whole in (text, default_file().replace("# ", "")):
        targets.settings((whole[:at] + more + whole[at:]).encode("utf-8", "replace"))
