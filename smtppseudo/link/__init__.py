"""The client side of the monitor protocol: the pure machine, and the sockets around it."""
