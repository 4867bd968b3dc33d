"""Widgets of the main screen. Each shows a part of the model and posts messages about what the operator does."""
