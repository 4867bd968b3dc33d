"""Replies: named constants, and their encoding."""

from typing import Final, NamedTuple

REPLY_BYTES: Final = 512  # RFC 5321 section 4.5.3.1.5, CRLF included
ECHO_BYTES: Final = 64

_ECHO: Final = bytes(byte if 0x21 <= byte <= 0x7E else 0x3F for byte in range(256))


class Reply(NamedTuple):
    """A reply."""

    code: int
    text: str  # may hold {hostname}, filled in once, and {echo} and {ip}, filled in each time
    enhanced: str = ""  # status code (RFC 3463)

    def encode(self, hostname: str, *, enhanced: bool) -> bytes:
        """Return the bytes of the reply; `{echo}` and `{ip}` stay in them."""
        status = f"{self.enhanced} " if enhanced and self.enhanced else ""
        return encode_lines(self.code, [status + self.text.replace("{hostname}", hostname)])


def encode_lines(code: int, lines: list[str]) -> bytes:
    """Return a reply of one or more lines, each at most 512 bytes (RFC 5321 section 4.2.1)."""
    data = [line.encode("ascii", "replace")[: REPLY_BYTES - len("250 \r\n")] for line in lines]
    marks = b"-" * (len(data) - 1) + b" "
    return b"".join(b"%d%c%b\r\n" % (code, mark, line) for mark, line in zip(marks, data, strict=True))


def echo(data: bytes) -> bytes:
    """Return a caller's bytes for a reply: at most 64, with `?` for every byte outside 0x21-0x7E."""
    return data[:ECHO_BYTES].translate(_ECHO)


R214_HELP: Final = Reply(214, "See RFC 5321.", "2.0.0")
R220_TLS: Final = Reply(220, "Ready to start TLS", "2.0.0")
R221_QUIT: Final = Reply(221, "Server Disconnecting", "2.0.0")
R250_HELLO: Final = Reply(250, "Hello {echo} from {ip}, pleased to meet you.")
R250_SENDER: Final = Reply(250, "Sender {echo} Ok!", "2.1.0")
R250_RECIPIENT: Final = Reply(250, "Recipient {echo} Ok!", "2.1.5")
R250_RESET: Final = Reply(250, "Reset state.", "2.0.0")
R250_OK: Final = Reply(250, "OK", "2.0.0")
R250_BIT_BUCKET: Final = Reply(250, "Spam Message sent to the bit bucket!", "2.0.0")
R252_CANNOT_VERIFY: Final = Reply(252, "Cannot VRFY user.", "2.5.0")
R354_ENTER_MAIL: Final = Reply(354, "Enter mail, end with '.' on a line by itself")
R421_TOO_MANY_CONNECTIONS: Final = Reply(421, "Too many connections")  # in place of a greeting: no status code
R421_TOO_MANY_ERRORS: Final = Reply(421, "Too many errors", "4.7.0")
R421_IDLE: Final = Reply(421, "Connection timed out", "4.4.2")
R421_SESSION: Final = Reply(421, "Session timed out", "4.4.2")
R421_EVICTED: Final = Reply(421, "Too many connections, yours was idle", "4.7.0")
R421_CLOSING: Final = Reply(421, "{hostname} closing connection", "4.3.2")
R421_FAULT: Final = Reply(421, "Internal error", "4.3.0")
R454_NO_TLS: Final = Reply(454, "TLS not available due to temporary reason", "4.7.0")
R500_TOO_LONG: Final = Reply(500, "Line too long", "5.5.2")
R500_UNRECOGNIZED: Final = Reply(500, "Command unrecognized: {echo}", "5.5.1")
R501_HELO: Final = Reply(501, "helo requires domain address.")
R501_EHLO: Final = Reply(501, "ehlo requires domain address.")
R501_SENDER: Final = Reply(501, "Domain name required.", "5.5.4")
R501_RECIPIENT: Final = Reply(501, "Recipient address required.", "5.5.4")
R501_STARTTLS: Final = Reply(501, "Syntax error (no parameters allowed)", "5.5.4")
R501_VRFY: Final = Reply(501, "vrfy requires a user name.", "5.5.4")
R501_NO_ARGUMENT: Final = Reply(501, "No argument is allowed.", "5.5.4")
R502_NOT_IMPLEMENTED: Final = Reply(502, "Command not implemented.", "5.5.1")
R503_SENDER_GIVEN: Final = Reply(503, "Sender already given.", "5.5.1")
R503_SENDER_FIRST: Final = Reply(503, "Give the sender first.", "5.5.1")
R503_TLS_ACTIVE: Final = Reply(503, "TLS is active already.", "5.5.1")
R521_NO_MAIL: Final = Reply(521, "{hostname} does not accept mail", "5.3.2")
R550_NO_MAIL: Final = Reply(550, "{hostname} does not accept mail.", "5.7.1")
R550_NO_USERS: Final = Reply(550, "{ip} will not find any valid users on this server.", "5.1.1")
R552_TOO_BIG: Final = Reply(552, "Message exceeds the size announced.", "5.3.4")
R553_SENDER: Final = Reply(553, "Sender {echo} is Invalid!", "5.7.1")
R554_NO_RECIPIENTS: Final = Reply(554, "No valid recipients.", "5.5.1")
R554_REFUSED: Final = Reply(554, "Message refused.", "5.7.1")
