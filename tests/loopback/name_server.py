"""A name server of a few names, and a command that asks it. For a network and mount namespace of their own.

    python -m tests.loopback.name_server COMMAND ...

It answers PTR (RFC 1035 section 3.5) for the names of `NAMES`, that there is none for others, and not at all for
`SILENT`.
"""

import socket
import struct
import subprocess
import sys
import threading

NAMES = {"192.0.2.1": b"one.example", "192.0.2.2": b"evil\x1b[31m.example"}
SILENT = "192.0.2.9"
_QUESTION_AT = 12
_NO_SUCH_NAME = 3


def answer(query: bytes) -> bytes | None:
    """Return the answer to a query of one question, None if it is to get none."""
    labels, at = [], _QUESTION_AT
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    question = query[_QUESTION_AT : at + 5]
    ip = ".".join(reversed(labels[:4]))
    if ip == SILENT:
        return None
    name = NAMES.get(ip)
    code = 0x8180 | (0 if name else _NO_SUCH_NAME)
    head = query[:2] + struct.pack("!5H", code, 1, bool(name), 0, 0)
    if name is None:
        return head + question
    data = b"".join(bytes([len(label)]) + label for label in name.split(b".")) + b"\0"
    return head + question + struct.pack("!3HIH", 0xC000 | _QUESTION_AT, 12, 1, 60, len(data)) + data


def serve(sock: socket.socket) -> None:
    """Answer for ever."""
    while True:
        query, peer = sock.recvfrom(512)
        reply = answer(query)
        if reply is not None:
            sock.sendto(reply, peer)


def main() -> int:
    """Serve while the command runs; return its status."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 53))
        threading.Thread(target=serve, args=(sock,), daemon=True).start()
        return subprocess.run(sys.argv[1:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
