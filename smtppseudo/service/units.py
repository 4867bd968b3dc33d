"""The units: what systemd is told of smtppseudo, as text. Pure."""

import re
from functools import partial
from typing import Final, NamedTuple

from smtppseudo.config.settings import MONITOR_PORT, SMTP_PORT

SERVICE: Final = "smtppseudo.service"
SMTP_SOCKET: Final = "smtppseudo.socket"
MONITOR_SOCKET: Final = "smtppseudo-monitor.socket"
SOCKETS: Final = (SMTP_SOCKET, MONITOR_SOCKET)
UNITS: Final = (*SOCKETS, SERVICE)
SYSUSERS: Final = "smtppseudo.conf"
USER: Final = "smtppseudo"
USER_SAYS: Final = "smtppseudo mail server"
"""The GECOS field of the user, by which the one that was made for the service is known."""

MARKER: Final = "# Written by `smtppseudo install-service`"


class Plan(NamedTuple):
    """What the units are made of. `command` is what the service runs, its first word an absolute path."""

    command: tuple[str, ...]
    port: int = SMTP_PORT
    monitor_port: int = MONITOR_PORT
    is_for_user: bool = False
    has_ipv6: bool = True


class Endpoint(NamedTuple):
    """One port on some addresses."""

    addresses: tuple[str, ...]
    port: int


def unit_texts(plan: Plan) -> dict[str, str]:
    """Return the text of each unit by its name."""
    head = partial(_head, "systemctl --user edit" if plan.is_for_user else "systemctl edit")
    service = _USER_SERVICE if plan.is_for_user else _SYSTEM_SERVICE
    smtp, monitor = endpoints(plan)
    return {
        SMTP_SOCKET: head(SMTP_SOCKET) + _socket("senders", "smtp", smtp),
        MONITOR_SOCKET: head(MONITOR_SOCKET) + _socket("monitors", "monitor", monitor),
        SERVICE: head(SERVICE) + service.format(command=_command_line(plan.command)),
    }


def endpoints(plan: Plan) -> tuple[Endpoint, Endpoint]:
    """Return what is listened on for SMTP, and for monitors."""
    return (
        Endpoint(("0.0.0.0", "::")[: 1 + plan.has_ipv6], plan.port),
        Endpoint(("127.0.0.1", "::1")[: 1 + plan.has_ipv6], plan.monitor_port),
    )


def sysusers_text() -> str:
    """Return what systemd-sysusers makes the user and its group of."""
    return f'{MARKER}.\nu {USER} - "{USER_SAYS}"\n'


def is_ours(text: str) -> bool:
    """Say whether a file was written by us."""
    return text.startswith(MARKER)


def port_of(text: str) -> int | None:
    """Return the port that the text of a socket unit names."""
    found = re.search(r"^ListenStream=\S+:([0-9]{1,5})$", text, re.MULTILINE)
    return None if found is None else int(found[1])


def _command_line(command: tuple[str, ...]) -> str:
    """Write the value of ExecStart= (systemd.service(5), "Command lines")."""
    program, *arguments = (word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") for word in command)
    # In the program's own path a dollar sign stands for itself.
    words = [program, *(argument.replace("$", "$$") for argument in arguments)]
    return " ".join(word if re.fullmatch(r"[A-Za-z0-9@%+=:,./_-]+", word) else f'"{word}"' for word in words)


def _head(edit: str, name: str) -> str:
    return f"{MARKER}, which overwrites it.\n# Changes of your own: `{edit} {name}`.\n\n"


def _socket(whom: str, name: str, endpoint: Endpoint) -> str:
    hosts = (f"[{address}]" if ":" in address else address for address in endpoint.addresses)
    listen = "\n".join(f"ListenStream={host}:{endpoint.port}" for host in hosts)
    return _SOCKET.format(whom=whom, listen=listen, name=name, service=SERVICE)


# FreeBind: ::1 can be bound where IPv6 is switched off by sysctl, too. The limit on triggers is for a service that
# ends at once each time, as with a mistake in its settings: a connection that waits would start it again for ever.
_SOCKET: Final = """\
[Unit]
Description=smtppseudo, the port for {whom}

[Socket]
{listen}
BindIPv6Only=ipv6-only
FreeBind=yes
Backlog=4096
FileDescriptorName={name}
Service={service}
TriggerLimitIntervalSec=30
TriggerLimitBurst=20

[Install]
WantedBy=sockets.target
"""

# A server that is killed while its port is closed takes the socket unit with it. The next start brings that back
# (Requires=, Sockets=), and there always is a next start (StartLimitIntervalSec=0).
_UNIT: Final = f"""\
[Unit]
Description=smtppseudo, a mail server that takes no mail
Requires={" ".join(SOCKETS)}
After={" ".join(SOCKETS)}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
Sockets={" ".join(SOCKETS)}
ExecStart={{command}}
ExecReload=/bin/kill -HUP $MAINPID
SyslogIdentifier=smtppseudo
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=78
WatchdogSec=30
TimeoutStopSec=10
LimitNOFILE=65536
"""

# The rules that a user's manager can apply: those that need no name space. Without connect() a listening socket cannot
# be made one that calls out, though it is of the machine's network.
_PROCESS_RULES: Final = """\
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources connect
SystemCallErrorNumber=EPERM
"""

_ALSO: Final = f"Also={' '.join(SOCKETS)}\n"

_SYSTEM_SERVICE: Final = f"""\
{_UNIT}TasksMax=16
MemoryMax=512M

# Members of the group can read logs and cookie.
User={USER}
Group={USER}
UMask=0027
ConfigurationDirectory=smtppseudo
StateDirectory=smtppseudo
StateDirectoryMode=0750
LogsDirectory=smtppseudo
LogsDirectoryMode=0750

# It is handed its sockets, so it needs no network of its own, and no privilege.
CapabilityBoundingSet=
PrivateNetwork=yes
PrivateUsers=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateIPC=yes
PrivateMounts=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RemoveIPC=yes
KeyringMode=private
{_PROCESS_RULES}
[Install]
WantedBy=multi-user.target
{_ALSO}"""

_USER_SERVICE: Final = f"""\
{_UNIT}UMask=0077
{_PROCESS_RULES}
[Install]
WantedBy=default.target
{_ALSO}"""
