"""The status of servers, from replies to the op `status`: as a value, as text, and as Prometheus metrics."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Final, NamedTuple, TypeAlias

from smtppseudo.events import ending_of, printable_lines
from smtppseudo.log.shares import SHORT

Number: TypeAlias = int | float
Labelled: TypeAlias = Mapping[str, Number]


class Status(NamedTuple):
    """A server's state and the sums of its run. Times are in seconds."""

    state: str
    settings_error: str  # why the last reload changed nothing; empty if it succeeded
    uptime_s: Number
    monitors: Number
    lost_log_lines: Number
    log_used: Number
    slots: Number
    slots_in_use: Number
    connected: Number
    turned_away: Labelled
    closed: Labelled
    mails_refused: Labelled
    mails_refused_today: Number
    commands: Number
    received_bytes: Number
    sent_bytes: Number
    wasted_s: Number
    delayed_s: Number
    undelayed: Number
    not_logged: Number
    faults: Number

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Status":
        """Parse a reply's fields, from a source that is not trusted. Raises ValueError that names the field."""
        counters, state = fields.get("counters"), fields.get("state")
        error = fields.get("settings_error", "")  # absent in the first servers of this protocol version
        if not isinstance(counters, dict) or not isinstance(error, str):
            raise ValueError("the status that the server sent lacks counters, or its settings_error is not a string")  # noqa: TRY004
        if state not in ("online", "offline"):
            raise ValueError("the state that the server sent is neither online nor offline")
        given = {**_OPTIONAL, **fields, **counters}
        given |= {new: counters[old] for old, new in _ALIASES.items() if old in counters}
        sums = [_sums(name, given.get(name)) if name in _LABELLED else _sum(name, given.get(name)) for name in _SUMS]
        return cls(state, error, *sums)  # type: ignore[arg-type]


_LABELLED: Final = ("turned_away", "closed", "mails_refused")
# The first servers of this protocol version do not send these.
_OPTIONAL: Final = {
    **dict.fromkeys(("delayed_s", "undelayed", "not_logged", "log_used", "mails_refused_today"), 0),
    "mails_refused": {},
}
_ALIASES: Final = {  # the counters' old names
    "refused": "turned_away",
    "received_octets": "received_bytes",
    "sent_octets": "sent_bytes",
    "kept_s": "wasted_s",
    "hurried": "undelayed",
}
_SUMS: Final = Status._fields[2:]


def _sum(name: str, value: object) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the status that the server sent lacks {name}, or it is not a number")  # noqa: TRY004
    return value


def _sums(name: str, value: object) -> Labelled:
    if not isinstance(value, dict):
        raise ValueError(f"the status that the server sent lacks {name}, or it is not an object")  # noqa: TRY004
    return {label: _sum(name, each) for label, each in value.items()}


def render_text(status: Status) -> str:
    """Return a status as lines for people."""
    turned_away, closed = sum(status.turned_away.values()), sum(status.closed.values())
    process = "offline (the SMTP port is closed); the process is" if status.state == "offline" else f"{status.state},"
    rows = (
        ("state", f"{process} up {_duration(status.uptime_s)}"),
        ("settings", status.settings_error and f"not changed by the last reload: {status.settings_error}"),
        ("mails refused", f"{sum(status.mails_refused.values())}, {status.mails_refused_today} of them today"),
        ("slots", f"{status.slots_in_use} of {status.slots} in use"),
        ("connected", str(status.connected)),
        ("closed", f"{closed}{_shares({ending_of(reason): count for reason, count in status.closed.items()})}"),
        ("turned away", f"{turned_away}{_shares(status.turned_away)}"),
        ("commands", str(status.commands)),
        ("received", f"{status.received_bytes} bytes"),
        ("sent", f"{status.sent_bytes} bytes"),
        ("time wasted", _duration(status.wasted_s)),
        ("callers delayed", status.delayed_s and _duration(status.delayed_s)),
        ("not delayed", status.undelayed and f"{status.undelayed} sessions"),
        ("not logged", status.not_logged and f"{status.not_logged} sessions"),
        ("monitors", str(status.monitors)),
        ("lost log lines", str(status.lost_log_lines)),
        ("log space used", f"{status.log_used:.0%} of today's{', running short' if status.log_used >= SHORT else ''}"),
        ("faults", str(status.faults)),
    )
    return "".join([f"{name:<15} {value}\n" for name, value in rows if value])


def _shares(sums: Labelled) -> str:
    shares = ", ".join([f"{label} {value}" for label, value in sums.items() if value])
    return f" ({shares})" if shares else ""


