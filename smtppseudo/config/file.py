"""The settings file: read into checked values, and written with every key at its default."""

import re
from typing import Any

from smtppseudo.config.settings import KEYS, Settings, SettingsError, check


def parse_file(text: str, place: str) -> dict[str, Any]:
    """Read a settings file's text into checked values. `place` names it in errors (SettingsError)."""
    import tomllib  # noqa: PLC0415 - 7 ms of start-up for those who have a file

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{place}: not valid TOML: {error}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, arrays nested as deep
        raise SettingsError(f"{place}: not valid TOML: something in it is beyond all bounds") from None
    values: dict[str, Any] = {}
    for name, value in table.items():
        try:
            values[name] = check(name, value)
        except SettingsError as error:
            line = _line_of(name, text)
            raise SettingsError(f"{place}{f', line {line}' if line else ''}: {error}") from None
    return values


def _line_of(name: str, text: str) -> int | None:
    pattern = re.compile(rf"""\s*(\[\s*)?["']?{re.escape(name)}["']?\s*[=.\]]""")
    return next((number for number, line in enumerate(text.split("\n"), 1) if pattern.match(line)), None)


def to_toml(value: object) -> str:
    """Render a setting's value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, str):
        # A TOML basic string escapes only these; everything else we hold is printable ASCII.
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def default_file() -> str:
    """Return a commented settings file that sets nothing: every key at its default, commented out."""
    lines = ["# smtppseudo.toml: every setting with its default. Take the # away from what you change."]
    defaults = Settings()
    for key in KEYS.values():
        lines += ["", f"# {key.help}", f"# {key.name} = {to_toml(getattr(defaults, key.name))}"]
    return "\n".join(lines) + "\n"
