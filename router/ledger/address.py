"""From an address to a store."""

from __future__ import annotations

from pathlib import Path

from router.core.errors import InvalidInput
from router.ledger.base import Ledger
from router.ledger.memory import MemoryLedger

__all__ = ["open_ledger"]


def open_ledger(address: str) -> Ledger:
    """Open the store that an address names.

    Args:
        address: ``memory:`` (forgets on restart), ``sqlite:PATH`` (one server), or
            ``postgresql://…`` (many servers).

    Raises:
        InvalidInput: another kind of address.
        BadArtifact, Unavailable: the store cannot be opened.
    """
    kind, _, rest = address.partition(":")
    if kind == "memory" and not rest:
        return MemoryLedger()
    if kind == "sqlite" and rest:
        from router.ledger.sqlite.ledger import SqliteLedger

        path = Path(rest).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteLedger(path)
    if kind in ("postgresql", "postgres") and rest:
        from router.ledger.postgres.ledger import PostgresLedger

        return PostgresLedger(address)
    raise InvalidInput(
        "ledger: the address must be memory:, sqlite:PATH or postgresql://…", field="ledger"
    )
