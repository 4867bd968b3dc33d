"""The dialogue: pure machines that turn bytes and time into replies and events."""
