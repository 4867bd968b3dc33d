"""The server: how the machines, the loop and the log are put together."""
