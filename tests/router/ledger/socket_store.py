"""A store behind a socket, as the processes of one service share it."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from router.ledger.local_socket.client import SocketLedger
from router.ledger.local_socket.observations import KeptObservations
from router.ledger.local_socket.server import LedgerServer
from router.ledger.memory import MemoryLedger
from router.ledger.rows import Balance, Row
from router.ledger.sqlite.ledger import SqliteLedger


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(128)
    return listener


class SharedLedger(SocketLedger):
    """The client and, in the same process, the owner of a store; the checker reads the owner's rows."""

    def __init__(self, owned: MemoryLedger | SqliteLedger) -> None:
        # Not in tmp_path: the path of a socket has a hundred characters at most.
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "ledger"
        super().__init__(path)
        self._owned = owned
        self._server = LedgerServer(owned, listening(path), KeptObservations()).__enter__()

    def close(self) -> None:
        super().close()
        self._server.__exit__()
        self._owned.close()
        self._folder.cleanup()

    def rows(self) -> Iterator[Row]:
        return self._owned.rows()

    def balances(self) -> Iterator[Balance]:
        return self._owned.balances()
