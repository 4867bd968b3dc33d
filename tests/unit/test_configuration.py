"""The configuration: layers, and atomic changes by monitors."""

import json
from typing import Any

import pytest

from smtppseudo.config.layers import Configuration, Pinned
from smtppseudo.config.settings import KEYS, Settings, SettingsError, check


def no_warning(text: str) -> None:
    pytest.fail(f"warned: {text}")


def another(name: str) -> Any:
    """Return a valid value of a key that is not its default."""
    for value in (True, False, 20.0, 20, "rcpt"):
        try:
            if check(name, value) != getattr(Settings(), name):
                return value
        except SettingsError:
            pass
    raise AssertionError(f"{name}: none of these will do")


BY_MONITOR = {name: another(name) for name, key in KEYS.items() if key.by_monitor}
NOT_BY_MONITOR = sorted(set(KEYS) - set(BY_MONITOR))


def configuration(
    file: dict[str, Any] | None = None,
    monitor: dict[str, Any] | None = None,
    command_line: dict[str, Any] | None = None,
) -> Configuration:
    return Configuration(file or {}, monitor or {}, command_line or {}, {"hostname": "mx.example.org"})


def test_later_layers_override() -> None:
    layers = ({"greeting": "file", "port": 1, "slots": 7}, {"greeting": "monitor"}, {"port": 2})
    made = configuration(*layers)
    assert made.settings == Settings(hostname="mx.example.org", greeting="monitor", port=2, slots=7)
    assert {name: origin for name, origin in made.origins.items() if origin != "default"} == {
        "greeting": "monitor",
        "port": "command line",
        "slots": "file",
    }


@pytest.mark.parametrize("name", BY_MONITOR)
def test_monitor_sets_a_key(name: str) -> None:
    before = configuration({name: getattr(Settings(), name)})
    after = before.with_set({name: BY_MONITOR[name]}, no_warning)
    assert getattr(after.settings, name) == BY_MONITOR[name]
    assert after.origins[name] == "monitor"
    assert after.monitor == {name: BY_MONITOR[name]}
    assert getattr(before.settings, name) == getattr(Settings(), name)
    assert after.revision == before.revision + 1


def test_setting_several_keys_keeps_earlier_ones() -> None:
    first = configuration().with_set({"greeting": "one", "quiet_timeout_s": 5}, no_warning)
    made = first.with_set({"greeting": "two"}, no_warning)
    assert made.monitor == {"greeting": "two", "quiet_timeout_s": 5.0}
    assert (made.settings.greeting, made.settings.quiet_timeout_s, made.revision) == ("two", 5.0, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"greeting": "x", "accept_mail": 1}, "accept_mail must be true or false"),
        ({"accept_mail": 1, "greeting": "x"}, "accept_mail must be true or false"),
        ({"greeting": ""}, "greeting must be 1 to 200 printable ASCII characters"),
        ({"greeting": "x" * 201}, "greeting must be 1 to 200 printable ASCII characters"),
        ({"greeting": "a\nb"}, "greeting must be 1 to 200 printable ASCII characters"),
        ({"greeting": "\u00e9"}, "greeting must be 1 to 200 printable ASCII characters"),
        ({"greeting": "trailing\n"}, "greeting must be 1 to 200 printable ASCII characters"),
        ({"greeting": None}, "greeting must be 1 to 200 printable ASCII characters"),
        ({"reject_at": "never"}, 'reject_at must be one of "connect", "helo", "mail", "rcpt", "data", "message"'),
        ({"reject_at": ["mail"]}, 'reject_at must be one of "connect", "helo", "mail", "rcpt", "data", "message"'),
        ({"idle_timeout_s": 0}, "idle_timeout_s must be a number of seconds from 1 to 86400"),
        ({"idle_timeout_s": True}, "idle_timeout_s must be a number of seconds from 1 to 86400"),
        ({"idle_timeout_s": 10**400}, "idle_timeout_s must be a number of seconds from 1 to 86400"),
        ({"quiet_timeout_s": 0.5}, "quiet_timeout_s must be a number of seconds from 1 to 86400, or 0 for off"),
        ({"greetings": "x"}, "unknown setting 'greetings'; did you mean greeting?"),
    ],
)
def test_invalid_change_names_the_key_and_the_allowed_values(changes: dict[str, object], message: str) -> None:
    before = configuration(monitor={"greeting": "old"})
    with pytest.raises(SettingsError) as caught:
        before.with_set(changes, no_warning)
    assert str(caught.value) == message
    assert not isinstance(caught.value, Pinned)
    assert (before.monitor, before.settings.greeting, before.revision) == ({"greeting": "old"}, "old", 1)


