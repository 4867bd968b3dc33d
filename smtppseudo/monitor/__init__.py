"""The monitor protocol: the pure machines of the server side, and the values both sides exchange. See PROTOCOL.md."""
