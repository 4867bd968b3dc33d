"""The log: how events are written as records, dated log files, the log on standard output."""
