"""A mail server that takes no mail, and the terminal monitor that watches it."""

__version__ = "1.0.0"
