"""The slots as monitors see them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from smtppseudo.events import CloseReason, Command, escape, split_origin
from smtppseudo.monitor.codec import MAX_BYTES_TO_CLIENT, encode
from smtppseudo.smtp.said import Said
from smtppseudo.smtp.session import SmtpSession

ROWS_PER_FRAME: Final = 100
LAST_CHARS: Final = 500  # of the last line; a whole one has up to 8,192, which would be 500 MiB for 60,000 slots
_NO_COMMAND: Final = Command("", "")
_SILENT: Final = Said()


class Row(NamedTuple):
    """A session, and what may change of it, as it was at one moment; times in monotonic seconds."""

    session: SmtpSession
    helo: bytes
    mail_from: bytes
    last: Command
    commands: int
    idle_since: float
    close_reason: CloseReason | None


def take_rows(sessions: Iterable[SmtpSession]) -> list[Row]:
    """Return the present state of all sessions. This is fast, because there may be thousands."""
    rows = []
    for session in sessions:
        said = session.said or _SILENT
        helo, mail_from, last = said.helo or b"", said.mail_from or b"", said.last or _NO_COMMAND
        close_reason = None if session.is_open else session.close_reason
        rows.append(Row(session, helo, mail_from, last, said.commands, session.idle_since, close_reason))
    return rows


def show(rows: list[Row], slots: int, now: float, stamp_at: Callable[[float], str]) -> Iterator[dict[str, object]]:
    """Yield all slots as JSON objects, those never used last, as `free`. `stamp_at` renders a monotonic time."""
    for row in rows:
        yield _show(row, now, stamp_at)
    for slot in range(len(rows) + 1, slots + 1):
        yield {"slot": slot, "state": "free"}


def frames(head: Mapping[str, object], shown: Iterator[dict[str, object]]) -> Iterator[bytes]:
    """Yield frames with a list of slots: a hundred per frame, fewer if the frame would exceed 64 KiB."""
    chunk = list(islice(shown, ROWS_PER_FRAME))
    while True:
        following = list(islice(shown, ROWS_PER_FRAME))
        yield from _frames_of(head, chunk, more=bool(following))
        if not following:
            return
        chunk = following


def _frames_of(head: Mapping[str, object], chunk: list[dict[str, object]], *, more: bool) -> Iterator[bytes]:
    data = encode({**head, "slots": chunk, "more": more})
    if len(data) <= MAX_BYTES_TO_CLIENT or len(chunk) <= 1:
        yield data
        return
    half = len(chunk) // 2
    yield from _frames_of(head, chunk[:half], more=True)
    yield from _frames_of(head, chunk[half:], more=more)


def _show(row: Row, now: float, stamp_at: Callable[[float], str]) -> dict[str, object]:
    session, closed = row.session, row.close_reason is not None
    _, session_id, ip, port = split_origin(session.origin)
    shown: dict[str, object] = {
        "slot": session.slot,
        "state": "closed" if closed else "open",
        "session": int(session_id),
        "ip": ip,
        "port": int(port),
        "helo": escape(row.helo),
        "mail_from": escape(row.mail_from),
        "last": row.last.data[:LAST_CHARS],
        "error": row.last.reply if row.last.reply[:1] in ("4", "5") else "",
        "commands": row.commands,
        "connected_at": stamp_at(session.started_at),
        "idle_ms": max(0, round((now - row.idle_since) * 1000)),
    }
    if closed:
        shown["reason"] = row.close_reason
    return shown
