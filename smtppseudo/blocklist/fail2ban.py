r"""fail2ban: a filter for the server's logs, in both formats, and a jail; each for log files and for the journal.

A filter matches a command with the reply 521, 550, 553 or 554, and AUTH with any reply. The expressions match from
the first byte of the line, and the address precedes all data of the caller. That data ends at a quote or a space, and
can contain neither. So a caller cannot cause another address to be banned.
"""

from typing import Final, NamedTuple

from smtppseudo.config.settings import STDOUT
from smtppseudo.log.records import TIME_SHAPE

FILTER_PATH: Final = "/etc/fail2ban/filter.d/smtppseudo.conf"
JAIL_PATH: Final = "/etc/fail2ban/jail.d/smtppseudo.conf"

_PLACE: Final = r"slot=\d+ session=\d+ ip=<ADDR> port=\d+ data="
_JSON_PLACE: Final = r'"slot":\d+,"session":\d+,"ip":"<ADDR>","port":\d+,"data":"'
_NO: Final = "(?:521|550|553|554)"


class Rules(NamedTuple):
    """The texts of a filter and of a jail."""

    filter: str
    jail: str


def rules(log_dir: str, port: int) -> Rules:
    """Render the rules for a directory of logs, or the journal where the server logs to standard output.

    The jail blocks `port`.
    """
    if log_dir == STDOUT:
        return Rules(_JOURNAL_FILTER, _JAIL.format(note="", source="backend  = systemd", port=port))
    files = f"backend  = auto\nlogpath  = {log_dir.replace('%', '%%')}/*.log"
    return Rules(_FILE_FILTER, _JAIL.format(note=_NOTE, source=files, port=port))


def _filter(logs: str, text: str, json: str, source: str) -> str:
    """Render a filter; `text` and `json` match the beginning of a line, `source` says how to find lines or dates."""
    text += _PLACE
    json += _JSON_PLACE
    return rf"""# fail2ban filter for {logs} of smtppseudo, log_format "text" or "json".
#
# It matches every command with the reply 521, 550, 553 or 554, and every AUTH. The expressions match from the start
# of the line, and the address precedes all data of the caller: no caller can cause another address to be banned.

[Definition]

failregex = {text}(?:"[^"]*"|[^ "]*) code={_NO} reply=
            {text}"?(?: |\\x0[9a-d])*(?i:AUTH)(?:"| |\\x0[9a-d])[^"]*"? ?code=\d+ reply=
            {json}(?:[^"\\]|\\.)*","code":{_NO},"reply":
            {json}(?: |\\\\x0[9a-d])*(?i:AUTH)(?:(?: |\\\\x0[9a-d])(?:[^"\\]|\\.)*)?","code":\d+,"reply":

{source}
"""


# In files, fail2ban removes the match of `datepattern` from the line; the expressions match the rest.
_FILE_FILTER: Final = _filter(
    "the log files",
    "^ command ",
    r'^","event":"command",',
    r'datepattern = ^(?:\{"time":")?%%Y-%%m-%%dT%%H:%%M:%%S\.%%f%%z',
)
# fail2ban puts host, name and process before a line of the journal, and takes the time from the journal.
_JOURNAL_FILTER: Final = _filter(
    "the journal",
    rf"^\S+ \S+\[\d+\]: {TIME_SHAPE} command ",
    rf'^\S+ \S+\[\d+\]: \{{"time":"{TIME_SHAPE}","event":"command",',
    "journalmatch = _SYSTEMD_UNIT=smtppseudo.service",
)

_NOTE: Final = """\
#
# fail2ban looks for log files only when it starts. Let cron reload it after midnight, for the log of each new day:
#   1 0 * * * root fail2ban-client reload smtppseudo > /dev/null
"""

_JAIL: Final = """\
# fail2ban jail for smtppseudo: an address with ten matches within a day is banned for a day.
{note}
[smtppseudo]

enabled  = true
filter   = smtppseudo
{source}
port     = {port}
findtime = 1d
maxretry = 10
bantime  = 1d
"""
