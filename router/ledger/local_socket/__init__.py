"""The ledger of another process of this machine, over a Unix domain socket."""
