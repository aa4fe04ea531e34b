"""A repeated request gets the reply from before, whatever has changed since."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from router.core.errors import Conflict, NotPossible
from router.core.types import Constraints, Importance, Message, Prompt
from router.ledger.memory import MemoryLedger
from router.routing.reservations import HeldDecision
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_reservations
from router.settings import Settings

QUERY = RouteQuery(
    "again", {"tenant": "acme"}, Prompt((Message("user", "What is DNS?"),)), Constraints(), None,
    Importance.MEDIUM, "", 1,
)  # fmt: skip
IMPOSSIBLE = replace(QUERY, constraints=Constraints(max_price_nanos=0))


def test_it_is_given_again_where_nothing_could_be_chosen_now(router: Router) -> None:
    ledger = MemoryLedger(lambda: datetime(2026, 11, 1, tzinfo=UTC))
    reservations = build_reservations(Settings(ledger="memory:"), router, ledger)
    replies = iter((b"first", b"second"))

    def render(_: HeldDecision) -> bytes:
        return next(replies)

    with pytest.raises(NotPossible):
        reservations.decide(IMPOSSIBLE, "again", "body", render)
    assert reservations.decide(QUERY, "again", "body", render) == b"first"
    assert reservations.decide(QUERY, "again", "body", render) == b"first"
    # The same request, as it would be decided on a catalog of dearer models.
    assert reservations.decide(IMPOSSIBLE, "again", "body", render) == b"first"
    with pytest.raises(Conflict):
        reservations.decide(IMPOSSIBLE, "again", "another body", render)
