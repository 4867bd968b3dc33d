"""Settings: every key with its default, its allowed values and its help text, for all that reads or shows settings."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from smtppseudo.config.checks import (
    ROOT,
    address,
    choice,
    days,
    keywords,
    list_of,
    network,
    network_of_few,
    network_or_file,
    seconds,
    switch,
    text,
    whole,
)

Stage: TypeAlias = Literal["connect", "helo", "mail", "rcpt", "data", "message"]
STAGES: Final = ("connect", "helo", "mail", "rcpt", "data", "message")
LogFormat: TypeAlias = Literal["text", "json"]
BlocklistFormat: TypeAlias = Literal["plain", "rbldnsd", "nft", "json"]
BLOCKLIST_FORMATS: Final = ("plain", "rbldnsd", "nft", "json")

# What may count as evidence against a caller.
EVIDENCE: Final = {
    "mail": "MAIL with a reverse-path",
    "bounce": "MAIL FROM:<>, as in bounces and callouts",
    "rcpt": "RCPT",
    "data": "DATA",
    "auth": "AUTH, which this server never announces",
    "pregreet": "a command sent before the greeting",
    "errors": "closed for too many errors",
    "connected": "any session",
}

SMTP_PORT: Final = 25
MONITOR_PORT: Final = 26

# Not settings: the limits for connections on the monitor port, logged in and not logged in.
MONITORS_MAX: Final = 8
UNAUTHENTICATED_MAX: Final = 64

STDOUT: Final = "-"  # as `log_dir`

Warn: TypeAlias = Callable[[str], None]
Origin: TypeAlias = Literal["default", "tarpit", "file", "monitor", "command line"]


class Settings(NamedTuple):
    """All settings, with their defaults. Immutable. Times are in seconds; 0 = off where allowed."""

    listen: tuple[str, ...] = ("0.0.0.0", "::")
    port: int = SMTP_PORT
    monitor_listen: tuple[str, ...] = ("127.0.0.1", "::1")
    monitor_port: int = MONITOR_PORT
    monitor_tls_cert: str = ""
    monitor_tls_key: str = ""
    monitor_cleartext: bool = False
    slots: int = 25
    slots_per_client: int = 5
    limit_exempt: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    proxies: tuple[str, ...] = ()
    evict_after_s: float = 5.0
    idle_timeout_s: float = 30.0
    session_timeout_s: float = 600.0
    quiet_timeout_s: float = 30.0
    tarpit: bool = False
    greet_delay_s: float = 0.0
    reply_delay_s: float = 0.0
    stutter_bytes_per_s: int = 0
    greeting: str = "Welcome!"
    hostname: str = ""
    server_name: str = ""
    enhanced_status_codes: bool = False
    refusal: str = ""
    ehlo_keywords: tuple[str, ...] = ("8BITMIME", "SIZE 4000000", "DSN", "HELP")
    tls_cert: str = ""
    tls_key: str = ""
    reject_at: Stage = "mail"
    accept_mail: bool = False
    log_data_events: bool = True
    log_local_ip: bool = False
    log_dir: str = ""
    log_format: LogFormat = "text"
    log_keep_days: int = 90
    log_max_bytes_per_day: int = 1 << 30
    log_min_free_bytes: int = 256 << 20
    metrics_file: str = ""
    state_dir: str = ""
    blocklist_file: str = ""
    blocklist_format: BlocklistFormat = "plain"
    blocklist_min_hits: int = 3
    blocklist_window_days: float = 30.0
    blocklist_expire_days: float = 7.0
    blocklist_evidence: tuple[str, ...] = ("mail", "auth", "pregreet", "errors")
    blocklist_never: tuple[str, ...] = ()


# The defaults with `tarpit = true`; settings that are given override them. At one byte a second a reply takes less than
# the 5 minutes that RFC 5321 section 4.5.3.2 grants, and a slow sender gets 5 minutes for a command. Two hours are
# enough to refuse 50 recipients, the most that Postfix sends in one message.
TARPIT: Final[Mapping[str, Any]] = {
    "greet_delay_s": 10.0,
    "reply_delay_s": 2.0,
    "stutter_bytes_per_s": 1,
    "idle_timeout_s": 300.0,
    "session_timeout_s": 7200.0,
    "quiet_timeout_s": 0.0,
}


class SettingsError(ValueError):
    """A setting is unknown or has an invalid value; the text has the place, the key and the allowed values."""


class Key(NamedTuple):
    """A key. `check` returns a value in its type, or raises ValueError with the allowed values."""

    check: Callable[[object], Any]
    help: str
    by_monitor: bool = False  # monitors may set it
    at_start: bool = False  # changing it needs a restart


_by_monitor: Final = partial(Key, by_monitor=True)
_at_start: Final = partial(Key, at_start=True)

_PORT: Final = whole(0, 65_535)
_PATH: Final = text("a path without control characters", r"[^\x00-\x1f\x7f]{0,1024}")
_FILE: Final = text("an absolute path without control characters", rf"({ROOT}[^\x00-\x1f\x7f]{{1,1023}})?")

KEYS: Final[dict[str, Key]] = {
    "listen": _at_start(
        list_of(address, 'a list of IP addresses, as in ["0.0.0.0", "::"]', least=1), "The addresses for senders."
    ),
    "port": _at_start(_PORT, "The SMTP port. 0 = any free port."),
    "monitor_listen": _at_start(
        list_of(address, 'a list of IP addresses, as in ["127.0.0.1", "::1"]', least=1),
        "The addresses for monitors. All but loopback need monitor_tls_cert and monitor_tls_key, or monitor_cleartext.",
    ),
    "monitor_port": _at_start(_PORT, "The monitor port. 0 = any free port."),
    "monitor_tls_cert": Key(
        _PATH, "The certificate for monitors elsewhere: PEM, with its chain. %d is systemd's $CREDENTIALS_DIRECTORY."
    ),
    "monitor_tls_key": Key(_PATH, "The private key of monitor_tls_cert: PEM. SIGHUP reads both again."),
    "monitor_cleartext": _at_start(
        switch,
        "Accept monitors on other machines without TLS. Anyone on the network path can then read and change"
        " everything except the magic word. With monitor_tls_cert, TLS is still used.",
    ),
    "slots": _at_start(whole(1, 60_000), "How many connections are served at the same time."),
    "slots_per_client": Key(whole(0, 60_000), "How many slots an IPv4 address or IPv6 /64 may use. 0 = no limit."),
    "limit_exempt": Key(
        list_of(network, 'a list of networks, as in ["127.0.0.0/8", "::1/128"]', most=500),
        "Networks without the limits of a client: for slots (slots_per_client), and for bytes of log.",
    ),
    "proxies": Key(
        list_of(network_of_few, 'a list of networks, as in ["192.0.2.10", "10.1.0.0/16"], but not 0.0.0.0/0 or ::/0'),
        "Networks of proxies, such as HAProxy with send-proxy. A connection from them must begin with a header of"
        " the PROXY protocol, version 1 or 2, which has the caller's address and port.",
    ),
    "evict_after_s": _at_start(
        seconds(1, 86_400), "When all slots are in use, a new caller gets the slot of a session idle for this long."
    ),
    "idle_timeout_s": _by_monitor(seconds(1, 86_400), "A session is closed this long after its last reply."),
    "session_timeout_s": _by_monitor(seconds(1, 604_800), "The longest a session may last."),
    "quiet_timeout_s": _by_monitor(
        seconds(1, 86_400, off=True),
        "When no new caller has come for this long, sessions idle for evict_after_s are closed. 0 = off.",
    ),
    "tarpit": _by_monitor(
        switch,
        "Make every caller wait. Changes these defaults: "
        + ", ".join(f"{name} = {value:g}" for name, value in TARPIT.items())
        + ". Settings that are given keep their values.",
    ),
    "greet_delay_s": _by_monitor(seconds(0.1, 60, off=True), "How long a caller waits for the greeting. 0 = off."),
    "reply_delay_s": _by_monitor(seconds(0.1, 60, off=True), "How long a caller waits for each reply. 0 = off."),
    "stutter_bytes_per_s": _by_monitor(
        whole(0, 1000),
        "Bytes of a reply per second. While fewer than a fifth of the slots are free, there is no delay. 0 = off.",
    ),
    "greeting": _by_monitor(
        text("1 to 200 printable ASCII characters", r"[ -~]{1,200}"),
        "The text after 220. {hostname}, {date} and {ip} are replaced; without any of them the date is appended.",
    ),
    "hostname": Key(
        text("a host name of at most 255 characters (letters, digits, - . _)", r"[A-Za-z0-9._-]{0,255}"),
        "The name of this server in its replies. Empty = the name of this machine.",
    ),
    "server_name": _at_start(
        text("at most 64 letters, digits and - . _", r"[A-Za-z0-9._-]{0,64}"),
        "The name of this server in its logs and metrics, for readers of several servers. Empty = none.",
    ),
    "refusal": _by_monitor(
        text("at most 400 printable ASCII characters", r"[ -~]{0,400}"),
        "The text of the refusal, for the reader of the bounce. {hostname} and {ip} are replaced; {sender} from"
        " reject_at = mail on; {recipient} at rcpt. Empty = the usual text.",
    ),
    "ehlo_keywords": Key(keywords, "What EHLO announces. SIZE also limits the messages of accept_mail."),
    "tls_cert": Key(
        _PATH, "The certificate for senders (STARTTLS): PEM, with its chain. %d is systemd's $CREDENTIALS_DIRECTORY."
    ),
    "tls_key": Key(_PATH, "The private key of tls_cert: PEM. SIGHUP reads both again."),
    "enhanced_status_codes": Key(
        switch, "Announce ENHANCEDSTATUSCODES; put RFC 3463 codes such as 5.7.1 into replies."
    ),
    "reject_at": _by_monitor(
        choice(STAGES),
        "The stage at which mail is refused. At connect, Postfix and OpenSMTPD retry for days instead of bouncing.",
    ),
    "accept_mail": _by_monitor(switch, "Accept every message and discard it. Honest mail is lost without a bounce."),
    "log_data_events": _by_monitor(switch, "Log and show what callers send and the replies, not only connections."),
    "log_local_ip": Key(switch, "Log the address that each caller connected to. It costs a system call a session."),
    "log_dir": _at_start(_PATH, "The log directory. Empty = the default; - = standard output."),
    "log_format": _at_start(choice(("text", "json")), "The format of a log line: `time event key=value ...` or JSON."),
    "log_keep_days": _at_start(whole(0, 36_500), "Logs older than this many days are removed. 0 = never."),
    "log_max_bytes_per_day": _at_start(
        whole(0, 1 << 50),
        "At this many bytes a day, logging stops until the next. One source can use a 64th. 0 = no limit.",
    ),
    "log_min_free_bytes": _at_start(whole(0, 1 << 50), "Logging stops at fewer free bytes on the disk. 0 = no limit."),
    "metrics_file": _at_start(_FILE, "A .prom file of counters for node_exporter's textfile collector. Empty = none."),
    "state_dir": _at_start(_PATH, "The state directory, with the settings that monitors change. Empty = the default."),
    "blocklist_file": _at_start(_FILE, "A file for the block list that the server keeps up to date. Empty = none."),
    "blocklist_format": _at_start(choice(BLOCKLIST_FORMATS), "The format of the block list."),
    "blocklist_min_hits": _at_start(
        whole(1, 1_000), "An IPv4 address or an IPv6 /64 is listed at this many hits. A hit is a session with evidence."
    ),
    "blocklist_window_days": _at_start(days(0.01, 3_650), "The time within which these hits must lie."),
    "blocklist_expire_days": _at_start(days(0.01, 3_650), "How long an address stays listed after its latest hit."),
    "blocklist_evidence": _at_start(
        list_of(choice(tuple(EVIDENCE)), f"a list of some of {', '.join(EVIDENCE)}", least=1),
        "What counts as evidence: " + "; ".join(f"{name} ({what})" for name, what in EVIDENCE.items()) + ".",
    ),
    "blocklist_never": Key(
        list_of(network_or_file, "a list of networks, and of absolute paths of files with networks", most=16),
        "Networks that are never listed, and files with such networks. Special-purpose networks and this server's"
        " own addresses are never listed either.",
    ),
}


# Old names of keys (commit 6869f68). They still work, with a warning.
OLD_NAMES: Final = {
    "stutter_octets_per_s": "stutter_bytes_per_s",
    "log_max_octets_per_day": "log_max_bytes_per_day",
    "log_min_free_octets": "log_min_free_bytes",
}


def key_of(name: str) -> Key:
    """Return the key of a name. Raises SettingsError with a similar name."""
    key = KEYS.get(name)
    if key is None:
        advice = did_you_mean(name, KEYS) or "; `smtppseudo config --default` lists all"
        raise SettingsError(f"unknown setting {name!r}{advice}")
    return key


def warn_at(place: object, warn: Warn) -> Warn:
    """Return a function that puts the place before a warning."""
    return lambda text: warn(f"{place}: {text}")


def current_name(name: str, names: Collection[str], warn: Warn) -> str:
    """Return the current name of a key; warn if `name` is its old one. Raises SettingsError if `names` have both."""
    current = OLD_NAMES.get(name, name)
    if current != name:
        if current in names:
            raise SettingsError(f"{name} is the old name of {current}, which is also given; remove {name}")
        warn(f"{name} is now called {current}; the old name still works")
    return current


def check(name: str, value: object) -> Any:
    """Return the checked value of a key. Raises SettingsError with the key and the allowed values."""
    key = key_of(name)
    try:
        return key.check(value)
    except ValueError as error:
        raise SettingsError(f"{name} must be {error}") from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question with the known word that is most similar; empty if none is."""
    import difflib  # noqa: PLC0415 - only after a mistake

    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
