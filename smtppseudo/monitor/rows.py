"""The slots as monitors see them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
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
    helo: bytes | None
    mail_from: bytes | None
    last: Command | None
    commands: int
    idle_since: float
    close_reason: CloseReason | None


def take_rows(sessions: Iterable[SmtpSession]) -> list[Row]:
    """Return the present state of all sessions. This is fast, because there may be thousands."""
    rows = []
    for session in sessions:
        said = session.said or _SILENT
        reason = None if session.is_open else session.close_reason
        rows.append(Row(session, said.helo, said.mail_from, said.last, said.commands, session.idle_since, reason))
    return rows


def show(rows: list[Row], slots: int, now: float, stamp_at: Callable[[float], str]) -> Iterator[dict[str, object]]:
    """Yield all slots as JSON objects, those never used last, as `free`. `stamp_at` renders a monotonic time."""
    for session, helo, mail_from, command, commands, idle_since, reason in rows:
        _, session_id, ip, port = split_origin(session.origin)
        last = command or _NO_COMMAND
        shown: dict[str, object] = {
            "slot": session.slot,
            "state": "open" if reason is None else "closed",
            "session": int(session_id),
            "ip": ip,
            "port": int(port),
            "helo": escape(helo or b""),
            "mail_from": escape(mail_from or b""),
            "last": last.data[:LAST_CHARS],
            "error": last.reply if last.reply[:1] in ("4", "5") else "",
            "commands": commands,
            "connected_at": stamp_at(session.started_at),
            "idle_ms": max(0, round((now - idle_since) * 1000)),
        }
        yield shown if reason is None else {**shown, "reason": reason}
    for slot in range(len(rows) + 1, slots + 1):
        yield {"slot": slot, "state": "free"}


def frames(head: Mapping[str, object], shown: Iterator[dict[str, object]]) -> Iterator[bytes]:
    """Yield frames with a list of slots: a hundred per frame, fewer if the frame would exceed 64 KiB."""
    empty = encode({**head, "slots": [], "more": False})
    room = MAX_BYTES_TO_CLIENT - len(empty)
    begin, _, end = empty.rpartition(b"]")  # each row is encoded once, and stands between them
    chunk: list[bytes] = []
    size = 0
    for row in map(encode, shown):
        if chunk and (len(chunk) == ROWS_PER_FRAME or size + len(row) > room):
            yield begin + _joined(chunk) + b"]" + end.replace(b"false", b"true")
            chunk, size = [], 0
        chunk.append(row)
        size += len(row)  # its LF stands for the comma
    yield begin + _joined(chunk) + b"]" + end


def _joined(rows: list[bytes]) -> bytes:
    return b",".join([row[:-1] for row in rows])
