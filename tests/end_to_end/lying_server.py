"""A server with a planted bug, which chaos must find: it acknowledges settlements before they are on disk."""

from __future__ import annotations

import threading

from router.cli import main
from router.ledger.base import Settled, Settlement
from router.ledger.sqlite import SqliteLedger

_LATER_S = 0.5
_settle = SqliteLedger.settle


def _settle_later(ledger: SqliteLedger, settlement: Settlement) -> Settled:
    later = threading.Timer(_LATER_S, _settle, (ledger, settlement))
    later.daemon = True
    later.start()
    return Settled(overage=0, late=False, repeated=False)


if __name__ == "__main__":
    SqliteLedger.settle = _settle_later  # type: ignore[method-assign]
    main()
