"""The main screen, and the dialogs in front of it."""
