"""The monitor protocol: the machines of both sides, what they say to each other, and what is shown of it. Pure."""
