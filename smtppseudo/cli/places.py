"""Places: default files and directories, and reading the settings in them."""

import argparse
import os
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from smtppseudo.config.file import parse_file
from smtppseudo.config.layers import Configuration
from smtppseudo.config.settings import KEYS, SettingsError, Warn, check, warn_at
from smtppseudo.files import SETTINGS_FILE, SYSTEM_CONFIG, SYSTEM_LOGS, SYSTEM_STATE, StateDir, is_root
from smtppseudo.net.addresses import address_literal, machine_addresses

_NAME: Final = "smtppseudo"
_NO_HOME: Final = Path("/nonexistent")  # as in /etc/passwd for users without a home directory


class Places(NamedTuple):
    """The default directories of this user on this machine."""

    config: Path
    state: Path
    log: Path


def add_places(command: argparse.ArgumentParser) -> None:
    """Add options for the settings file, the state directory and the log directory."""
    add = command.add_argument
    config = "/etc/smtppseudo/smtppseudo.toml; not as root: ~/.config/smtppseudo/smtppseudo.toml"
    add("--config", metavar="FILE", help=f"the settings file ({config})")
    state = "/var/lib/smtppseudo; not as root: ~/.local/state/smtppseudo"
    add("--state-dir", metavar="DIR", help=f"the state directory, for changed settings ({state})")
    log = "/var/log/smtppseudo; not as root: ~/.local/state/smtppseudo/log"
    add("--log-dir", metavar="DIR", help=f"the log directory ({log})")


def usual_places(environ: Mapping[str, str] = os.environ) -> Places:
    """Return the default directories: root's, or the user's (XDG). systemd's variables override each of them.

    For a user without a home directory they are below a directory that does not exist; see `require_home`.
    """
    if os.name == "nt":
        base = Path(environ.get("PROGRAMDATA", r"C:\ProgramData")) / _NAME
        places = Places(base, base / "state", base / "log")
    elif is_root():
        places = Places(SYSTEM_CONFIG, SYSTEM_STATE, SYSTEM_LOGS)
    else:
        state = _xdg(environ, "XDG_STATE_HOME", ".local/state")
        places = Places(_xdg(environ, "XDG_CONFIG_HOME", ".config"), state, state / "log")
    by_systemd = (environ.get(f"{name}_DIRECTORY", "").partition(":")[0] for name in ("CONFIGURATION", "STATE", "LOGS"))
    return Places(*(Path(given) if given else usual for given, usual in zip(by_systemd, places, strict=True)))


def user_config() -> Path:
    """Return the directory of this user's (also root's) pins and screen settings."""
    if os.name == "nt":
        return Path(os.environ.get("APPDATA") or Path.home()) / _NAME
    return _xdg(os.environ, "XDG_CONFIG_HOME", ".config")


def require_home(*directories: str | Path) -> None:
    """Raise SettingsError if one of these is a default directory of a user without a home directory."""
    if any(Path(each).is_relative_to(_NO_HOME) for each in directories):
        raise SettingsError(
            "this user has no home directory for state and logs; set HOME or XDG_STATE_HOME, or name both:"
            " `smtppseudo serve --state-dir DIR --log-dir DIR`"
        )


