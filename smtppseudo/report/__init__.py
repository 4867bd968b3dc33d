"""Reports: what the logs say, for people and programs."""
