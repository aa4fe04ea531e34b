"""A repeated request gets the reply from before, whatever has changed since."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from router.core.errors import Conflict, NotPossible, Unavailable
from router.core.types import Constraints, Importance, Message, Prompt
from router.ledger.local_socket.client import SocketLedger
from router.ledger.memory import MemoryLedger
from router.ledger.time_budget import time_limit
from router.routing.reservations import HeldDecision
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_reservations
from router.settings import Settings
from tests.router.ledger.socket_store import listening

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


def test_a_store_that_does_not_answer_is_said_with_the_time_that_the_caller_has_waited(
    router: Router, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("s") / "s"
    with closing(listening(path)), closing(SocketLedger(path)) as silent:
        reservations = build_reservations(Settings(ledger="memory:"), router, silent)
        with (
            time_limit(1.0),
            pytest.raises(Unavailable, match=r"did not answer within 0\.[1-9]\d* s"),
        ):
            reservations.decide(QUERY, "again", "body", lambda _: b"")
