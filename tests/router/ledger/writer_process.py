"""Writes holds from many threads until it is killed; prints each id once it is acknowledged."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from pathlib import Path

from router.ledger.base import Granted
from router.ledger.sqlite.ledger import SqliteLedger
from tests.router.ledger.builders import hold, limit, report


def write(store: SqliteLedger) -> None:
    while True:
        name = uuid.uuid4().hex
        if isinstance(store.hold(hold(name, 1, user="ann")), Granted):
            os.write(1, f"held {name}\n".encode())
            store.settle(report(name, 1))
            os.write(1, f"settled {name}\n".encode())


if __name__ == "__main__":
    ledger = SqliteLedger(Path(sys.argv[1]))
    ledger.set_limit(limit(hard=10**9))
    for _ in range(8):
        threading.Thread(target=write, args=(ledger,)).start()
