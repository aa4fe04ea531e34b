"""A limit on a share, and what a decision makes of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decision import decide
from router.core.errors import Exhausted
from router.core.limits import (
    Amounts,
    Limit,
    LimitState,
    Obstacle,
    Period,
    Unit,
    Window,
    find_obstacle,
)
from router.core.types import Candidate, Constraints, Decision, WillingnessToPay
from tests.builders import candidate

NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
ANYTHING = Constraints()
SCOPE = {"team": "blue", "tier": "high"}


def state(
    share: float | None = 0.1,
    *,
    whole: int = 0,
    spent: int = 0,
    held: int = 0,
    free: int = 0,
    hard: int | None = None,
    scope: dict[str, str] = SCOPE,
    unit: Unit = Unit.REQUESTS,
) -> LimitState:
    limit = Limit("cap", scope, unit, Window.MONTH, hard=hard, share=share, free=free)
    return LimitState(limit, "", NOVEMBER, spent, held, whole)


@pytest.mark.parametrize(
    ("found", "amount", "obstacle"),
    [
        (state(whole=9), 1, None),
        (state(whole=8), 1, Obstacle.EXHAUSTED),
        (state(whole=19, spent=1), 1, None),
        (state(whole=18, spent=1), 1, Obstacle.EXHAUSTED),
        (state(whole=18, held=1), 1, Obstacle.WAIT_FOR_HOLDS),
        (state(free=1), 1, None),
        (state(free=1), 2, Obstacle.EXHAUSTED),
        (state(whole=999, free=1, spent=99), 1, None),
        (state(whole=90, hard=3), 3, None),
        (state(whole=90, hard=3), 4, Obstacle.NEVER_FITS),
        (state(0.29, whole=99, spent=28), 1, None),
    ],
)
def test_a_share_is_exact_at_its_bound(
    found: LimitState, amount: int, obstacle: Obstacle | None
) -> None:
    assert find_obstacle(found, amount) is obstacle


@given(
    share=st.integers(1, 999_999),
    whole=st.integers(0, 10**12),
    taken=st.integers(0, 10**12),
    free=st.integers(0, 10**6),
    hard=st.none() | st.integers(0, 10**12),
)
def test_what_remains_fits_and_one_more_does_not(
    share: int, whole: int, taken: int, free: int, hard: int | None
) -> None:
    found = state(share / 1_000_000, whole=whole, spent=taken, free=free, hard=hard)
    remaining = found.remaining
    assert remaining is not None
    assert remaining == 0 or find_obstacle(found, remaining) is None
    assert find_obstacle(found, remaining + 1) is not None


def ladder(*states: LimitState) -> list[Candidate]:
    small = candidate("small", 0.5, price=("0.1", "0.4"), tier="low")
    large = candidate("large", 0.9, price=("5", "20"), tier="high")
    # The limit is on the high tier alone.
    return [
        small._replace(amounts=Amounts(10, 500)),
        large._replace(limits=states, amounts=Amounts(100, 500)),
    ]


def chosen(*states: LimitState, constraints: Constraints = ANYTHING) -> Decision:
    return decide(ladder(*states), constraints, WillingnessToPay(10**9), top_tier="high")


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


def test_within_its_share_the_top_tier_is_chosen_and_nothing_is_said() -> None:
    decision = chosen(state(whole=9))
    assert decision.chosen.model.id == "large"
    assert "TOP_TIER_CAPPED" not in codes(decision)


def test_beyond_its_share_another_tier_answers_and_the_reply_says_why() -> None:
    decision = chosen(state(whole=8))
    assert decision.chosen.model.id == "small"
    reason = next(each for each in decision.reasons if each.code == "TOP_TIER_CAPPED")
    assert reason.text == "limit cap keeps models of tier high out: its share of 10% is used up"
    assert reason.facts == {
        "limit": "cap",
        "balance": "",
        "unit": "requests",
        "spent": "0",
        "held": "0",
        "remaining": "0",
        "share": "0.1",
        "whole": "8",
        "resets": "2026-12-01T00:00:00+00:00",
    }


def test_an_amount_for_the_tier_that_is_used_up_is_said_in_the_same_way() -> None:
    decision = chosen(state(None, hard=50, unit=Unit.MONEY))
    reason = next(each for each in decision.reasons if each.code == "TOP_TIER_CAPPED")
    assert reason.text == "limit cap keeps models of tier high out: its amount is used up"


@pytest.mark.parametrize(("hard", "told"), [(100, False), (99, True)])
def test_a_tier_of_which_a_model_is_left_is_not_capped(hard: int, *, told: bool) -> None:
    cap = state(None, hard=hard, unit=Unit.MONEY)
    dearer = candidate("dearer", 0.95, price=("6", "30"), tier="high")
    both = [*ladder(cap), dearer._replace(limits=(cap,), amounts=Amounts(150, 500))]
    decision = decide(both, ANYTHING, WillingnessToPay(10**9), top_tier="high")
    assert decision.chosen.model.id == ("small" if told else "large")
    assert ("TOP_TIER_CAPPED" in codes(decision)) is told


def test_a_limit_on_something_else_than_tiers_is_no_cap_of_the_tier() -> None:
    decision = chosen(state(None, hard=50, unit=Unit.MONEY, scope={"model": "large"}))
    assert decision.chosen.model.id == "small"
    assert "TOP_TIER_CAPPED" not in codes(decision)


def test_a_request_that_takes_the_top_tier_only_is_refused() -> None:
    with pytest.raises(Exhausted, match="limit cap") as error:
        chosen(state(whole=8), constraints=Constraints(tiers=frozenset({"high"})))
    assert error.value.reason == "LIMIT_EXHAUSTED"
