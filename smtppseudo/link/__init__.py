"""The client side of the monitor protocol: a pure machine, the socket around it, and the way to a server.

The limits on what a server can make its client keep are constants called "a security limit". Events that nobody
fetches stay in the kernel's buffers, and the server drops what does not fit there.
"""
