"""What `smtppseudo demo` is made of: made-up visitors, and a server that leaves nothing behind."""
