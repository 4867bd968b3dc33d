"""What both sides use of sockets: addresses, classes of errno, TLS."""
