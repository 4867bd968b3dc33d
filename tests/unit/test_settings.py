"""Settings: allowed values, places of errors, and the order of layers."""

import re
import tomllib
from typing import Any, Final, get_args

import pytest

from smtppseudo.config.file import default_file, parse_file, to_toml
from smtppseudo.config.layers import Configuration
from smtppseudo.config.settings import KEYS, STAGES, TARPIT, Settings, SettingsError, Stage, check

PLACE: Final = "/etc/smtppseudo/smtppseudo.toml"
DEFAULTS: Final = Settings()._asdict()

WHOLE: Final = {
    "port": (0, 65_535),
    "monitor_port": (0, 65_535),
    "slots": (1, 60_000),
    "slots_per_client": (0, 60_000),
    "stutter_bytes_per_s": (0, 1000),
    "log_keep_days": (0, 36_500),
    "blocklist_min_hits": (1, 1_000),
    "log_max_bytes_per_day": (0, 1 << 50),
    "log_min_free_bytes": (0, 1 << 50),
}
SECONDS: Final = {
    "evict_after_s": (1, 86_400),
    "idle_timeout_s": (1, 86_400),
    "session_timeout_s": (1, 604_800),
    "quiet_timeout_s": (1, 86_400),
    "greet_delay_s": (0.1, 60),
    "reply_delay_s": (0.1, 60),
}
MAY_BE_OFF: Final = {"quiet_timeout_s", "greet_delay_s", "reply_delay_s"}
DAYS: Final = {"blocklist_window_days": (0.01, 3_650), "blocklist_expire_days": (0.01, 3_650)}
SWITCHES: Final = (
    "monitor_cleartext",
    "tarpit",
    "enhanced_status_codes",
    "accept_mail",
    "log_data_events",
    "log_local_ip",
)
LISTS: Final = (
    "listen",
    "monitor_listen",
    "limit_exempt",
    "proxies",
    "ehlo_keywords",
    "blocklist_evidence",
    "blocklist_never",
)
TLS: Final = ("tls_cert", "tls_key", "monitor_tls_cert", "monitor_tls_key")
PATHS: Final = ("log_dir", "metrics_file", "state_dir", "blocklist_file", *TLS)
TEXTS: Final = ("greeting", "refusal", "hostname", "server_name", "reject_at", "log_format", "blocklist_format", *PATHS)


def no_warning(text: str) -> None:
    pytest.fail(f"warned: {text}")


def test_table_has_every_setting() -> None:
    assert set(KEYS) == set(Settings._fields)
    assert {*WHOLE, *SECONDS, *DAYS, *SWITCHES, *LISTS, *TEXTS} == set(KEYS)


def test_defaults_are_as_documented() -> None:
    expected: dict[str, Any] = {
        "listen": ("0.0.0.0", "::"),
        "port": 25,
        "monitor_listen": ("127.0.0.1", "::1"),
        "monitor_port": 26,
        "slots": 25,
        "slots_per_client": 5,
        "limit_exempt": ("127.0.0.0/8", "::1/128"),
        "proxies": (),
        "evict_after_s": 5,
        "idle_timeout_s": 30,
        "session_timeout_s": 600,
        "quiet_timeout_s": 30,
        "greeting": "Welcome!",
        "ehlo_keywords": ("8BITMIME", "SIZE 4000000", "DSN", "HELP"),
        "reject_at": "mail",
        "log_format": "text",
        "log_keep_days": 90,
        "log_max_bytes_per_day": 1 << 30,
        "log_min_free_bytes": 256 << 20,
        "log_data_events": True,
        "log_local_ip": False,
        "blocklist_format": "plain",
        "blocklist_min_hits": 3,
        "blocklist_window_days": 30,
        "blocklist_expire_days": 7,
        "blocklist_evidence": ("mail", "auth", "pregreet", "errors"),
    }
    assert expected.items() <= DEFAULTS.items()
    others = {name: value for name, value in DEFAULTS.items() if name not in expected}
    assert not any(others.values())


@pytest.mark.parametrize("name", KEYS)
def test_default_passes_its_check(name: str) -> None:
    value = check(name, DEFAULTS[name])
    assert value == DEFAULTS[name]
    assert type(value) is type(DEFAULTS[name])


@pytest.mark.parametrize("name", KEYS)
def test_every_key_has_one_line_of_help(name: str) -> None:
    assert re.fullmatch(r"[A-Z][ -~]+\.", KEYS[name].help)


