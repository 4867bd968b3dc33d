"""The configuration: the current settings and their layers, with the changes that monitors make."""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from smtppseudo.config.settings import KEYS, TARPIT, Origin, Settings, SettingsError, Warn, check, current_name, key_of

Values: TypeAlias = Mapping[str, Any]


class Pinned(SettingsError):  # noqa: N818 - the protocol's name
    """A key that was given on the command line, so that monitors cannot change it."""


class Configuration:
    """Layers of checked values: defaults, `tarpit`, file, monitors, command line. Later layers override. Immutable.

    `of_machine` has the defaults of this machine, for keys whose empty value means them. `origins` names the layer of
    each value. `revision` grows with every change.
    """

    __slots__ = ("_command_line", "_file", "_of_machine", "monitor", "origins", "revision", "settings")

    def __init__(
        self, file: Values, monitor: Values, command_line: Values, of_machine: Mapping[str, str], revision: int = 1
    ) -> None:
        self._file = file
        self.monitor = monitor
        self._command_line = command_line
        self._of_machine = of_machine
        self.revision = revision
        layers: dict[Origin, Values] = {"file": file, "monitor": monitor, "command line": command_line}
        values: dict[str, Any] = dict(of_machine)
        origins: dict[str, Origin] = dict.fromkeys(KEYS, "default")
        for origin, layer in layers.items():
            given = {name: value for name, value in layer.items() if value != ""}
            values |= given
            origins |= dict.fromkeys(given, origin)
        if values.get("tarpit"):
            preset = {name: value for name, value in TARPIT.items() if origins[name] == "default"}
            values |= preset
            origins |= dict.fromkeys(preset, "tarpit")
        self.settings = Settings(**values)
        self.origins: Mapping[str, Origin] = origins

    def with_file(self, file: Values) -> "Configuration":
        """Return a configuration with another settings file."""
        return self._next(file, self.monitor)

    def with_set(self, changes: Mapping[str, object], warn: Warn) -> "Configuration":
        """Return a configuration with keys set by a monitor, all or none. Raises SettingsError or Pinned."""
        checked: dict[str, Any] = {}
        for given, value in changes.items():
            name = _settable(given, changes, warn)
            if name in self._command_line:
                raise Pinned(f"{name} was given on the command line of the server and cannot be changed while it runs")
            checked[name] = check(name, value)
        return self._next(self._file, {**self.monitor, **checked})

    def with_unset(self, keys: list[str], warn: Warn) -> "Configuration":
        """Return a configuration without the monitors' values of some keys. Raises SettingsError for unknown keys."""
        removed = {_settable(given, keys, warn) for given in keys}
        return self._next(self._file, {name: value for name, value in self.monitor.items() if name not in removed})

    def with_monitor(self, stored: Mapping[str, object], warn: Warn) -> "Configuration":
        """Return a configuration with the values that monitors set in an earlier run; warn about invalid ones."""
        valid: dict[str, Any] = {}
        for given, value in stored.items():
            try:
                name = _settable(given, stored, warn)
                valid[name] = check(name, value)
            except SettingsError as error:
                warn(str(error))
        return self._next(self._file, valid)

    def _next(self, file: Values, monitor: Values) -> "Configuration":
        return Configuration(file, monitor, self._command_line, self._of_machine, self.revision + 1)


def _settable(given: str, names: Collection[str], warn: Warn) -> str:
    """Return the current name of a key, like `current_name`. Raises SettingsError if monitors may not set it."""
    name = current_name(given, names, warn)
    if not key_of(name).by_monitor:
        settable = ", ".join([name for name, key in KEYS.items() if key.by_monitor])
        raise SettingsError(f"{name} cannot be set while the server runs; these can: {settable}")
    return name
