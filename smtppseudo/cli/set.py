"""`set` and `unset`: change settings of the running server, and undo that."""

import argparse
import json
import tomllib
from collections.abc import Iterable, Mapping

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line, say
from smtppseudo.cli.options import describe
from smtppseudo.config.file import to_toml
from smtppseudo.config.settings import SettingsError, check, current_name
from smtppseudo.link.link import MonitorLink


def add_set(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo set greeting='{hostname} ESMTP' idle_timeout_s=60 accept_mail=false")
    add_access(command)
    command.add_argument(
        "changes", nargs="+", metavar="KEY=VALUE", help="a setting and its value, as in TOML or a plain string"
    )


def add_unset(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo unset greeting")
    add_access(command)
    command.add_argument("keys", nargs="+", metavar="KEY", help="a setting that `set` or a monitor has changed")


def run(options: argparse.Namespace) -> None:
    """Change settings, or undo changes; print the values now in force."""
    fields: dict[str, Iterable[str]]
    if options.command == "set":
        fields = {"changes": read_changes(options.changes)}
    else:
        fields = {"keys": [current_name(key, (), say) for key in options.keys]}
    with logged_in(options, bad_value=exits.BAD_SETTINGS) as link:
        try:
            link.request(options.command, **fields)
        except ValueError as error:  # too long
            raise exits.CommandError(f"{options.command}: {error}", exits.USAGE) from None
        for keys in fields.values():
            print_settings(link, keys)


def print_settings(link: MonitorLink, keys: Iterable[str] = ()) -> None:
    """Print settings of the running server, by default all, with the layer of each."""
    got = link.request("get")
    settings, origins = got.get("settings"), got.get("origins")
    if isinstance(settings, Mapping) and isinstance(origins, Mapping):
        for key in keys or settings:
            value = settings.get(key)
            print_line(f"{key} = {to_toml(tuple(value) if isinstance(value, list) else value)}  # {origins.get(key)}")


def read_changes(words: Iterable[str]) -> dict[str, object]:
    """Parse words such as `greeting=Welcome!` into keys and values. Raises CommandError."""
    changes: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.strip()
        if not key or not equals:
            raise exits.CommandError(f"{word!r} is not KEY=VALUE, as in greeting=Welcome!", exits.USAGE)
        key = current_name(key, (), say)
        if key in changes:
            raise exits.CommandError(f"{key} is given twice; give it once", exits.USAGE)
        changes[key] = read_value(key, value)
    return changes


def read_value(key: str, text: str) -> object:
    """Parse a value as TOML. It is a plain string if it is not TOML, or if the setting allows only a string."""
    try:
        table = tomllib.loads(f"value = {text}")
        json.dumps(table, allow_nan=False)  # raises for dates, infinity and NaN
    except (ValueError, TypeError):
        return text
    value = table.pop("value")
    if table:  # more than a value
        return text
    return text if _is_allowed(key, text) and not _is_allowed(key, value) else value


def _is_allowed(key: str, value: object) -> bool:
    try:
        check(key, value)
    except SettingsError:
        return False
    return True