def refusal(name: str, value: object) -> str:
    with pytest.raises(SettingsError) as caught:
        check(name, value)
    return str(caught.value)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_number_is_checked(name: str) -> None:
    low, high = WHOLE[name]
    assert (check(name, low), check(name, high)) == (low, high)
    for value in (low - 1, high + 1, True, False, 1.0, float("nan"), "1", [1], None):
        assert refusal(name, value) == f"{name} must be a whole number from {low} to {high}"


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_are_checked(name: str) -> None:
    low, high = SECONDS[name]
    for value in (low, high, low + 0.5):
        assert check(name, value) == value
        assert type(check(name, value)) is float
    off = ", or 0 for off" if name in MAY_BE_OFF else ""
    for wrong in (low / 2, high + 1, -1, True, float("nan"), float("inf"), "1", [1], None):
        assert refusal(name, wrong) == f"{name} must be a number of seconds from {low:g} to {high:g}{off}"


@pytest.mark.parametrize("name", DAYS)
def test_days_are_checked(name: str) -> None:
    low, high = DAYS[name]
    for value in (low, high, 7, 0.5):
        assert check(name, value) == value
        assert type(check(name, value)) is float
    for wrong in (0, 0.009, high + 1, -1, True, float("nan"), "7", [1], None):
        assert refusal(name, wrong) == f"{name} must be a number of days from 0.01 to 3650"


@pytest.mark.parametrize(
    ("name", "duration", "number"),
    [
        ("idle_timeout_s", "5m", "300"),
        ("session_timeout_s", "2w", "1209600"),
        ("greet_delay_s", "0s", "0"),
        ("blocklist_window_days", "12h", "0.5"),
    ],
)
def test_duration_is_a_mistake_that_names_the_number(name: str, duration: str, number: str) -> None:
    assert refusal(name, duration).endswith(f"; {duration} is {number}")


def test_infinite_and_nan_seconds_are_refused() -> None:
    assert refusal("idle_timeout_s", 10**400) == "idle_timeout_s must be a number of seconds from 1 to 86400"


def test_zero_seconds_are_allowed_only_where_they_mean_off() -> None:
    for name in MAY_BE_OFF:
        assert check(name, 0) == 0
    for name in SECONDS.keys() - MAY_BE_OFF:
        refusal(name, 0)


@pytest.mark.parametrize("name", SWITCHES)
def test_switch_is_checked(name: str) -> None:
    assert check(name, True) is True
    assert check(name, False) is False
    wrong: tuple[object, ...] = (0, 1, "true", "", None, [])
    for value in wrong:
        assert refusal(name, value) == f"{name} must be true or false"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("reject_at", STAGES),
        ("log_format", ("text", "json")),
        ("blocklist_format", ("plain", "rbldnsd", "nft", "json")),
    ],
)
def test_choice_is_checked(name: str, allowed: tuple[str, ...]) -> None:
    assert [check(name, word) for word in allowed] == list(allowed)
    words = ", ".join(f'"{word}"' for word in allowed)
    for value in ("", "nothing", allowed[0].upper(), allowed[0] + " ", True, 1, None, [allowed[0]]):
        assert refusal(name, value) == f"{name} must be one of {words}"


