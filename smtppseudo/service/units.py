"""The texts of the systemd units. Pure."""

import re
from typing import Final, NamedTuple

from smtppseudo.config.settings import MONITOR_PORT, SMTP_PORT
from smtppseudo.net.addresses import HOST_NET

SERVICE: Final = "smtppseudo.service"
SMTP_SOCKET: Final = "smtppseudo.socket"
MONITOR_SOCKET: Final = "smtppseudo-monitor.socket"
SOCKETS: Final = (SMTP_SOCKET, MONITOR_SOCKET)
UNITS: Final = (*SOCKETS, SERVICE)
WANTS: Final = ("sockets.target.wants", "multi-user.target.wants")
"""Where `systemctl enable` makes links to the units of the system."""
SYSUSERS: Final = "smtppseudo.conf"
USER: Final = "smtppseudo"
USER_GECOS: Final = "smtppseudo mail server"
"""The GECOS field of the service's user tells it from another user of that name."""
MARKER: Final = "# Written by `smtppseudo install-service`"
SYSUSERS_TEXT: Final = f'{MARKER}.\nu {USER} - "{USER_GECOS}"\n'
"""The file from which systemd-sysusers makes the user and its group."""


class Plan(NamedTuple):
    """The parameters of the units. `argv` runs the program, without a command; it begins with an absolute path."""

    argv: tuple[str, ...]
    port: int = SMTP_PORT
    monitor_port: int = MONITOR_PORT
    is_for_user: bool = False
    has_ipv6: bool = True


class Endpoint(NamedTuple):
    """A port and the addresses on which it is opened."""

    addresses: tuple[str, ...]
    port: int


def unit_texts(plan: Plan) -> dict[str, str]:
    """Return the text of each unit by its name."""
    edit = "systemctl --user edit" if plan.is_for_user else "systemctl edit"
    service = _USER_SERVICE if plan.is_for_user else _SYSTEM_SERVICE
    serve, check = _command_line((*plan.argv, "serve")), _command_line((*plan.argv, "config", "--check"))
    smtp, monitor = endpoints(plan)
    texts = {
        SMTP_SOCKET: _socket("senders", "smtp", smtp),
        MONITOR_SOCKET: _socket("monitors", "monitor", monitor),
        SERVICE: service.format(serve=serve, check=check),
    }
    head = f"{MARKER}, which overwrites it.\n# To change it: `{edit} "
    return {name: f"{head}{name}`.\n\n{text}" for name, text in texts.items()}


def endpoints(plan: Plan) -> tuple[Endpoint, Endpoint]:
    """Return the addresses and ports for SMTP and for monitors."""
    return (
        Endpoint(("0.0.0.0", "::")[: 1 + plan.has_ipv6], plan.port),
        Endpoint(("127.0.0.1", "::1")[: 1 + plan.has_ipv6], plan.monitor_port),
    )


def is_generated(text: str) -> bool:
    """Return whether `install-service` wrote a file with this text."""
    return text.startswith(MARKER)


def port_in(text: str) -> int | None:
    """Return the port of a socket unit that `install-service` wrote; None for any other text."""
    found = re.search(r"^ListenStream=\S+:([0-9]{1,5})$", text, re.MULTILINE)
    return int(found[1]) if found is not None and is_generated(text) else None


def _command_line(argv: tuple[str, ...]) -> str:
    """Return the value of ExecStart= (systemd.service(5), "Command lines")."""
    program, *arguments = (word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") for word in argv)
    # systemd expands no variables in the path of the program.
    words = [program, *(argument.replace("$", "$$") for argument in arguments)]
    return " ".join(word if re.fullmatch(r"[A-Za-z0-9@%+=:,./_-]+", word) else f'"{word}"' for word in words)


def _socket(clients: str, name: str, endpoint: Endpoint) -> str:
    hosts = (f"[{address}]" if ":" in address else address for address in endpoint.addresses)
    listen = "\n".join(f"ListenStream={host}:{endpoint.port}" for host in hosts)
    return _SOCKET.format(clients=clients, listen=listen, name=name, service=SERVICE)


# FreeBind: ::1 can be bound even where a sysctl turns IPv6 off. A trigger limit would close the port when the service
# fails again and again, and once more after it was mended, by the first caller. The service itself limits its starts.
_SOCKET: Final = """\
[Unit]
Description=smtppseudo, the port for {clients}

[Socket]
{listen}
BindIPv6Only=ipv6-only
FreeBind=yes
Backlog=4096
FileDescriptorName={name}
Service={service}
TriggerLimitIntervalSec=0

[Install]
WantedBy=sockets.target
"""

# A server that is killed while its port is closed takes the socket unit down with it. The next start brings the unit
# back (Requires=, Sockets=), and StartLimitIntervalSec=0 makes sure that there is a next start. On SIGHUP the server
# checks its settings itself, and keeps the old ones if they are wrong; the second ExecReload= tells that to systemctl.
# A mistake in the settings (78) does not restart the service, but the next caller does: not more than every 3 s.
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
ExecStart={{serve}}
ExecReload=/bin/kill -HUP $MAINPID
ExecReload={{check}}
SyslogIdentifier=smtppseudo
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=78
ExecStopPost=/bin/sh -c 'test "$$EXIT_STATUS" != 78 || exec sleep 3'
WatchdogSec=30
TimeoutStopSec=10
LimitNOFILE=65536
"""

# Rules that need no name space, so that a user's manager can apply them, too. The inherited sockets belong to the
# machine's network; without connect() and io_uring the server can use one to call out by MSG_FASTOPEN only.
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
SystemCallFilter=~@privileged @resources @aio connect
SystemCallErrorNumber=EPERM
"""

_ALSO: Final = f"Also={' '.join(SOCKETS)}\n"

# journald's own limit is some 10,000 lines in 30 s. This one is above what one process can write. 0 does not mean "no
# limit" here: systemd then tells journald nothing. A user's manager cannot tell it anything.
_SYSTEM_SERVICE: Final = f"""\
{_UNIT}TasksMax=16
MemoryMax=512M
LogRateLimitIntervalSec=1s
LogRateLimitBurst=1000000

# Members of the group can read the logs and the cookie.
User={USER}
Group={USER}
UMask=0027
ConfigurationDirectory=smtppseudo
StateDirectory=smtppseudo
StateDirectoryMode=0750
LogsDirectory=smtppseudo
LogsDirectoryMode=0750

# It inherits its sockets, so it needs no network of its own and no privilege. It sees the machine's addresses.
CapabilityBoundingSet=
PrivateNetwork=yes
TemporaryFileSystem={HOST_NET}:ro
BindReadOnlyPaths=-/proc/1/net/fib_trie:{HOST_NET}/fib_trie -/proc/1/net/if_inet6:{HOST_NET}/if_inet6
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
