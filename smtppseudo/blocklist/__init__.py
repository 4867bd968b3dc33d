"""Block lists: which callers are listed, and in which formats. Text in, text out."""