def test_stage_type_has_all_stages() -> None:
    assert get_args(Stage) == STAGES
    assert STAGES == ("connect", "helo", "mail", "rcpt", "data", "message")


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        (
            "greeting",
            ["x", " ", "~" * 200, '"\\{hostname}%'],
            ["", "x" * 201, "x\n", "\nx", "x\tx", "ä", "\x7f", "\0", 1, True, ["x"], None],
        ),
        (
            "hostname",
            ["", "mx.example.org", "a_b-c.1", "x" * 255],
            ["x" * 256, "a b", "mx.example.org\n", "ä", "{ip}", "%b", 1, None],
        ),
        ("server_name", ["", "mx1", "A.b_c-9", "x" * 64], ["x" * 65, "a b", "mx1\n", '"', "a=b", "ä", 1, None]),
        ("log_dir", ["", "/var/log/smtppseudo", "-", "C:\\Logs", "/tmp/ä b"], ["a\0b", 1, None, ["/"]]),
        ("state_dir", ["", "relative"], ["\0", 1.0, False]),
        ("blocklist_file", ["", "/var/lib/x/list"], ["list", "-", "/", "/a\n", 1]),
        ("metrics_file", ["", "/var/lib/x/m.prom"], ["m.prom", "/"]),
    ],
)
def test_text_is_checked(name: str, right: list[str], wrong: list[object]) -> None:
    for value in right:
        assert check(name, value) == value
    for refused in wrong:
        assert refusal(name, refused).startswith(f"{name} must be ")


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("listen", [["127.0.0.1"], ["::", "0.0.0.0"], ["fe80::1%eth0"]], [[], ["localhost"], ["1.2.3"], [" ::1"]]),
        ("monitor_listen", [["::1"]], [[], ["127.0.0.1:26"], ["[::1]"]]),
        ("limit_exempt", [[], ["10.0.0.0/8"], ["0.0.0.0/0"]], [["10.0.0.1/8"], ["10.0.0.0/33"], ["x"]]),
        ("proxies", [[], ["10.0.0.0/8", "2001:db8::/32"]], [["0.0.0.0/0"], ["::/0"], ["10.0.0.1/8"], ["x"]]),
        ("blocklist_evidence", [["mail"], ["auth", "connected"]], [[], ["quit"], ["mail,auth"]]),
        (
            "blocklist_never",
            [[], ["10.0.0.0/8", "/etc/smtppseudo/never"]],
            [["10.0.0.1/8"], ["never"], ["/"], ["/" + "x" * 255], ["/a\n"], ["10.0.0.0/8"] * 17],
        ),
        (
            "ehlo_keywords",
            [[], ["8BITMIME"], ["SIZE 4000000", "X-A"], ["XAUTH PLAIN LOGIN", "X %b"]],
            [
                ["chunking"],
                ["DSN", "AUTH PLAIN"],
                ["auth=LOGIN"],
                ["BINARYMIME"],
                ["XCLIENT NAME"],
                ["XFORWARD"],
                [""],
                [" X"],
                ["X "],
                ["X  Y"],
                ["-X"],
                ["X\n"],
                ["ä"],
                ["X\tY"],
            ],
        ),
    ],
)
def test_list_is_checked(name: str, right: list[list[str]], wrong: list[list[str]]) -> None:
    for value in right:
        assert check(name, value) == check(name, tuple(value)) == tuple(value)
    others: tuple[object, ...] = ("x", 1, None, {}, [1], [None], [["x"]], [True])
    for refused in (*wrong, *others):
        assert refusal(name, refused).startswith(f"{name} must be a list of ")


@pytest.mark.parametrize(
    ("name", "entry", "most"),
    [("limit_exempt", "10.0.0.0/8", 500), ("blocklist_never", "/never", 16), ("listen", "::1", 64)],
)
def test_list_length_is_limited(name: str, entry: str, most: int) -> None:
    assert check(name, [entry] * most) == (entry,) * most
    assert refusal(name, [entry] * (most + 1)).endswith(f", with at most {most} entries")


@pytest.mark.parametrize("text", ["/a", "::/0"])
def test_a_network_is_no_path(text: str) -> None:
    """For pathlib, `::/0` would be absolute on Windows."""
    assert check("blocklist_never", [text]) == (text,)
    for relative in ("a/b", "", "/"):
        assert refusal("blocklist_never", [text, relative])


def test_address_becomes_a_network() -> None:
    assert check("limit_exempt", ["192.0.2.1", "2001:DB8::1"]) == ("192.0.2.1/32", "2001:db8::1/128")


@pytest.mark.parametrize(
    ("name", "near"),
    [("gretting", "greeting"), ("slot", "slots"), ("reject-at", "reject_at"), ("idle_timeout", "idle_timeout_s")],
)
def test_unknown_key_suggests_a_similar_key(name: str, near: str) -> None:
    assert refusal(name, 1) == f"unknown setting {name!r}; did you mean {near}?"


def test_unknown_key_without_a_similar_key_names_the_config_command() -> None:
    assert refusal("xyzzy", 1) == "unknown setting 'xyzzy'; `smtppseudo config --default` lists all"


# The file


