"""The service on Windows, as far as Wine has what it needs."""
