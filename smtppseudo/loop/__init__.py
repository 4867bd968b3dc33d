"""The event loop: one thread, one selector, one timer wheel; connections and listeners on it."""
