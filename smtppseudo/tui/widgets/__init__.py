"""The screen's widgets: each shows one part of the model and sends messages about what was done to it."""
