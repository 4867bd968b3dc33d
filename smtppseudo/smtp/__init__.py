"""The dialogue: pure machines that turn octets and time into replies and events."""