def _xdg(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    base = environ.get(variable, "")
    # The XDG specification: a relative path is ignored.
    return (Path(base) if base.startswith("/") else _home(environ) / below_home) / _NAME


def _home(environ: Mapping[str, str]) -> Path:
    """Return the home directory: HOME, or the one in /etc/passwd. A relative path is none."""
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        import pwd

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return _NO_HOME
    return Path(home) if home.startswith("/") else _NO_HOME


def read_configuration(
    options: argparse.Namespace, warn: Warn, handed_over: Mapping[str, Any] | None = None
) -> Configuration:
    """Read the settings from all layers except monitors. Raises SettingsError.

    `handed_over` values come from the service manager. They override the command line, and belong to its layer.
    """
    places = usual_places()
    file = SettingsFile(options).read(warn)
    given: dict[str, Any] = {}
    for name in KEYS:
        if (value := getattr(options, name, None)) is not None:
            given[name] = check(name, value)
    used = {**file, **given}
    if handed_over:
        ignored = [name for name, value in handed_over.items() if used.get(name) and not _is_same(used[name], value)]
        if ignored:
            warn(
                f"warning: {' and '.join(ignored)} not used: the service manager has opened the ports, as its socket"
                " units say; `sudo systemctl edit smtppseudo-monitor.socket` or `smtppseudo.socket` changes that"
            )
        given |= handed_over
        used |= handed_over
    hostname = machine_name(used.get("listen", ()), None if used.get("hostname") else warn)
    defaults = {"hostname": hostname, "log_dir": str(places.log), "state_dir": str(places.state)}
    return Configuration(file, {}, given, defaults)


def machine_name(listen: tuple[str, ...] = (), warn: Warn | None = None) -> str:
    """Return the name of this machine; if that is no host name, the literal of an address that a server listens on."""
    name = socket.gethostname()
    try:
        if check("hostname", name):
            return name
    except SettingsError:
        pass
    own = [each for each in map(ip_address, listen) if not each.is_unspecified]
    others = map(ip_address, machine_addresses())
    own += sorted(others, key=lambda each: (each.is_loopback, each.is_link_local, str(each)))
    literal = address_literal(str(own[0]) if own else "127.0.0.1")
    if warn is not None:
        warn(f"warning: the name of this machine is no host name, so replies name {literal}; set hostname")
    return literal


def _is_same(given: Any, used: Any) -> bool:
    return set(given) == set(used) if isinstance(given, tuple) else bool(given == used)


def with_monitor_settings(configuration: Configuration, warn: Warn) -> Configuration:
    """Add the settings that monitors changed in earlier runs; warn about invalid ones and ignore them."""
    state = StateDir(Path(configuration.settings.state_dir))
    place = state.path / SETTINGS_FILE
    stored, problem = None, "not a JSON object"
    try:
        text = state.read(SETTINGS_FILE)
        if text is None:
            return configuration
        import json

        stored = json.loads(text)
    except OSError as error:
        problem = str(error.strerror)
    except (ValueError, RecursionError):
        pass
    if isinstance(stored, dict):
        return configuration.with_monitor(stored, warn_at(place, warn))
    warn(f"{place}: {problem}; settings changed by monitors are not in force")
    return configuration


def _require_encodable(place: str, value: object) -> None:
    """Raise SettingsError for a path that this process cannot name to the system."""
    for text in value if isinstance(value, tuple) else (value,):
        try:
            os.fsencode(text if isinstance(text, str) else "")
        except UnicodeEncodeError as error:
            raise SettingsError(
                f"{place}: {text} has characters that {error.encoding}, the encoding of this process, lacks;"
                " set LANG to a locale with UTF-8, such as C.UTF-8"
            ) from None


class SettingsFile:
    """The settings file in the options, or the default one, which may be missing. Raises SettingsError."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.must_exist = bool(options.config)
        self.path = Path(options.config) if options.config else usual_places().config / f"{_NAME}.toml"

    def read(self, warn: Warn) -> dict[str, Any]:
        """Return the checked values; none if the default file is missing. Raises SettingsError."""
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            if not self.must_exist:
                return {}
            advice = f"`smtppseudo config --default > {self.path}` creates one"
            raise SettingsError(f"{self.path}: no such file; {advice}") from None
        except OSError as error:
            advice = "the settings must be a file that this user can read"
            raise SettingsError(f"{self.path}: {error.strerror}; {advice}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{self.path}: not UTF-8 text; save it as UTF-8") from None
        values = parse_file(text, str(self.path), warn)
        for name, value in values.items():
            _require_encodable(f"{self.path}: {name}", value)
        return values


def may_share_cookie(state_dir: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the server's group may read the cookie: a system service's. A user's may have other members."""
    return state_dir.startswith("/var/lib/") and state_dir == environ.get("STATE_DIRECTORY", "").partition(":")[0]
