"""Sockets, for both sides: addresses, classes of errno, TLS."""
