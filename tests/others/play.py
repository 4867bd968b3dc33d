"""Plays a dialogue with any server, and records the class of each reply: its first digit."""

import socket
from typing import BinaryIO, Final

from tests.clients import LIMIT_S
from tests.others.dialogues import Dialogue, Message

CLOSED: Final = "closed"
NOT_SENT: Final = "-"
"""A message where DATA was not answered with 354."""


def classes(port: int, dialogue: Dialogue) -> list[str]:
    """Return the class of the reply to each step, up to the end of the connection."""
    found: list[str] = []
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as sock, sock.makefile("rb") as stream:
        assert _reply(stream).startswith("220")
        for step in dialogue:
            if isinstance(step, Message) and found[-1] != "3":
                found.append(NOT_SENT)
                continue
            if not isinstance(step, Message) and found[-1:] == ["3"]:
                sock.sendall(b".\r\n")  # the dialogue holds no message here
                assert _reply(stream)
            data = step.data if isinstance(step, Message) else step.encode("latin-1") + b"\r\n"
            try:
                sock.sendall(data)
                reply = _reply(stream)
            except ConnectionError:
                reply = ""
            found.append(reply[:1] or CLOSED)
            if not reply:
                break
        if dialogue[-1] == "QUIT" and found[-1] != CLOSED:
            assert _is_over(stream)  # after 221 the connection must end
    return found


def _reply(stream: BinaryIO) -> str:
    """Read one reply and return its first line; empty at the end of the connection."""
    lines = [stream.readline().decode("latin-1")]
    while lines[-1][3:4] == "-":
        lines.append(stream.readline().decode("latin-1"))
    return lines[0]


def _is_over(stream: BinaryIO) -> bool:
    try:
        return stream.read() == b""
    except ConnectionError:
        return True
