"""The screens: the main one, and those that come before it."""
