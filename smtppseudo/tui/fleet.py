"""The fleet: a line for each of several servers, and their sums."""

from collections.abc import Sequence

from smtppseudo.events import printable
from smtppseudo.link.route import shown_names
from smtppseudo.tui import overview
from smtppseudo.tui.server_view import ServerView
from smtppseudo.tui.widgets.fleet_pane import ServerRow
from smtppseudo.tui.widgets.top_bar import Headline

_LOGINS = {"cookie": "cookie", "magic": "word"}
_DATE_LENGTH = len("2026-06-01 ")


def rows_of(views: Sequence[ServerView]) -> list[ServerRow]:
    """Return the lines of servers."""
    names = shown_names({view.place: view.own_name for view in views})
    return [_row_of(view, names[view.place]) for view in views]


def _row_of(view: ServerView, name: str) -> ServerRow:
    model, link, seen = view.model, view.link, view.link.seen
    row = ServerRow(name, trouble=link.error.short if link.error is not None else "connecting")
    if seen is not None:
        last = overview.last_connect(view)
        row = row._replace(
            slots=f"{model.board.open_count}/{len(model.board.rows)}",
            today=f"{model.mails_refused_today or 0:,}",
            minute=f"{model.rate.last_minute(view.second):,}",
            caller=model.last_caller[1],
            last=last[5:10] if len(last) > _DATE_LENGTH else last[:5],  # the date, if it was long ago
            version=printable(seen.server).removeprefix("smtppseudo "),
            login=_LOGINS.get(seen.user, ""),
        )
    if link.up is not None:
        is_online, warning = model.state == "online", overview.notice(view).partition("\n")[0]
        state = "● Online" if is_online else row.state
        row = row._replace(state=state, trouble=warning if is_online else "SMTP port closed", is_up=True)
    return row


def headline(views: Sequence[ServerView]) -> Headline:
    """Return what the top bar shows: the sums."""
    online = sum([view.link.up is not None and view.model.state == "online" for view in views])
    refused = sum([view.model.mails_refused_today or 0 for view in views])
    minute = sum([view.model.rate.last_minute(view.second) for view in views])
    facts = (f"{overview.mails_refused(refused)} today", f"{minute:,} in the last minute")
    return Headline("", online == len(views), f"{online} of {len(views)} servers online", facts)
