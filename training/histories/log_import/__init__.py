"""From the logs of others, and from our own, to a history: one module per kind of log."""
