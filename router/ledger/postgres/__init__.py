"""The ledger in PostgreSQL, for replicas that share one database."""
