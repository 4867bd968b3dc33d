"""`probe`: plays a sender against a mail server and prints both sides."""

import argparse
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final

from smtppseudo.cli import exits
from smtppseudo.cli.messages import print_line
from smtppseudo.cli.options import describe, host_and_port, port, seconds
from smtppseudo.cli.places import machine_name
from smtppseudo.events import escape
from smtppseudo.net.errnos import reason_of
from smtppseudo.smtp.prober import Probe, Prober, Verdict

if TYPE_CHECKING:
    from smtppseudo.net.tls import TlsSocket

_STATUS: Final = {Verdict.ACCEPTED: exits.FAILED, Verdict.REFUSED: exits.GOOD, Verdict.DEFERRED: exits.DEFERRED}


def add_probe(command: argparse.ArgumentParser) -> None:
    describe(
        command,
        "smtppseudo probe --port 2525 localhost",
        "No message is sent: where the server would accept one, the connection is dropped. Exit status: 0 refused"
        " permanently, 1 accepted, 75 deferred, 69 unreachable, or a reply is late, too long, or no SMTP.",
    )
    add = command.add_argument
    add("host", nargs="?", default="localhost", metavar="HOST", help="the server (localhost)")
    add("--port", type=port, metavar="PORT", help="its SMTP port, also as HOST:PORT (25)")
    add("--ehlo", metavar="NAME", help="the name after EHLO (that of this machine)")
    add("--helo", action="store_true", help="send HELO instead of EHLO")
    add("--pipeline", action="store_true", help="send MAIL, RCPT and DATA at once")
    sender = "probe@example.org"
    add("--from", dest="sender", default=sender, metavar="ADDRESS", help=f"the sender ({sender})")
    add("--to", dest="recipient", default="postmaster", metavar="ADDRESS", help="the recipient (postmaster)")
    add("--timeout", type=seconds, default=30.0, metavar="TIME", help="wait this long for each reply: 90s or 5m (30)")


def run(options: argparse.Namespace) -> int:
    """Play the dialogue; return the verdict as the exit status."""
    sender, recipient = (each if each.startswith("<") else f"<{each}>" for each in (options.sender, options.recipient))
    prober = Prober(Probe(options.ehlo or machine_name(), sender, recipient, options.helo, options.pipeline))
    host, given = host_and_port(options.host, options.port)
    place = f"{host} port {given or 25}"
    began = time.monotonic()
    try:
        sock = socket.create_connection((host, given or 25), timeout=options.timeout)
    except (OSError, UnicodeError) as error:
        advice = f"cannot reach {place}: {reason_of(error)}; check HOST and --port"
        raise exits.CommandError(advice, exits.UNREACHABLE) from None
    with sock:
        failure = _talk(sock, prober, began, options.timeout)
    if failure:
        raise exits.CommandError(f"{place}: {failure}; is it a mail server?", exits.UNREACHABLE)
    verdict = prober.verdict or Verdict.DEFERRED
    print_line(f"verdict: {verdict.value}")
    return _STATUS[verdict]


def _talk(connection: socket.socket, prober: Prober, began: float, timeout_s: float) -> str:
    """Play the dialogue to its end, each reply within `timeout_s`; return why it was given up, or an empty text."""
    sock: socket.socket | TlsSocket = connection
    printed, replies, give_up_at = 0, 0, time.monotonic() + timeout_s
    while not prober.violation:
        try:
            if prober.wants_tls:
                from smtppseudo.net import tls

                sock = tls.connect(connection, _left_s(give_up_at))
                prober.begin_again()
                sock.sendall(prober.data_to_send())
            data = _receive(sock, connection, give_up_at)
        except TimeoutError:
            return f"no whole reply within {timeout_s:g} s"
        except OSError as error:
            print_line(f"{time.monotonic() - began:8.3f}  -- {reason_of(error)}")
            data = b""
        prober.receive(data)
        for by, line in prober.dialogue[printed:]:
            print_line(f"{time.monotonic() - began:8.3f} {by}: {escape(line)}")
        printed = len(prober.dialogue)
        if prober.replies > replies:
            replies, give_up_at = prober.replies, time.monotonic() + timeout_s
        data_out = prober.data_to_send()
        if not data and not printed:
            return "it accepts connections but sends no greeting"
        if not data or (prober.verdict is not None and not data_out and not prober.awaits_reply):
            break
        if data_out:
            with contextlib.suppress(OSError):  # what the server has sent before is still read
                sock.sendall(data_out)
    return prober.violation


def _receive(sock: "socket.socket | TlsSocket", connection: socket.socket, give_up_at: float) -> bytes:
    """Return what the server sends before a time. Raises OSError; TimeoutError if nothing comes until then."""
    while True:
        connection.settimeout(_left_s(give_up_at))
        with contextlib.suppress(BlockingIOError):  # TLS has received a part of a record
            return sock.recv(4096)


def _left_s(give_up_at: float) -> float:
    """Return the seconds until a time. Raises TimeoutError when it has come."""
    left_s = give_up_at - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
