"""The service control manager: registering the service, its state, and being the service. Windows only.

The module is a `System`; its functions may raise OSError and ToolError.
"""

import contextlib
import ctypes
import os
import sys
import threading
import time
import winreg
from collections.abc import Callable
from ctypes.wintypes import DWORD
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from smtppseudo import win32
from smtppseudo.config.settings import SettingsError
from smtppseudo.service.systemd import ToolError, UnitState
from smtppseudo.service.windows.plan import ACCOUNT, EVENTS_ADVICE, PRIVILEGE, RESTART_AFTER_S, Plan
from smtppseudo.service.windows.status import OWN_PROCESS, WAIT_HINT_MS, State, Status, status_after
from smtppseudo.win32 import SERVICE

assert sys.platform == "win32"  # noqa: S101 - mypy skips the rest elsewhere

_DISPLAY_NAME: Final = "smtppseudo (mail server that takes no mail)"
_TEXT: Final = "Answers port 25, refuses all mail permanently, and logs who called."
_CONNECT, _CREATE = 1, 2  # rights at the manager
_QUERY, _ALL = 4, 0xF01FF  # rights at the service
_AUTOMATIC, _BY_HAND, _LOG_ERRORS = 2, 3, 1  # how the manager starts it, and what it does if that fails
_RESTART, _ONE_DAY_S = 1, 86_400  # what it does after a failure, and when it forgets the number of failures
_DESCRIPTION, _FAILURE_ACTIONS, _ALSO_AFTER_ERRORS, _PRIVILEGES = 1, 2, 4, 6  # what ChangeServiceConfig2W changes
_STOP, _SHUTDOWN, _RELOAD, _INTERROGATE = 1, 5, 6, 4  # controls
_NOT_INSTALLED, _NOT_RUNNING, _UNKNOWN_LEVEL, _NO_CONTROL = 1060, 1062, 124, 120  # errors
_ERROR, _WARNING, _EVENT_ID = 1, 2, 1  # types of events, and the number of their message
_FAILED, _BAD_SETTINGS = 1, 78  # exit statuses, as of commands
_EVENT_BYTES_MAX: Final = 30_000
_POLL_S: Final = 0.05
_SERVICE_KEY: Final = rf"SYSTEM\CurrentControlSet\Services\{SERVICE}"
_SOURCE_KEY: Final = rf"SYSTEM\CurrentControlSet\Services\EventLog\Application\{SERVICE}"
_MESSAGES: Final = r"%SystemRoot%\System32\EventCreate.exe"  # message 1 is the text of the event

_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
_MAIN = ctypes.WINFUNCTYPE(None, DWORD, ctypes.c_void_p)
_HANDLER = ctypes.WINFUNCTYPE(DWORD, DWORD, DWORD, ctypes.c_void_p, ctypes.c_void_p)
Call: TypeAlias = Callable[[float], None]


class _Handle(ctypes.c_void_p):
    """A handle of the service control manager."""

    def __del__(self) -> None:
        _advapi32.CloseServiceHandle(self)


for _name in ("OpenSCManagerW", "OpenServiceW", "CreateServiceW"):
    getattr(_advapi32, _name).restype = _Handle
for _name in ("RegisterServiceCtrlHandlerExW", "RegisterEventSourceW"):
    getattr(_advapi32, _name).restype = ctypes.c_void_p


def _call(name: str, *arguments: Any, ignored: int | None = None) -> Any:
    """Call a function whose result says whether it succeeded. Raises OSError, except for an `ignored` error."""
    result = getattr(_advapi32, name)(*arguments)
    if not result and (code := ctypes.get_last_error()) != ignored:
        raise win32.error_of(code)
    return result


def _service(rights: int) -> _Handle:
    handle: _Handle = _call("OpenServiceW", _call("OpenSCManagerW", None, None, _CONNECT), SERVICE, rights)
    return handle


def state() -> State | None:
    try:
        return State(_query().state)
    except OSError as error:
        if error.winerror == _NOT_INSTALLED:
            return None
        raise


def registered(name: str) -> Any:
    """Return a value in the registry's key of the service; None if it is not installed."""
    with contextlib.suppress(FileNotFoundError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _SERVICE_KEY) as key:
        return winreg.QueryValueEx(key, name)[0]
    return None


def make_directory(path: Path, sddl: str) -> None:
    is_new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    win32.make_private(path, sddl)
    if is_new and any(path.iterdir()):  # until now, others could write there
        raise OSError(0, "another user has put files there since it was made; remove it")


def register(plan: Plan) -> None:
    start = _AUTOMATIC if plan.at_boot else _BY_HAND
    how = (OWN_PROCESS, start, _LOG_ERRORS, plan.command, None, None, _list("Tcpip"), ACCOUNT, None)
    if state() is None:
        manager = _call("OpenSCManagerW", None, None, _CONNECT | _CREATE)
        _call("CreateServiceW", manager, SERVICE, _DISPLAY_NAME, _ALL, *how)
    service = _service(_ALL)
    _call("ChangeServiceConfigW", service, *how, _DISPLAY_NAME)
    delays = [number for delay_s in RESTART_AFTER_S for number in (_RESTART, 1000 * delay_s)]
    actions, text, privileges = (DWORD * len(delays))(*delays), _list(_TEXT), _list(PRIVILEGE)
    # Structures whose fields are pointers, or numbers that are padded to the size of a pointer.
    for level, fields in (
        (_DESCRIPTION, (ctypes.addressof(text),)),
        (_FAILURE_ACTIONS, (_ONE_DAY_S, None, None, len(RESTART_AFTER_S), ctypes.addressof(actions))),
        (_ALSO_AFTER_ERRORS, (1,)),
        (_PRIVILEGES, (ctypes.addressof(privileges),)),
    ):
        values = (ctypes.c_void_p * len(fields))(*fields)
        _call("ChangeServiceConfig2W", service, level, values, ignored=_UNKNOWN_LEVEL)  # as in Wine
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, _SOURCE_KEY) as key:
        winreg.SetValueEx(key, "EventMessageFile", 0, winreg.REG_EXPAND_SZ, _MESSAGES)
        winreg.SetValueEx(key, "TypesSupported", 0, winreg.REG_DWORD, _ERROR | _WARNING)