@pytest.mark.parametrize("name", NOT_BY_MONITOR)
def test_monitor_cannot_set_other_keys(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        configuration().with_set({name: getattr(Settings(), name)}, no_warning)
    assert str(caught.value).startswith(f"{name} cannot be set while the server runs; these can: ")
    assert all(key in str(caught.value) for key in BY_MONITOR)
    with pytest.raises(SettingsError, match=f"^{name} cannot be set while the server runs; these can: "):
        configuration().with_unset([name], no_warning)


def test_command_line_pins_a_key() -> None:
    before = configuration(command_line={"greeting": "mine"})
    with pytest.raises(Pinned, match=r"^greeting was given on the command line of the server"):
        before.with_set({"accept_mail": True, "greeting": "theirs"}, no_warning)
    assert (before.settings.greeting, before.settings.accept_mail) == ("mine", False)


def test_unset_restores_the_value_of_the_file() -> None:
    before = configuration({"greeting": "file"}, {"greeting": "monitor", "accept_mail": True})
    after = before.with_unset(["greeting"], no_warning)
    assert (after.settings.greeting, after.origins["greeting"]) == ("file", "file")
    assert after.monitor == {"accept_mail": True}
    assert after.revision == 2
    last = after.with_unset(["accept_mail", "greeting", "quiet_timeout_s"], no_warning)
    assert (last.settings.accept_mail, last.origins["accept_mail"], last.monitor) == (False, "default", {})


def test_unset_of_an_unknown_key_changes_nothing() -> None:
    before = configuration(monitor={"greeting": "monitor"})
    with pytest.raises(SettingsError, match=r"^unknown setting 'greetin'; did you mean greeting\?$"):
        before.with_unset(["greeting", "greetin"], no_warning)
    assert before.settings.greeting == "monitor"


def test_new_file_keeps_the_values_of_monitors() -> None:
    before = configuration({"greeting": "one", "slots": 5}, {"greeting": "monitor"})
    after = before.with_file({"greeting": "two", "hostname": "h"})
    assert after.settings == Settings(greeting="monitor", hostname="h")
    assert after.with_unset(["greeting"], no_warning).settings.greeting == "two"
    assert after.revision == 2


def test_stored_values_are_restored() -> None:
    stored = json.loads(json.dumps(configuration().with_set(BY_MONITOR, no_warning).monitor))
    made = configuration({"greeting": "file"}).with_monitor(stored, no_warning)
    assert made.monitor == BY_MONITOR
    assert {name: getattr(made.settings, name) for name in BY_MONITOR} == BY_MONITOR


def test_invalid_stored_values_are_ignored_with_warnings() -> None:
    stored = {"greeting": "kept", "accept_mail": "yes", "port": 2525, "gone": 1, "idle_timeout_s": -1}
    warnings: list[str] = []
    made = configuration().with_monitor(stored, warnings.append)
    assert made.monitor == {"greeting": "kept"}
    assert made.settings == Settings(hostname="mx.example.org", greeting="kept")
    assert [warning.split()[0] for warning in warnings] == ["accept_mail", "port", "unknown", "idle_timeout_s"]


def test_command_line_overrides_stored_values() -> None:
    made = configuration(command_line={"greeting": "mine"}).with_monitor({"greeting": "kept"}, no_warning)
    assert (made.settings.greeting, made.origins["greeting"]) == ("mine", "command line")


def test_old_names_work_with_one_warning_each() -> None:
    warnings: list[str] = []
    made = configuration().with_monitor({"stutter_octets_per_s": 5}, warnings.append)
    assert made.monitor == {"stutter_bytes_per_s": 5}
    again = made.with_set({"stutter_octets_per_s": 6}, warnings.append)
    assert again.monitor == {"stutter_bytes_per_s": 6}
    assert again.with_unset(["stutter_octets_per_s"], warnings.append).monitor == {}
    assert warnings == ["stutter_octets_per_s is now called stutter_bytes_per_s; the old name still works"] * 3


def test_change_by_old_and_current_name_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"^stutter_octets_per_s is the old name of stutter_bytes_per_s"):
        configuration().with_set({"stutter_octets_per_s": 5, "stutter_bytes_per_s": 6}, no_warning)


def test_current_name_of_a_stored_key_overrides_the_old_one() -> None:
    warnings: list[str] = []
    made = configuration().with_monitor({"stutter_bytes_per_s": 6, "stutter_octets_per_s": 5}, warnings.append)
    assert made.monitor == {"stutter_bytes_per_s": 6}
    assert len(warnings) == 1
    assert "remove stutter_octets_per_s" in warnings[0]
