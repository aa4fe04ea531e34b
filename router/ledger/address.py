"""Opening the store of an address."""

from __future__ import annotations

from pathlib import Path

from router.core.errors import InvalidInput
from router.ledger.base import Ledger
from router.ledger.memory import MemoryLedger
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["check_ledger", "has_one_writer", "ledger_place", "open_ledger", "sqlite_path"]


def open_ledger(address: str, observer: Observer = UNOBSERVED) -> Ledger:
    """Open the store of an address.

    Args:
        address: ``memory:`` (lost on restart), ``sqlite:PATH`` (one server), or
            ``postgresql://…`` (many servers).
        observer: is told of every commit.

    Raises:
        InvalidInput: the address has another form.
        BadArtifact: the store is not a ledger, is damaged or was written by a newer version.
        Unavailable: the store cannot be opened now.
    """
    kind = _kind(address)
    if kind == "memory":
        return MemoryLedger(observer=observer)
    path = sqlite_path(address)
    if path is not None:
        from router.ledger.sqlite.ledger import SqliteLedger

        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteLedger(path, observer=observer)
    from router.ledger.postgres.ledger import PostgresLedger

    return PostgresLedger(address, observer=observer)


def check_ledger(address: str) -> None:
    """Refuse a store that a server of this version could not use now. Nothing is written; it may be in use.

    Raises:
        InvalidInput: the address has another form than :func:`open_ledger` takes.
        BadArtifact: the store is not a ledger, or was written by a newer version.
        Unavailable: the store cannot be reached, or is damaged.
    """
    kind, path = _kind(address), sqlite_path(address)
    if path is not None:
        from router.ledger.sqlite.file import check_file

        if path.exists():  # otherwise the first start makes it
            check_file(path)
    elif kind != "memory":
        from router.ledger.postgres.database import check_database

        check_database(address)


def has_one_writer(address: str) -> bool:
    """Whether only one process can have the store of an address open.

    Raises:
        InvalidInput: the address has another form than :func:`open_ledger` takes.
    """
    return _kind(address) in ("memory", "sqlite")


def sqlite_path(address: str) -> Path | None:
    """The file of a store in SQLite; ``None``: it is another store, or the address has no file."""
    kind, _, rest = address.partition(":")
    return Path(rest).expanduser() if kind == "sqlite" and rest else None


def ledger_place(address: str) -> str:
    """Where the store of an address lies, for people and logs: never with a user, a password or options.

    Raises:
        InvalidInput: the address has another form than :func:`open_ledger` takes.
    """
    kind, path = _kind(address), sqlite_path(address)
    if path is not None:
        return f"sqlite:{path.absolute()}"
    if kind == "memory":
        return address
    before, _, after = address.partition(":")[2].removeprefix("//").rpartition("@")
    # A password may hold any of these signs; then nothing says where it ends.
    if any(sign in before for sign in "@?/"):
        return f"{kind}://…"
    return f"{kind}://{after.partition('?')[0]}"


def _kind(address: str) -> str:
    kind, _, rest = address.partition(":")
    if bool(rest) != (kind == "memory") and kind in ("memory", "sqlite", "postgresql", "postgres"):
        return kind
    raise InvalidInput(
        "ledger: the address must be memory:, sqlite:PATH or postgresql://…", field="ledger"
    )
