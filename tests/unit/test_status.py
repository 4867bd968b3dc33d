"""A server's status: parsed from a reply, rendered as text and for Prometheus."""

from datetime import UTC, datetime
from typing import Any, Final, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from smtppseudo.cli.messages import print_text
from smtppseudo.monitor.status import Source, Status, render_prometheus, render_rows, render_text
from smtppseudo.server.counters import Counters

FIELDS: Final[dict[str, object]] = {
    "state": "online",
    "uptime_s": 273_906.25,
    "monitors": 2,
    "lost_log_lines": 3,
    "log_used": 0.756,
    "settings_error": "",
    "counters": {
        "connected": 9_120,
        "turned_away": {"slots": 12, "client": 0},
        "closed": {"quit": 9_000, "peer": 101, "idle": 0},
        "mails_refused": {"mail": 8_000, "rcpt": 12},
        "mails_refused_today": 700,
        "commands": 31_002,
        "received_bytes": 1_234_567,
        "sent_bytes": 2_345_678,
        "wasted_s": 86_461.5,
        "delayed_s": 3_600.25,
        "undelayed": 4,
        "not_logged": 5,
        "faults": 1,
        "slots": 25,
        "slots_in_use": 19,
    },
}

MAY_LACK: Final = (
    "mails_refused",
    "mails_refused_today",
    "delayed_s",
    "undelayed",
    "not_logged",
    "log_used",
    "settings_error",
)
STARTED_AT: Final = datetime(2026, 11, 24, 15, 0, 0, 250_000, UTC)

TEXT: Final = """\
state           online, up 3 d 04:05:06
mails refused   8012, 700 of them today
slots           19 of 25 in use
connected       9120
closed          9101 (caller quit 9000, caller hung up 101)
turned away     12 (slots 12)
commands        31002
received        1234567 bytes
sent            2345678 bytes
time wasted     1 d 00:01:02
callers delayed 01:00:00
not delayed     4 sessions
not logged      5 sessions
monitors        2
lost log lines  3
log space used  76% of today's, running short
faults          1
"""

ROWS: Final = """\
server           state        in use  slots  connected  refused  today  turned away  lost lines  faults
mx1              online           19     25       9120     8012    700           12           3       1
192.0.2.25:2626  unreachable
mx2              offline          19     25       9120     8012    700           12           3       1
3 servers        1 online         38     50      18240    16024   1400           24           6       2
"""


def changed(name: str, value: object) -> dict[str, object]:
    """Return FIELDS with another value for one of them or for one counter; None removes it."""
    counters = cast(dict[str, object], FIELDS["counters"])
    fields = {**FIELDS, "counters": {**counters, name: value}} if name in counters else {**FIELDS, name: value}
    if value is None:
        cast(dict[str, object], fields["counters"] if name in counters else fields).pop(name)
    return fields


def families(status: Status) -> dict[str, Any]:
    text = render_prometheus([Source(status, "1.2.3", STARTED_AT)])
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_render_text() -> None:
    assert render_text(Status.from_fields(FIELDS)) == TEXT


def test_render_rows() -> None:
    online, offline = Status.from_fields(FIELDS), Status.from_fields(changed("state", "offline"))
    assert render_rows({"mx1": online, "192.0.2.25:2626": "unreachable", "mx2": offline}) == ROWS


def test_the_counters_of_the_server_can_be_parsed() -> None:
    fields = {**FIELDS, "counters": {**Counters().as_dict(""), "slots": 25, "slots_in_use": 0}}
    assert Status.from_fields(fields).closed["shutdown"] == 0


def test_prometheus_reads_every_metric() -> None:
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families(Status.from_fields(FIELDS)).values()
        for sample in family.samples
    }
    assert samples == {
        ("smtppseudo_online",): 1,
        ("smtppseudo_build_info", "1.2.3"): 1,
        ("smtppseudo_start_time_seconds",): 1_795_532_400.25,
        ("smtppseudo_config_last_reload_successful",): 1,
        ("smtppseudo_slots",): 25,
        ("smtppseudo_slots_in_use",): 19,
        ("smtppseudo_monitors",): 2,
        ("smtppseudo_connections_total",): 9_120,
        ("smtppseudo_connections_turned_away_total", "slots"): 12,
        ("smtppseudo_connections_turned_away_total", "client"): 0,
        ("smtppseudo_sessions_closed_total", "quit"): 9_000,
        ("smtppseudo_sessions_closed_total", "peer"): 101,
        ("smtppseudo_sessions_closed_total", "idle"): 0,
        ("smtppseudo_mails_refused_total", "mail"): 8_000,
        ("smtppseudo_mails_refused_total", "rcpt"): 12,
        ("smtppseudo_commands_total",): 31_002,
        ("smtppseudo_received_bytes_total",): 1_234_567,
        ("smtppseudo_sent_bytes_total",): 2_345_678,
        ("smtppseudo_session_seconds_total",): 86_461.5,
        ("smtppseudo_session_delayed_seconds_total",): 3_600.25,
        ("smtppseudo_sessions_undelayed_total",): 4,
        ("smtppseudo_sessions_not_logged_total",): 5,
        ("smtppseudo_log_lines_lost_total",): 3,
        ("smtppseudo_log_used_ratio",): 0.756,
        ("smtppseudo_faults_total",): 1,
    }


