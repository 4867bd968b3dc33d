"""The systemd service: its units, installing and removing it, and its state."""
