"""The dialogs in front of the main screen."""
