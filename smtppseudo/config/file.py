"""The settings file: parses it, and renders one with every key at its default."""

import re
from typing import Any, Final

from smtppseudo.config.settings import KEYS, Settings, SettingsError, Warn, check, current_name, warn_at


def parse_file(text: str, place: str, warn: Warn) -> dict[str, Any]:
    """Return the checked values of a settings file. `place` names it in warnings and errors (SettingsError)."""
    import tomllib  # noqa: PLC0415 - 7 ms of start-up, only with a file

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{place}: not valid TOML: {error}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or as many nested arrays
        raise SettingsError(f"{place}: not valid TOML: a number is too long, or arrays are nested too deep") from None
    values: dict[str, Any] = {}
    for given, value in table.items():
        line = _line_of(given, text)
        where = f"{place}, line {line}" if line else place
        try:
            name = current_name(given, table, warn_at(where, warn))
            values[name] = check(name, value)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None
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
        return '"' + _ESCAPED_IN_TOML.sub(_toml_escape, value) + '"'
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


# TOML has no escape for half a surrogate pair, which stands for a byte that is not UTF-8.
_ESCAPED_IN_TOML: Final = re.compile(r"[^ !#-[\]-~\ud800-\udfff]")


def _toml_escape(character: re.Match[str]) -> str:
    code = ord(character[0])
    return f"\\{character[0]}" if character[0] in '"\\' else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def default_file() -> str:
    """Return a commented settings file that sets nothing: every key at its default, commented out."""
    lines = ["# smtppseudo.toml: every setting with its default. To change a setting, remove its # and edit the value."]
    defaults = Settings()
    for name, key in KEYS.items():
        lines += ["", f"# {key.help}", f"# {name} = {to_toml(getattr(defaults, name))}"]
    return "\n".join(lines) + "\n"
