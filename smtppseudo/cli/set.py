"""`set`: changes settings of the running server."""

import argparse
import contextlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from smtppseudo.cli import exits
from smtppseudo.cli.access import add_access, logged_in
from smtppseudo.cli.messages import print_line, say
from smtppseudo.cli.options import describe
from smtppseudo.config.file import to_toml
from smtppseudo.config.settings import SettingsError, check, current_name
from smtppseudo.link.errors import OpRefusedError
from smtppseudo.link.link import MonitorLink


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, "smtppseudo set greeting='{hostname} ESMTP' idle_timeout_s=60 accept_mail=false")
    add_access(command)
    command.add_argument(
        "changes", nargs="+", metavar="KEY=VALUE", help="a setting and its value, as in TOML or a plain string"
    )


def run(options: argparse.Namespace) -> int:
    """Change settings."""
    changes = read_changes(options.changes)
    return change_settings(options, changes, changes=changes)


def change_settings(options: argparse.Namespace, changed: Iterable[str], **fields: object) -> int:
    """Request `set` or `unset`, which `options` name, with these fields; print the values now in force."""
    with settings_changed(options, **fields) as (link, _):
        print_settings(link, changed)
    return exits.GOOD


@contextlib.contextmanager
def settings_changed(options: argparse.Namespace, **fields: object) -> Iterator[tuple[MonitorLink, dict[str, Any]]]:
    """Request `set`, `unset` or `reload`, which `options` name; yield the link and the reply."""
    with logged_in(options) as link:
        try:
            reply = link.request(options.command, **fields)
        except OpRefusedError as error:
            if error.code == "bad_value":
                raise exits.CommandError(str(error), exits.BAD_SETTINGS) from None
            raise
        except ValueError as error:  # too long
            raise exits.CommandError(f"{options.command}: {error}", exits.USAGE) from None
        yield link, reply


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
