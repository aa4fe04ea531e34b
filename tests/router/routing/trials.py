"""What tests of the shadow and of the canary have in common: a service, requests, and parts to try."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from router.core.types import Constraints, Importance, Message, Prompt
from router.decision_log.record import DecisionRecord
from router.decision_log.record_json import parse
from router.ledger.memory import MemoryLedger
from router.routing.reservations import Reservations
from router.routing.router import RouteQuery, Router
from router.routing.trial import Trial
from router.routing.trial_plan import CanaryPlan, ShadowPlan
from router.rpc.assembly import build_reservations
from router.rules.routing_table import Rules, parse_rules
from router.settings import Settings

SECRET = "What is the capital of Ruritania?"
QUERY = RouteQuery(
    "", {"tenant": "acme"}, Prompt((Message("user", SECRET),)), Constraints(), None,
    Importance.MEDIUM, "", 1,
)  # fmt: skip
FILE = Path("rules.yaml")


def now() -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC)


def rules(then: str) -> Rules:
    text = f'rules:\n  - name: tried\n    when: "true"\n    then: {then}\n'
    return parse_rules(text.encode(), name="rules.yaml")


DEAR = rules("{tier_floor: high}")
"""Everything is done by the best."""
NOTHING = rules('{max_price_usd: "0.000000001"}')
"""No model is so cheap, so that no request can be decided."""


def shadow_of(then: Rules = DEAR, **plan: object) -> Trial[ShadowPlan]:
    return Trial(ShadowPlan(rules=FILE, **plan), rules=then)  # type: ignore[arg-type]


def canary_of(then: Rules = DEAR, **plan: object) -> Trial[CanaryPlan]:
    return Trial(CanaryPlan(rules=FILE, **plan), rules=then)  # type: ignore[arg-type]


def service(router: Router, **changes: object) -> Reservations:
    found = build_reservations(
        Settings(ledger="memory:"), replace(router, rules=None), MemoryLedger(now)
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def decided(desk: Reservations, name: str, query: RouteQuery = QUERY) -> DecisionRecord:
    desk.decide(query, name, "body", lambda _: b"")
    kept = desk.ledger.decision(name)
    assert kept is not None
    return parse(kept.record)
