"""Actions: everything that can be done on the main screen; keys, footer, help and palette draw on this table."""

from typing import Final, NamedTuple


class Action(NamedTuple):
    """One of them. `name` is the method `action_…` of the main screen; `footer` its name in the footer."""

    keys: str
    name: str
    title: str
    help: str
    footer: str = ""


ACTIONS: Final = (
    Action("question_mark,f1", "help", "Help", "What the keys do, and what the screen shows", "Help"),
    Action("s", "setup", "Setup", "Greeting of the server; address, port and magic word of this screen"),
    Action("o", "switch_server", "Start or stop server", "Open or close the SMTP port"),
    Action("l", "data_events", "Show/Log data events", "Whether what callers send is logged and shown"),
    Action("a", "accept_mail", "Accept Mail", "Whether every message is taken and thrown away"),
    Action("w", "magic_word", "New magic word", "Change the magic word of the server, which lets monitors in"),
    Action("v", "service", "Service", "Install, start, stop or uninstall the service of this machine"),
    Action("x", "disconnect", "Disconnect slot", "End the session in the slot under the cursor"),
    Action("f", "filter", "Filter", "Show only some slots or events, in the pane that has the focus", "Filter"),
    Action("slash", "search", "Search events", "Find words in the events", "Search"),
    Action("n", "search_on", "Next found", "Go to the next event that was searched for"),
    Action("N", "search_back", "Previous found", "Go to the one before"),
    Action("p", "pause", "Pause events", "Hold the events still; they are kept, and shown afterwards", "Pause"),
    Action("e", "follow", "Follow events", "Keep the newest event in view", "Follow"),
    Action("c", "sort", "Sort by the next column", "A click on a column's title sorts as well", "Sort"),
    Action("C", "reverse", "Reverse the order", "Sort the other way round"),
    Action("d", "details", "Details", "Server, connections per minute, top callers and service", "Details"),
    Action("r", "retry", "Connect now", "Try to connect at once, where there is no connection"),
    Action("t", "theme", "Dark or light", "Change the colours"),
    Action("q,ctrl+q", "leave", "Quit", "Close this screen; the server goes on", "Quit"),
)

OTHER_KEYS: Final = (
    ("Enter", "Transcript of the session in the slot under the cursor"),
    ("Tab", "Go to the other pane, or on to the buttons; Enter presses one"),
    ("Arrows", "Move, as Page, Home and End do; End in the events follows the newest"),
    ("Esc", "Leave a dialog or a filter"),
    ("Ctrl+P", "Command palette: all of this by name"),
)
