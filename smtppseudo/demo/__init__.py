"""The parts of `smtppseudo demo`: made-up callers, and a server that leaves nothing behind."""
