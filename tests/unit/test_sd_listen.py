"""Inherited sockets: the descriptors and their names from the environment."""

import os

import pytest

from smtppseudo.config.settings import SettingsError
from smtppseudo.server.sd_listen import InheritedSockets, inherit_sockets, parse_environment

PID = 4711


def variables(count: str, names: str | None, pid: str = str(PID)) -> dict[str, str]:
    values = {"LISTEN_PID": pid, "LISTEN_FDS": count}
    return values if names is None else values | {"LISTEN_FDNAMES": names}


@pytest.mark.parametrize(
    ("count", "names", "found"),
    [
        ("1", "smtp", [(3, "smtp")]),
        ("3", "monitor:smtp:monitor", [(3, "monitor"), (4, "smtp"), (5, "monitor")]),
        ("0", None, []),
        ("0", "", []),
    ],
)
def test_descriptors_begin_at_3(count: str, names: str | None, found: list[tuple[int, str]]) -> None:
    assert parse_environment(variables(count, names), PID) == found


@pytest.mark.parametrize("pid", ["", "1", "47110", "x"])
def test_variables_for_another_process_are_ignored(pid: str) -> None:
    assert parse_environment(variables("nonsense", "smtp", pid), PID) == []
    assert parse_environment({}, PID) == []


@pytest.mark.parametrize(
    ("count", "names", "said"),
    [
        ("", "smtp", "LISTEN_FDS must be a whole number from 0 to 64, not ''"),
        ("-1", "smtp", "LISTEN_FDS must be"),
        ("65", "smtp", "LISTEN_FDS must be"),
        ("\u0661", "smtp", "LISTEN_FDS must be"),
        ("1", "mail", "descriptor 3 is named 'mail', and must be named smtp or monitor"),
        ("2", "smtp:", "descriptor 4 is named ''"),
        ("1", None, "descriptor 3 is named ''"),
        ("2", None, "LISTEN_FDNAMES names 1, but LISTEN_FDS is 2"),
        ("1", "smtp:smtp", "LISTEN_FDNAMES names 2, but LISTEN_FDS is 1"),
    ],
)
def test_invalid_variables_are_refused(count: str, names: str | None, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_environment(variables(count, names), PID)
    assert said in str(caught.value)


def test_the_variables_are_removed_even_if_they_are_for_another_process() -> None:
    environ = {**variables("1", "smtp", "1"), "LISTEN_PIDFDID": "9", "HOME": "/"}
    warnings: list[str] = []
    assert inherit_sockets(environ, warnings.append) == InheritedSockets()
    assert environ == {"HOME": "/"}
    (warning,) = warnings
    assert f"LISTEN_PID is '1' and this process is {os.getpid()}" in warning
    assert inherit_sockets(environ, warnings.append) == InheritedSockets()
    assert len(warnings) == 1


def test_without_inherited_sockets_no_setting_is_determined() -> None:
    assert InheritedSockets().as_settings() == {}
