"""Actions of the main screen: key bindings, footer, help and command palette come from this table."""

from typing import Final, NamedTuple


class ScreenAction(NamedTuple):
    """One action. The main screen's method is `action_NAME`; `footer` is the label in the footer, or empty."""

    keys: str
    name: str
    title: str
    help: str
    footer: str = ""


ACTIONS: Final = (
    ScreenAction("question_mark,f1", "help", "Help", "What the keys do, and what the screen shows", "Help"),
    ScreenAction("s", "setup", "Setup", "The server's greeting; which server to monitor, and its magic word"),
    ScreenAction("o", "switch_server", "Start or stop server", "Open or close the SMTP port"),
    ScreenAction("l", "data_events", "Show/Log data events", "Log and show what callers send, or not"),
    ScreenAction("a", "accept_mail", "Accept Mail", "Accept every message and throw it away, or refuse mail"),
    ScreenAction("w", "magic_word", "New magic word", "Change the server's magic word (the monitor password)"),
    ScreenAction("v", "service", "Service", "Install, start, stop or uninstall the service of this machine"),
    ScreenAction("x", "disconnect", "Disconnect slot", "End the session in the slot under the cursor"),
    ScreenAction("f", "filter", "Filter", "Show only some slots or events, in the pane that has the focus", "Filter"),
    ScreenAction("slash", "search", "Search events", "Find words in the events", "Search"),
    ScreenAction("n", "search_next", "Next match", "Go to the next event that matches the search"),
    ScreenAction("N", "search_previous", "Previous match", "Go to the previous event that matches the search"),
    ScreenAction("p", "pause", "Pause events", "Stop the list of events; new ones are shown when it goes on", "Pause"),
    ScreenAction("e", "follow", "Follow events", "Keep the newest event in view", "Follow"),
    ScreenAction("c", "sort", "Sort by the next column", "A click on a column's title sorts, too", "Sort"),
    ScreenAction("C", "reverse", "Reverse the order", "Sort in the other direction"),
    ScreenAction("d", "details", "Details", "Server, connections per minute, top callers and service", "Details"),
    ScreenAction("r", "retry", "Connect now", "Try to connect now, if there is no connection"),
    ScreenAction("t", "theme", "Dark or light", "Change the colours"),
    ScreenAction("q,ctrl+q", "leave", "Quit", "Close this screen; the server keeps running", "Quit"),
)

OTHER_KEYS: Final = (
    ("Enter", "Show the transcript of the session in the slot under the cursor"),
    ("Tab", "Go to the other pane or to the buttons; Enter presses a button"),
    ("Arrows", "Move, like Page, Home and End; End in the events follows the newest"),
    ("Esc", "Leave a dialog or a filter"),
    ("Ctrl+Z", "Suspend the screen; `fg` in the shell shows it again (not on Windows)"),
    ("Ctrl+P", "Command palette: every action by name"),
)
