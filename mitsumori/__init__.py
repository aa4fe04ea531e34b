"""What callers import: the client of the service, and the generated messages."""
