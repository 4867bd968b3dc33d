"""The service: its systemd units, putting them in place and taking them away, and what systemd says of them."""