def _duration(seconds: Number) -> str:
    """Render as `3 d 04:05:06`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hour:02}:{minute:02}:{second:02}"


_COLUMNS: Final[Mapping[str, Callable[[Status], Number]]] = {
    "in use": lambda status: status.slots_in_use,
    "slots": lambda status: status.slots,
    "connected": lambda status: status.connected,
    "refused": lambda status: sum(status.mails_refused.values()),
    "today": lambda status: status.mails_refused_today,
    "turned away": lambda status: sum(status.turned_away.values()),
    "lost lines": lambda status: status.lost_log_lines,
    "faults": lambda status: status.faults,
}


def render_rows(statuses: Mapping[str, Status | str]) -> str:
    """Return a line for each server by its name, and their sum. A text stands for a status that is not known."""
    known = [status for status in statuses.values() if isinstance(status, Status)]
    rows = [("server", "state", *_COLUMNS)]
    for name, status in statuses.items():
        rows.append((name, status) if isinstance(status, str) else (name, status.state, *_cells([status])))
    online = [status.state for status in known].count("online")
    rows.append((f"{len(statuses)} servers", f"{online} online", *_cells(known)))
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    formats = [f"<{width}" for width in widths[:2]] + [f">{width}" for width in widths[2:]]
    return "".join(["  ".join(map(format, row, formats)).rstrip() + "\n" for row in rows])


def _cells(statuses: Sequence[Status]) -> list[str]:
    return [str(sum([count(status) for status in statuses])) for count in _COLUMNS.values()]


# Name, help text, field of `Status` or of `_values`, and for a field with several values the name of their label.
_METRICS: Final = (
    ("build_info", "Always 1; the label is the version that runs.", "version", "version"),
    ("start_time_seconds", "When the server started, in seconds since 1970.", "started_at", ""),
    ("online", "Whether the SMTP port is open.", "online", ""),
    ("config_last_reload_successful", "1, or 0 if the last reload failed.", "reloaded", ""),
    ("slots", "How many connections are served at once.", "slots", ""),
    ("slots_in_use", "Slots that are in use now.", "slots_in_use", ""),
    ("monitors", "Monitors that are logged in.", "monitors", ""),
    ("connections_total", "Connections that got a slot.", "connected", ""),
    ("connections_turned_away_total", "Connections that got no slot, by reason.", "turned_away", "reason"),
    ("sessions_closed_total", "Sessions that ended, by reason.", "closed", "reason"),
    ("mails_refused_total", "Mails refused in sessions that ended, by reject_at.", "mails_refused", "stage"),
    ("commands_total", "SMTP commands in sessions that ended.", "commands", ""),
    ("received_bytes_total", "Bytes received in sessions that ended.", "received_bytes", ""),
    ("sent_bytes_total", "Bytes sent in sessions that ended.", "sent_bytes", ""),
    ("session_seconds_total", "Seconds that callers spent in sessions that ended.", "wasted_s", ""),
    ("session_delayed_seconds_total", "Seconds of delay by the tarpit, in sessions that ended.", "delayed_s", ""),
    ("sessions_undelayed_total", "Sessions that the tarpit did not delay: slots ran short.", "undelayed", ""),
    ("sessions_not_logged_total", "Sessions of sources above their share of the log.", "not_logged", ""),
    ("log_lines_lost_total", "Log lines that could not be written.", "lost_log_lines", ""),
    ("log_used_ratio", "Which part of log_max_bytes_per_day is used.", "log_used", ""),
    ("faults_total", "Errors of the server itself.", "faults", ""),
)


class Source(NamedTuple):
    """A server and its status, for Prometheus. A `name` becomes the label `server` of every metric."""

    status: Status
    version: str
    started_at: datetime
    name: str = ""


def render_prometheus(sources: Sequence[Source]) -> str:
    """Return the status of servers in Prometheus' text format 0.0.4. The sums of a run begin at 0."""
    values = [(source.name, _values(source)) for source in sources]
    lines: list[str] = []
    for short_name, text, field, label in _METRICS:
        name = f"smtppseudo_{short_name}"
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        for server, by_field in values:
            value = by_field[field]
            by_label = {"": value} if isinstance(value, int | float) else value
            lines += [f"{name}{_labels({'server': server, label: key})} {by_label[key]}" for key in by_label]
    return "\n".join(lines) + "\n"


def _values(source: Source) -> dict[str, Number | Labelled]:
    return {
        **source.status._asdict(),
        "version": {source.version: 1},
        "started_at": source.started_at.timestamp(),
        "online": int(source.status.state == "online"),
        "reloaded": int(not source.status.settings_error),
    }


def _labels(labels: Mapping[str, str]) -> str:
    """Return the labels that have a value, in braces, or nothing."""
    escaped = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    shown = [f'{name}="{printable_lines(value).translate(escaped)}"' for name, value in labels.items() if value]
    return f"{{{','.join(shown)}}}" if shown else ""
