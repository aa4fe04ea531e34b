"""Several processes that serve together: their supervisor, the ledger's owner, and the lines between them."""
