"""The Windows service: its plan and states (pure), and what the service control manager does with them."""
