"""Reading logs: text and JSON, plain and gzipped."""
