"""The aiosmtpd server under test: refuses MAIL with 553 and logs five lines a session.

    python aiosmtpd_server.py PORT LOG_FILE

The log is as cheap as it can be made here, so that the comparison is one of dialogues: lines gather in a
list and leave in one write per turn of the event loop.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

BACKLOG = 4096


class DatedLog:
    """Lines for a file, written once per turn of the loop."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._loop = loop
        self._lines: list[str] = []

    def add(self, event: str, peer: tuple[str, int], fields: str) -> None:
        """Add a line: time, event, peer and the event's own fields."""
        if not self._lines:
            self._loop.call_soon(self._flush)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._lines.append(f"{at} {event} ip={peer[0]} port={peer[1]} {fields}\n")

    def _flush(self) -> None:
        os.write(self._fd, "".join(self._lines).encode())
        self._lines.clear()


class Refusal:
    """The hooks that aiosmtpd calls for the commands: HELO, MAIL and QUIT, each logged."""

    def __init__(self, journal: DatedLog) -> None:
        self._journal = journal

    async def handle_HELO(  # noqa: N802 - aiosmtpd looks the hook up by this name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str
    ) -> str:
        """Greet the client."""
        session.host_name = hostname
        return self._answer(session, f"HELO {hostname}", f"250 Hello {hostname}, pleased to meet you.")

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuse every sender."""
        return self._answer(session, f"MAIL FROM:<{address}>", f"553 Sender {address} is Invalid!")

    async def handle_QUIT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Say goodbye; aiosmtpd closes."""
        return self._answer(session, "QUIT", "221 Server Disconnecting")

    def _answer(self, session: Session, command: str, reply: str) -> str:
        peer: Any = session.peer
        self._journal.add("command", peer, f'data="{command}" reply="{reply}"')
        return reply


class LoggedSMTP(SMTP):
    """aiosmtpd's protocol, which also logs when a connection begins and ends."""

    def __init__(self, journal: DatedLog, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(Refusal(journal), hostname="bench.invalid", loop=loop)
        self._journal = journal
        self._peer = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Log the peer before aiosmtpd greets it."""
        self._peer = transport.get_extra_info("peername")
        self._journal.add("connected", self._peer, "slot=1")
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Log the end."""
        self._journal.add("closed", self._peer, f"reason={'reset' if error else 'quit'}")
        super().connection_lost(error)


async def serve(port: int, log_file: Path) -> None:
    """Serve on 127.0.0.1 until the process is ended."""
    loop = asyncio.get_running_loop()
    journal = DatedLog(log_file, loop)
    server = await loop.create_server(
        lambda: LoggedSMTP(journal, loop), "127.0.0.1", port, backlog=BACKLOG, reuse_address=True
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
