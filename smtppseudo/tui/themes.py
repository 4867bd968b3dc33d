"""Themes: the screen's own two, dark and light. Colours only repeat what words and signs say."""

from typing import Final

from textual.theme import Theme

DARK: Final = "smtppseudo-dark"
LIGHT: Final = "smtppseudo-light"

THEMES: Final = (
    Theme(
        name=DARK,
        primary="#5aa9ff",
        secondary="#7fb8a4",
        foreground="#d8dee9",
        background="#12161c",
        surface="#1a2029",
        panel="#202834",
        warning="#e6b450",
        error="#ff6b6b",
        success="#7fd18b",
        dark=True,
        variables={
            "muted": "#8a94a6",
            "notice": "#3a2a12",
            "resting": "#202834",
            "block-cursor-background": "#2f5f98",
            "block-cursor-foreground": "#ffffff",
        },
    ),
    Theme(
        name=LIGHT,
        primary="#0b5cad",
        secondary="#1f6f5c",
        foreground="#1f2630",
        background="#fbfbf8",
        surface="#ffffff",
        panel="#e9ecef",
        warning="#8a4b00",
        error="#b3261e",
        success="#1c6b34",
        dark=False,
        variables={
            "muted": "#626c7a",
            "notice": "#fbe9c6",
            "resting": "#e4e8ec",
            "block-cursor-background": "#0b5cad",
            "block-cursor-foreground": "#ffffff",
        },
    ),
)
