r"""fail2ban: a filter for our logs, in both formats, and a jail.

A refusal is a command answered by a permanent no (521, 550, 553, 554), or AUTH, whatever the answer. The expressions
hold from the first byte of the line: the address stands before all that the peer sent, and what it sent ends where
its quote does, or a space, neither of which it can hold. So nobody can have another's address banned.
"""

from typing import Final

FILTER_PATH: Final = "/etc/fail2ban/filter.d/smtppseudo.conf"
JAIL_PATH: Final = "/etc/fail2ban/jail.d/smtppseudo.conf"

# fail2ban takes out what `datepattern` matches; this is the rest.
_TEXT: Final = r"^ command slot=\d+ session=\d+ ip=<ADDR> port=\d+ data="
_JSON: Final = r'^","event":"command","slot":\d+,"session":\d+,"ip":"<ADDR>","port":\d+,"data":"'
_NO: Final = "(?:521|550|553|554)"

FILTER: Final = rf"""# fail2ban filter for the logs of smtppseudo, log_format "text" or "json".
#
# It matches every refusal: a command answered 521, 550, 553 or 554, and AUTH. The address stands before all that the
# peer sent, and the expressions begin where the line does: no peer can have another's address banned.

[Definition]

failregex = {_TEXT}(?:"[^"]*"|[^ "]*) code={_NO} reply=
            {_TEXT}"?(?: |\\x0[9a-d])*(?i:AUTH)(?:"| |\\x0[9a-d])[^"]*"? ?code=\d+ reply=
            {_JSON}(?:[^"\\]|\\.)*","code":{_NO},"reply":
            {_JSON}(?: |\\\\x0[9a-d])*(?i:AUTH)(?:(?: |\\\\x0[9a-d])(?:[^"\\]|\\.)*)?","code":\d+,"reply":

datepattern = ^(?:\{{"time":")?%%Y-%%m-%%dT%%H:%%M:%%S\.%%f%%z
"""

_JAIL: Final = """# fail2ban jail for smtppseudo: whoever was told no ten times within a day is shut out for a day.
#
# fail2ban looks for log files when it starts, not later. Let cron tell it of each day's, after midnight:
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
    """Render the jail for a directory of logs and the port that is shut."""
    return _JAIL.format(log_dir=log_dir.replace("%", "%%"), port=port)
