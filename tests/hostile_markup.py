"""Texts of callers that would harm a page if they became markup."""

from typing import Final

HOSTILE: Final = (
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
