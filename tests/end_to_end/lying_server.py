"""A server with a planted bug, which chaos must find: it acknowledges settlements before they are on disk."""

from __future__ import annotations

import threading

from router.cli.main import main
from router.ledger.base import Settlement, SettleResult
from router.ledger.sqlite.ledger import SqliteLedger

_LATER_S = 5.0
"""Later than its next kill."""
_settle = SqliteLedger.settle


def _settle_later(ledger: SqliteLedger, settlement: Settlement) -> SettleResult:
    later = threading.Timer(_LATER_S, _settle, (ledger, settlement))
    later.daemon = True
    later.start()
    return SettleResult(overage=0, late=False, repeated=False)


if __name__ == "__main__":
    SqliteLedger.settle = _settle_later  # type: ignore[method-assign]
    main()