def test_each_metric_has_its_help_and_its_type_before_its_samples() -> None:
    sources = [Source(Status.from_fields(FIELDS), "1.2.3", STARTED_AT, name) for name in ("mx1", "mx2")]
    lines = render_prometheus(sources).splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# HELP ")]
    assert len(names) == len(set(names)) == len(families(Status.from_fields(FIELDS)))
    for name in names:
        at = next(number for number, line in enumerate(lines) if line.startswith(f"# HELP {name} "))
        kind = "counter" if name.endswith("_total") else "gauge"
        assert lines[at + 1] == f"# TYPE {name} {kind}"
        assert lines[at + 2].startswith((f"{name} ", f"{name}{{"))


def test_the_server_name_is_a_label_of_every_metric() -> None:
    status = Status.from_fields(FIELDS)
    named = render_prometheus([Source(status, "1.2.3", STARTED_AT, "mx-1")])
    assert named.count('{server="mx-1"') == sum(not line.startswith("#") for line in named.splitlines())
    unnamed = named.replace('{server="mx-1"}', "").replace('server="mx-1",', "")
    assert unnamed == render_prometheus([Source(status, "1.2.3", STARTED_AT)])


def test_offline_is_0() -> None:
    assert families(Status.from_fields(changed("state", "offline")))["smtppseudo_online"].samples[0].value == 0


def test_a_reload_that_changed_nothing_is_shown() -> None:
    status = Status.from_fields(changed("settings_error", "a.toml, line 2: slots must be 1"))
    told = "settings        not changed by the last reload: a.toml, line 2: slots must be 1\n"
    assert told in render_text(status)
    assert families(status)["smtppseudo_config_last_reload_successful"].samples[0].value == 0


def test_a_label_that_is_not_ascii_spoils_no_other_sample(capsys: pytest.CaptureFixture[str]) -> None:
    status = Status.from_fields(changed("turned_away", {"\xe9": 5}))
    print_text(render_prometheus([Source(status, "1\xe9", STARTED_AT, "mx\xe9")]))  # as `status` prints it
    found = {family.name: family for family in text_string_to_metric_families(capsys.readouterr().out)}
    (sample,) = found["smtppseudo_connections_turned_away"].samples
    assert sample.labels == {"server": r"mx\xc3\xa9", "reason": r"\xc3\xa9"}


def test_no_label_can_forge_a_sample() -> None:
    label = 'x"} 1\nsmtppseudo_online 7\\'
    found = families(Status.from_fields(changed("turned_away", {label: 5})))
    (sample,) = found["smtppseudo_connections_turned_away"].samples
    assert sample.labels == {"reason": label}
    assert sample.value == 5


@pytest.mark.parametrize("name", [*Status._fields, "counters"])
@pytest.mark.parametrize("value", [None, "7", [], True])
def test_a_missing_or_wrong_field_is_named(name: str, value: object) -> None:
    if (name in ("state", "settings_error") and isinstance(value, str)) or (name in MAY_LACK and value is None):
        return
    with pytest.raises(ValueError, match=name):
        Status.from_fields(changed(name, value))


def test_the_status_of_a_server_without_a_tarpit_can_be_parsed() -> None:
    for name in MAY_LACK:
        assert not getattr(Status.from_fields(changed(name, None)), name)


def test_the_old_names_of_counters_are_aliases() -> None:
    old_names = {
        "turned_away": "refused",
        "received_bytes": "received_octets",
        "sent_bytes": "sent_octets",
        "wasted_s": "kept_s",
        "undelayed": "hurried",
    }
    counters = cast(dict[str, object], FIELDS["counters"])
    old = {**FIELDS, "counters": {old_names.get(name, name): value for name, value in counters.items()}}
    assert Status.from_fields(old) == Status.from_fields(FIELDS)


def test_a_wrong_labelled_sum_is_named() -> None:
    with pytest.raises(ValueError, match="turned_away"):
        Status.from_fields(changed("turned_away", {"slots": "12"}))
