"""Settings: their table, their checks, the settings file, and the layers over the defaults."""
