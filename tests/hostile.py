"""The hostile corpus: texts of callers and servers that would harm a terminal, a page, a log or a layout."""

import re
from typing import Final

MARKUP: Final = (
    "<script>document.title='pwned'</script>",
    "\"><img src=x onerror=document.title='pwned'>",
    "' onload=document.title='pwned' x='",
    "</text></svg></title></style></section><b>bold</b>",
    "<style>*{display:none}</style>",
    "<svg/onload=document.title='pwned'>",
    "<a href=javascript:alert(1)>x</a>",
    "]]><!--",
    "&lt;b&gt;&amp;&#x41;",
    "{0}$ink%s",
    "<" * 200,
    "+ADw-script+AD4-",
)
"""Texts that must not become markup of a page."""

CONTROL: Final = (
    "\x1b[2J\x1b[31m\x1b]0;pwned\x07",
    "\x9b2J\x9d0;pwned\x9c",
    "\x1bP+q544e\x1b\\\x1b[6n\x1b[c\x05",  # the terminal would reply
    "\x1b]52;c;cHduZWQ=\x07",  # the clipboard
    "\x1b]8;;https://evil.invalid\x1b\\click\x1b]8;;\x1b\\",
    "\x0e\x0f\x08\x08\x7f\x0b\x0c\x00",
    "\r\x1b[Kpwned",
    "\n2026-01-01T00:00:00.000Z offline by=pwned",
    "\x85\u2028\u2029pwned",
    "\u202etxt.exe\u2066 \u200f\u061c\u200b\ufeff",
    "日本語 \uff57\uff49\uff44\uff45 e\u0301\u0302\u0303 👩\u200d👩\u200d👧",
    "\udc80\udcff\udc9b31m",  # bytes that are not UTF-8
)
"""Texts that a terminal obeys, or shows as something else."""

LAYOUT: Final = (
    "[/x] [@click=app.exit]click[/] [bold]b[/bold]",
    "\\x1b[2J\\x1b]0;title\\x07",
    "$offline bold] %s {0} \\",
    '" event=online slot=1 ip=127.0.0.1',
    "'; $(touch pwned) `touch pwned` #",
    "--help",
    "x" * 4_000,
    "",
)
"""Texts that have a meaning for the screen, the log or a shell."""

HOSTILE: Final = MARKUP + LAYOUT + CONTROL


def data_of(text: str) -> bytes:
    """Return the bytes of a text, as a caller sends them."""
    return text.encode("utf-8", "surrogateescape")


def require_harmless(output: str) -> None:
    """Check that an output has no control character but LF, and only ASCII and the bars of a report."""
    assert (bad := re.search(r"[^\n -~█▇]", output)) is None, output[bad.start() - 200 : bad.end() + 20]
