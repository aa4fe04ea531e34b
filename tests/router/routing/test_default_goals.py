"""What a request without a goal aims for, and what the settings change in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from router.core.types import (
    Constraints,
    Goal,
    Importance,
    Message,
    MissCost,
    Prompt,
    QualityTarget,
    WillingnessToPay,
)
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_router
from router.settings import Settings
from tests.conftest import NOON

ASK = RouteQuery(
    "", {}, Prompt((Message("user", "Prove that there are infinitely many primes."),)),
    Constraints(), None, Importance.MEDIUM, "", 1,
)  # fmt: skip


def built(**changes: Any) -> Router:
    """A router as the service builds it from these settings."""
    return build_router(Settings(ledger="memory:", **changes), now=lambda: NOON)


def goals(router: Router) -> list[Goal]:
    """By importance, from low to high."""
    return [router.assess(replace(ASK, importance=each)).goal for each in Importance]


def test_it_weighs_what_a_miss_costs_at_its_importance() -> None:
    assert goals(built(miss_costs={"low": "0.01", "high": "3"})) == [
        MissCost(10_000_000), MissCost(250_000_000), MissCost(3_000_000_000),
    ]  # fmt: skip


def test_it_has_a_quality_target_where_the_operator_set_one() -> None:
    assert goals(built(quality_targets={"medium": 0.7}, target_regret=0.1)) == [
        QualityTarget(0.4, 0.1), QualityTarget(0.7, 0.1), QualityTarget(0.8, 0.1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "aimed"),
    [
        (QualityTarget(0.9), QualityTarget(0.9, 0.2)),  # the regret is the operator's
        (WillingnessToPay(5), WillingnessToPay(5)),
        (MissCost(0), MissCost(0)),
    ],
)
def test_the_goal_of_a_request_comes_before_the_default(asked: Goal, aimed: Goal) -> None:
    router = built(target_regret=0.2)
    assert router.assess(replace(ASK, goal=asked)).goal == aimed


def test_the_regret_of_the_settings_decides_where_nobody_reaches_the_target() -> None:
    strict, easy = (
        built(target_regret=regret).route(replace(ASK, goal=QualityTarget(1.0))).decision
        for regret in (0.0, 1.0)
    )
    assert strict.chosen.model.tier == "high"
    assert easy.chosen.model.tier == "low"
    assert [one.reasons[0].facts["regret"] for one in (strict, easy)] == ["0.0000", "1.0000"]
