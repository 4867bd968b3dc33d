"""The client side of the monitor protocol: a pure machine, the socket around it, and the way to a server.

Limits on what a server can make its client keep, each beside the code that applies it: one frame
(`codec.MAX_BYTES_TO_CLIENT`), one list of slots (`machine.SLOTS_MAX`), a slot, an event and a message
(`incoming.*_CHARS_MAX`), everything before the next value (`machine.BYTES_MAX`), the time of a snapshot
(`link.SNAPSHOT_TIMES`), and the events that arrive while a request waits for its reply (`link.QUEUED_MAX`). Events that
nobody fetches stay in the kernel's buffers, and the server drops what does not fit there.
"""
