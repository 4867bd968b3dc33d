"""Checks of values. Each returns the value in its type, or raises ValueError with the allowed values."""

import ipaddress
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

ROOT: Final = r"(?:[A-Za-z]:[\\/]|\\\\)" if sys.platform == "win32" else "/"
"""Pattern: how an absolute path begins."""
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def duration_s(value: object) -> int | None:
    """Return the seconds of a text such as 90s, 5m or 7d; None for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", value, re.ASCII) if isinstance(value, str) else None
    return int(match[1]) * _UNITS_S[match[2]] if match else None


def _only(is_allowed: Callable[[Any], bool], allowed: str) -> Callable[[object], Any]:
    def check(value: object) -> Any:
        if not is_allowed(value):
            raise ValueError(allowed)
        return value

    return check


def whole(low: int, high: int) -> Callable[[object], int]:
    """Allow whole numbers from `low` to `high`."""
    return _only(lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}")


def number(unit: str, low: float, high: float, *, off: bool = False) -> Callable[[object], float]:
    """Allow numbers from `low` to `high`, whole or fractional, and 0 if it means off."""

    def check(value: Any) -> float:
        if type(value) in (int, float) and (low <= value <= high or (off and value == 0)):
            return float(value)
        duration = duration_s(value)
        hint = "" if duration is None else f"; {value} is {duration / _UNITS_S[unit[0]]:.10g}"
        raise ValueError(f"a number of {unit} from {low:g} to {high:g}" + (", or 0 for off" if off else "") + hint)

    return check


seconds = partial(number, "seconds")
days = partial(number, "days")
switch: Final = _only(lambda value: type(value) is bool, "true or false")


def choice(allowed: tuple[str, ...]) -> Callable[[object], str]:
    """Allow the words in `allowed`."""
    return _only(lambda value: value in allowed, "one of " + ", ".join(f'"{word}"' for word in allowed))


def text(allowed: str, pattern: str) -> Callable[[object], str]:
    """Allow text that matches `pattern`; `allowed` describes it in an error."""
    return _only(lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, allowed)


def list_of(
    item: Callable[[object], str], allowed: str, least: int = 0, most: int = 64
) -> Callable[[object], tuple[str, ...]]:
    """Allow a list. Its length is limited because all settings must fit into one line of the monitor protocol."""

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise ValueError(allowed)
        if len(value) > most:
            raise ValueError(f"{allowed}, with at most {most} entries")
        entry: object = None
        try:
            return tuple([item(entry := each) for each in value])
        except ValueError:
            raise ValueError(f"{allowed}, not {entry!a:.60}") from None

    return check


_keyword_list: Final = list_of(
    text("", r"(?=.{1,500}$)[A-Za-z0-9][!-~]*( [!-~]+)*"),
    'a list of keywords in printable ASCII, as in ["8BITMIME", "SIZE 4000000"]',
)
_NOT_SPOKEN: Final = ("CHUNKING", "BINARYMIME", "AUTH", "XCLIENT", "XFORWARD")


def keywords(value: object) -> tuple[str, ...]:
    """Allow a list of EHLO keywords, without those that make senders use commands that the server does not have."""
    allowed = _keyword_list(value)
    for keyword in allowed:
        name = re.split("[ =]", keyword)[0].upper()  # AUTH= is an old form of AUTH
        if name in _NOT_SPOKEN:
            raise ValueError(f"a list of keywords without {name}: senders would use it, and this server cannot")
    return allowed


def address(value: object) -> str:
    """Allow an IP address."""
    ipaddress.ip_address(value if isinstance(value, str) else "")
    return str(value)


def network_or_file(value: object) -> str:
    """Allow a network or an address, or the absolute path of a file."""
    if isinstance(value, str) and re.fullmatch(rf"{ROOT}[^\x00-\x1f\x7f]{{1,254}}", value):
        return value
    return network(value)


def network(value: object) -> str:
    """Allow a network, and return it in its canonical form."""
    return str(ipaddress.ip_network(value if isinstance(value, str) else ""))


def network_of_few(value: object) -> str:
    """Allow a network, except one with all addresses."""
    checked = network(value)
    if checked.endswith("/0"):
        raise ValueError
    return checked
