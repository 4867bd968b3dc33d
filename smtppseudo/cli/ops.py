"""`start`, `stop`, `set`, `unset`, `disconnect`: what the monitor does, for scripts."""

import argparse
from collections.abc import Iterable, Mapping
from typing import Final

from smtppseudo.cli import exits
from smtppseudo.cli.access import logged_in
from smtppseudo.config.file import to_toml
from smtppseudo.config.settings import SettingsError, check
from smtppseudo.link.link import MonitorLink, OpRefusedError


def run(options: argparse.Namespace) -> int:
    """Have the op carried out and say what came of it."""
    if options.op == "set":
        options.changes = read_changes(options.changes)
    with logged_in(options) as link:
        try:
            _OPS[options.op](link, options)
        except OpRefusedError as error:
            if error.code == "bad_value" and options.op in ("set", "unset"):
                raise exits.CommandError(str(error), exits.BAD_SETTINGS) from None
            raise
        except ValueError as error:
            raise exits.CommandError(f"{options.op}: {error}", exits.USAGE) from None
    return exits.GOOD


def read_changes(words: Iterable[str]) -> dict[str, object]:
    """Read words such as `greeting=Welcome!` into keys and values. Raises CommandError."""
    changes: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.strip()
        if not key or not equals:
            raise exits.CommandError(f"{word!r} is not KEY=VALUE, as in greeting=Welcome!", exits.USAGE)
        if key in changes:
            raise exits.CommandError(f"{key} is given twice; give it once", exits.USAGE)
        changes[key] = read_value(key, value)
    return changes


def read_value(key: str, text: str) -> object:
    """Read a value as TOML, or as a plain string where it is none, or where only a string is allowed."""
    import json
    import tomllib

    try:
        table = tomllib.loads(f"value = {text}")
        json.dumps(table, allow_nan=False)  # raises for dates, and for what is infinite or no number
    except (ValueError, TypeError):
        return text
    value = table.pop("value")
    if table:  # more than a value
        return text
    return text if _allows(key, text) and not _allows(key, value) else value


def _allows(key: str, value: object) -> bool:
    try:
        check(key, value)
    except SettingsError:
        return False
    return True


def _switch(link: MonitorLink, options: argparse.Namespace) -> None:
    print(f"{link.place}: {link.request(options.op)['state']}")


def _set(link: MonitorLink, options: argparse.Namespace) -> None:
    link.request("set", changes=options.changes)
    _show(link, options.changes)


def _unset(link: MonitorLink, options: argparse.Namespace) -> None:
    link.request("unset", keys=options.keys)
    _show(link, options.keys)


def _show(link: MonitorLink, keys: Iterable[str]) -> None:
    got = link.request("get")
    settings, origins = got.get("settings"), got.get("origins")
    if isinstance(settings, Mapping) and isinstance(origins, Mapping):
        for key in keys:
            value = settings.get(key)
            print(f"{key} = {to_toml(tuple(value) if isinstance(value, list) else value)}  # {origins.get(key)}")


def _disconnect(link: MonitorLink, options: argparse.Namespace) -> None:
    link.request("disconnect", slot=options.slot)
    print(f"slot {options.slot}: the session is ended")


_OPS: Final = {"start": _switch, "stop": _switch, "set": _set, "unset": _unset, "disconnect": _disconnect}
