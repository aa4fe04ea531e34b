"""The ledger: limits, holds and settlements, as rows. One protocol, three stores."""