def test_file_is_parsed() -> None:
    text = '# comment\nport = 2525\ngreeting = "Hi, {ip}"\nlisten = [\n  "::1",\n]\nidle_timeout_s = 5\n'
    values = parse_file(text, PLACE, no_warning)
    assert values == {"port": 2525, "greeting": "Hi, {ip}", "listen": ("::1",), "idle_timeout_s": 5.0}
    assert parse_file("", PLACE, no_warning) == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("port = true", "line 1: port must be a whole number from 0 to 65535"),
        ('\n# port = 1\n\n  port="25"', "line 4: port must be a whole number from 0 to 65535"),
        ("slots = 25\nport = 65536", "line 2: port must be a whole number from 0 to 65535"),
        ("slots = 0\nport = -1", "line 1: slots must be a whole number from 1 to 60000"),
        ('"slots" = 0', "line 1: slots must be a whole number from 1 to 60000"),
        ("slots_per_client = 1\nslots = 0", "line 2: slots must be a whole number from 1 to 60000"),
        ("listen = [\n  1,\n]", 'line 1: listen must be a list of IP addresses, as in ["0.0.0.0", "::"], not 1'),
        ("prot = 25", "line 1: unknown setting 'prot'; did you mean port?"),
        ("port.smtp = 25", "line 1: port must be a whole number from 0 to 65535"),
        ("slots = 1\n[port]\nsmtp = 25", "line 2: port must be a whole number from 0 to 65535"),
        ("\r\nport = 1.5\r\n", "line 2: port must be a whole number from 0 to 65535"),
        ("idle_timeout_s = inf", "line 1: idle_timeout_s must be a number of seconds from 1 to 86400"),
    ],
)
def test_error_in_a_file_names_place_line_key_and_allowed_values(text: str, error: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_file(text, PLACE, no_warning)
    assert str(caught.value) == f"{PLACE}, {error}"


@pytest.mark.parametrize(
    "text",
    ["port", "port = ", "port = 25\nport = 26", "= 1", 'greeting = "x', "port = 25 # \0", "[port", "port = 0x"],
)
def test_invalid_toml_names_the_place(text: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{PLACE}: not valid TOML: .+"):
        parse_file(text, PLACE, no_warning)


@pytest.mark.parametrize(
    "text",
    ["port = " + "9" * 5000, "listen = " + "[" * 5000, "idle_timeout_s = " + "9" * 400],
    ids=["digits", "nesting", "seconds"],
)
def test_huge_number_or_deep_nesting_is_a_settings_error(text: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{PLACE}"):
        parse_file(text, PLACE, no_warning)


@pytest.mark.parametrize(
    ("old", "current"),
    [
        ("stutter_octets_per_s", "stutter_bytes_per_s"),
        ("log_max_octets_per_day", "log_max_bytes_per_day"),
        ("log_min_free_octets", "log_min_free_bytes"),
    ],
)
def test_old_name_of_a_key_works_with_a_warning(old: str, current: str) -> None:
    warnings: list[str] = []
    assert parse_file(f"slots = 7\n{old} = 5\n", PLACE, warnings.append) == {"slots": 7, current: 5}
    assert warnings == [f"{PLACE}, line 2: {old} is now called {current}; the old name still works"]


def test_value_of_an_old_name_is_checked() -> None:
    with pytest.raises(SettingsError, match=rf"^{PLACE}, line 1: log_min_free_bytes must be a whole number "):
        parse_file("log_min_free_octets = -1", PLACE, lambda text: None)


def test_old_and_current_name_together_are_an_error() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_file("log_min_free_bytes = 1\nlog_min_free_octets = 1\n", PLACE, no_warning)
    assert str(caught.value) == (
        f"{PLACE}, line 2: log_min_free_octets is the old name of log_min_free_bytes, which is also given;"
        " remove log_min_free_octets"
    )


# Layers


def test_later_layers_override_and_origins_name_the_layer() -> None:
    configuration = Configuration(
        file={"port": 1, "slots": 2, "greeting": "file", "log_dir": ""},
        monitor={"greeting": "monitor", "accept_mail": False},
        command_line={"port": 3},
        of_machine={"hostname": "mx", "log_dir": "/log"},
    )
    changed = {"port": 3, "slots": 2, "greeting": "monitor", "accept_mail": False, "hostname": "mx", "log_dir": "/log"}
    assert configuration.settings._asdict() == DEFAULTS | changed
    origins = {name: origin for name, origin in configuration.origins.items() if origin != "default"}
    assert origins == {"port": "command line", "slots": "file", "greeting": "monitor", "accept_mail": "monitor"}
    assert set(configuration.origins) == set(KEYS)


def test_value_equal_to_the_default_keeps_its_origin() -> None:
    configuration = Configuration({"port": 25}, {}, {}, {})
    assert configuration.settings == Settings()
    assert configuration.origins["port"] == "file"


def test_value_overrides_the_default_of_the_machine() -> None:
    configuration = Configuration({"hostname": "mail.example.com"}, {}, {}, {"hostname": "mx"})
    assert (configuration.settings.hostname, configuration.origins["hostname"]) == ("mail.example.com", "file")


def test_without_layers_all_values_are_defaults() -> None:
    configuration = Configuration({}, {}, {}, {})
    assert configuration.settings == Settings()
    assert set(configuration.origins.values()) == {"default"}


# The preset


def test_tarpit_changes_only_values_that_no_layer_sets() -> None:
    configuration = Configuration(
        file={"tarpit": True, "idle_timeout_s": 60.0},
        monitor={"reply_delay_s": 0.0},
        command_line={"quiet_timeout_s": 30.0},
        of_machine={},
    )
    explicit = {"tarpit": True, "idle_timeout_s": 60.0, "reply_delay_s": 0.0, "quiet_timeout_s": 30.0}
    assert configuration.settings._asdict() == {**DEFAULTS, **TARPIT, **explicit}
    preset = {name for name, origin in configuration.origins.items() if origin == "tarpit"}
    assert preset == {"greet_delay_s", "stutter_bytes_per_s", "session_timeout_s"}
    origins = configuration.origins
    assert (origins["quiet_timeout_s"], origins["reply_delay_s"]) == ("command line", "monitor")


def test_tarpit_values_are_as_documented() -> None:
    assert TARPIT == {
        "greet_delay_s": 10.0,
        "reply_delay_s": 2.0,
        "stutter_bytes_per_s": 1,
        "idle_timeout_s": 300.0,
        "session_timeout_s": 7200.0,
        "quiet_timeout_s": 0.0,
    }


def test_later_layer_can_switch_tarpit_off() -> None:
    configuration = Configuration({"tarpit": True}, {"tarpit": False}, {}, {})
    assert configuration.settings == Settings()
    assert "tarpit" not in configuration.origins.values()


def test_tarpit_values_are_valid_settable_and_in_the_help() -> None:
    assert all(check(name, value) == value for name, value in TARPIT.items())
    assert all(KEYS[name].by_monitor for name in TARPIT)
    assert all(name in KEYS["tarpit"].help for name in TARPIT)


def test_keys_that_monitors_set_need_no_restart() -> None:
    assert not any(key.by_monitor and key.at_start for key in KEYS.values())


# Rendering as TOML


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (25, "25"),
        (30.0, "30"),
        (1.5, "1.5"),
        (604_800.0, "604800"),
        ("a", '"a"'),
        ('"\\', '"\\"\\\\"'),
        ((), "[]"),
        (("a", 'b"'), '["a", "b\\""]'),
    ],
)
def test_value_is_rendered_as_toml(value: object, text: str) -> None:
    assert to_toml(value) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *DEFAULTS.items(),
        ("idle_timeout_s", 0.1 + 0.2 + 1),
        ("idle_timeout_s", 86_399.75),
        ("session_timeout_s", 604_799.0),
        ("session_timeout_s", 604_799.5),
        ("greeting", "".join(map(chr, range(0x20, 0x7F)))),
        ("log_dir", "C:\\new\\u0041"),
        ("log_dir", "/tmp/ä\u2028€"),
        ("ehlo_keywords", ("A", 'X "\\"')),
    ],
)
def test_value_survives_rendering_and_parsing(name: str, value: object) -> None:
    assert parse_file(f"{name} = {to_toml(value)}\n", PLACE, no_warning) == {name: value}


@pytest.mark.parametrize("path", ["a\nb", "a\rb", "a\tb", "a\x1bb", "a\x7fb", "a\ud800b"])
def test_accepted_path_survives_rendering_and_parsing(path: str) -> None:
    try:
        value = check("log_dir", path)
    except SettingsError:
        return
    assert tomllib.loads(f"x = {to_toml(value)}") == {"x": path}


def test_default_file_sets_nothing() -> None:
    assert parse_file(default_file(), PLACE, no_warning) == {}


def test_uncommented_default_file_sets_every_default() -> None:
    text = re.sub(r"^# ([a-z_]+ = )", r"\1", default_file(), flags=re.MULTILINE)
    assert parse_file(text, PLACE, no_warning) == DEFAULTS
    assert list(parse_file(text, PLACE, no_warning)) == list(KEYS)


def test_default_file_explains_every_key() -> None:
    text = default_file()
    assert all(f"\n# {key.help}\n# {name} = " in text for name, key in KEYS.items())
    assert re.fullmatch(r"(?:#? ?[ -~]*\n)+", text)


def test_settings_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]
