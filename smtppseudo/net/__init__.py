"""The shell: sockets, clock and signals around the pure machines."""
