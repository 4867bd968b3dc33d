r"""fail2ban: a filter for the server's logs, in both formats, and a jail.

The filter matches a command with the reply 521, 550, 553 or 554, and AUTH with any reply. The expressions match from
the first byte of the line, and the address precedes all data of the caller. That data ends at a quote or a space, and
can contain neither. So a caller cannot cause another address to be banned.
"""

from typing import Final

FILTER_PATH: Final = "/etc/fail2ban/filter.d/smtppseudo.conf"
JAIL_PATH: Final = "/etc/fail2ban/jail.d/smtppseudo.conf"

# fail2ban removes the match of `datepattern` from the line; these match the rest.
_TEXT: Final = r"^ command slot=\d+ session=\d+ ip=<ADDR> port=\d+ data="
_JSON: Final = r'^","event":"command","slot":\d+,"session":\d+,"ip":"<ADDR>","port":\d+,"data":"'
_NO: Final = "(?:521|550|553|554)"

FILTER: Final = rf"""# fail2ban filter for the logs of smtppseudo, log_format "text" or "json".
#
# It matches every command with the reply 521, 550, 553 or 554, and every AUTH. The expressions match from the start
# of the line, and the address precedes all data of the caller: no caller can cause another address to be banned.

[Definition]

failregex = {_TEXT}(?:"[^"]*"|[^ "]*) code={_NO} reply=
            {_TEXT}"?(?: |\\x0[9a-d])*(?i:AUTH)(?:"| |\\x0[9a-d])[^"]*"? ?code=\d+ reply=
            {_JSON}(?:[^"\\]|\\.)*","code":{_NO},"reply":
            {_JSON}(?: |\\\\x0[9a-d])*(?i:AUTH)(?:(?: |\\\\x0[9a-d])(?:[^"\\]|\\.)*)?","code":\d+,"reply":

datepattern = ^(?:\{{"time":")?%%Y-%%m-%%dT%%H:%%M:%%S\.%%f%%z
"""

_JAIL: Final = """# fail2ban jail for smtppseudo: an address with ten matches within a day is banned for a day.
#
# fail2ban looks for log files only when it starts. Let cron reload it after midnight, for the log of each new day:
#   1 0 * * * root fail2ban-client reload smtppseudo > /dev/null

[smtppseudo]

enabled  = true
filter   = smtppseudo
backend  = auto
logpath  = {log_dir}/*.log
port     = {port}
findtime = 1d
maxretry = 10
bantime  = 1d
"""


def jail(log_dir: str, port: int) -> str:
    """Render the jail for a directory of logs and the port that it blocks."""
    return _JAIL.format(log_dir=log_dir.replace("%", "%%"), port=port)