def start() -> None:
    _call("StartServiceW", _service(_ALL), 0, None)
    status = _wait_for(State.RUNNING, State.STOPPED)
    if status.state == State.STOPPED:
        raise ToolError(f"it ended with exit status {status.exit_status or status.exit_code}; {EVENTS_ADVICE}")


def stop() -> None:
    _call("ControlService", _service(_ALL), _STOP, (DWORD * len(Status._fields))(), ignored=_NOT_RUNNING)
    _wait_for(State.STOPPED)


def delete() -> None:
    _call("DeleteService", _service(_ALL))
    with contextlib.suppress(FileNotFoundError):
        winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, _SOURCE_KEY)


def _list(*texts: str) -> Any:
    return ctypes.create_unicode_buffer("\0".join((*texts, "")))


def _query() -> Status:
    fields = (DWORD * len(Status._fields))()
    _call("QueryServiceStatus", _service(_QUERY), fields)
    return Status(*fields)


def _wait_for(*states: State) -> Status:
    give_up_at = time.monotonic() + WAIT_HINT_MS / 1000
    while (status := _query()).state not in states:
        if time.monotonic() > give_up_at:
            raise ToolError(f"the service is still {State(status.state).name.lower()}")
        time.sleep(_POLL_S)
    return status


def query_service() -> UnitState:
    """Return the state of the service, as the screen shows it."""
    try:
        now = state()
    except OSError as error:
        return UnitState(reason=f"The service control manager does not answer: {error.strerror}.")
    if now is None:
        return UnitState("no", "no", "no")
    running = "yes" if now is State.RUNNING else f"no ({now.name.lower()})"
    return UnitState("yes", running, "yes" if registered("Start") == _AUTOMATIC else "no")


class RunningService:
    """This process as the service: the manager runs `serve`, which gets `listen_for`, in a thread of its own."""

    def __init__(self, serve: Callable[[Callable[..., Callable[[], None]]], int]) -> None:
        self.exit_status = 0
        self._serve = serve
        self._handle = ctypes.c_void_p()
        self._last: Status | None = None
        self._lock = threading.Lock()
        self._calls: dict[int, Callable[[], None]] = {}

    def listen_for(self, reactor: Any, stop: Call, reload: Call) -> Callable[[], None]:
        """Let the manager stop the server and reload its settings, in a turn of the reactor."""
        self._calls = {_RELOAD: partial(reactor.call_soon, reload)}
        self._calls |= dict.fromkeys((_STOP, _SHUTDOWN), partial(reactor.call_soon, stop))
        reactor.call_soon(lambda now: self._report(State.RUNNING))  # noqa: ARG005 - in the first turn the ports are open
        return self._calls.clear

    def run(self) -> None:
        """Serve until the service has ended. Raises OSError if the manager has not started this process."""
        name, main = _list(SERVICE), _MAIN(self._main)
        entries = (ctypes.addressof(name), ctypes.cast(main, ctypes.c_void_p), None, None)
        _call("StartServiceCtrlDispatcherW", (ctypes.c_void_p * 4)(*entries))

    def _report(self, state: State, exit_status: int = 0) -> None:
        with self._lock:
            status = status_after(self._last, state, exit_status)
            if status is not None:
                self._last = status
                _advapi32.SetServiceStatus(self._handle, (DWORD * len(status))(*status))

    def _main(self, argc: int, argv: Any) -> None:  # noqa: ARG002
        handler = _HANDLER(self._control)
        self._handle.value = _call("RegisterServiceCtrlHandlerExW", SERVICE, handler, None)
        self._report(State.STARTING)
        reader, writer = os.pipe()
        sys.stderr = os.fdopen(writer, "w", encoding="ascii", errors="backslashreplace", buffering=1)
        recorder = threading.Thread(target=_record_warnings, args=(reader,))
        recorder.start()
        try:
            self.exit_status = self._serve(self.listen_for)
        except Exception as error:  # noqa: BLE001 - whatever it is: the manager gets a status, the event log the reason
            self.exit_status = _BAD_SETTINGS if isinstance(error, SettingsError) else _FAILED
            _record(_ERROR, str(error) or type(error).__name__)
        sys.stderr.close()
        recorder.join()
        self._report(State.STOPPED, self.exit_status)

    def _control(self, control: int, kind: int, data: object, context: object) -> int:  # noqa: ARG002
        if control in (_STOP, _SHUTDOWN):
            self._report(State.STOPPING)
        if control in self._calls:
            self._calls[control]()
        return 0 if control in (*self._calls, _INTERROGATE) else _NO_CONTROL


def _record_warnings(reader: int) -> None:
    """Record every text on standard error as an event."""
    while data := os.read(reader, _EVENT_BYTES_MAX):
        _record(_WARNING, data.decode("ascii").strip())
    os.close(reader)


def _record(kind: int, text: str) -> None:
    source = ctypes.c_void_p(_advapi32.RegisterEventSourceW(None, SERVICE))
    _advapi32.ReportEventW(source, kind, 0, _EVENT_ID, None, 1, 0, (ctypes.c_wchar_p * 1)(text), None)
    _advapi32.DeregisterEventSource(source)
