"""Limits inside the decision: warn, downgrade, put off, refuse."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decision import binding_limit, decide
from router.core.errors import Exhausted
from router.core.limits import (
    Amounts,
    Limit,
    LimitState,
    Obstacle,
    Period,
    SoftAction,
    Unit,
    Window,
)
from router.core.types import Candidate, Constraints, QualityTarget
from tests.builders import candidate

NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
MIDDLE = datetime(2026, 11, 16, tzinfo=UTC)
ANYTHING = Constraints()


def state(
    hard: int | None = None,
    *,
    spent: int = 0,
    held: int = 0,
    soft: int | None = None,
    on_soft: SoftAction = SoftAction.WARN,
    paced: bool = False,
    name: str = "budget",
) -> LimitState:
    limit = Limit(name, {}, Unit.MONEY, Window.MONTH, "UTC", soft, hard, on_soft, paced)
    return LimitState(limit, "", NOVEMBER, spent, held)


def ladder(*states: LimitState) -> list[Candidate]:
    """Holding the small model takes 10, the large 100."""
    small = candidate("small", 0.5, price=("0.1", "0.4"), tier="low")
    large = candidate("large", 0.9, price=("5", "20"), tier="high")
    return [
        small._replace(limits=states, amounts=Amounts(10, 500)),
        large._replace(limits=states, amounts=Amounts(100, 500)),
    ]


def chosen(*states: LimitState, target: float = 0.8, **more: object) -> tuple[str, list[str]]:
    decision = decide(ladder(*states), ANYTHING, QualityTarget(target), top_tier="high", **more)  # type: ignore[arg-type]
    return decision.chosen.model.id, [reason.code for reason in decision.reasons]


def refusal(*states: LimitState, **more: object) -> Exhausted:
    with pytest.raises(Exhausted) as caught:
        decide(ladder(*states), ANYTHING, QualityTarget(0.8), **more)  # type: ignore[arg-type]
    return caught.value


def test_plenty_left_changes_nothing() -> None:
    assert chosen(state(1000)) == ("large", ["CHEAPEST_ADEQUATE"])


def test_a_hard_limit_downgrades_before_it_refuses() -> None:
    model, codes = chosen(state(1000, spent=950))
    assert model == "small"
    assert "MODELS_EXCLUDED" in codes


@pytest.mark.parametrize(
    ("balance", "reason"),
    [
        (state(1000, spent=500, held=495), "LIMIT_WAIT_FOR_HOLDS"),
        (state(1000, spent=995), "LIMIT_EXHAUSTED"),
        (state(5), "LIMIT_NEVER_FITS"),
        (state(0), "LIMIT_NEVER_FITS"),
    ],
)
def test_the_error_says_why_nothing_fits(balance: LimitState, reason: str) -> None:
    error = refusal(balance)
    assert error.reason == reason
    assert error.metadata["limit"] == "budget"
    assert error.metadata["needed"] == "10"
    assert error.metadata["resets"] == "2026-12-01T00:00:00+00:00"


def test_of_two_limits_the_more_severe_obstacle_is_named() -> None:
    error = refusal(state(1000, held=995, name="waiting"), state(5, name="never"))
    assert (error.reason, error.metadata["limit"]) == ("LIMIT_NEVER_FITS", "never")


def test_warn_only_says_so() -> None:
    assert chosen(state(soft=50)) == ("large", ["CHEAPEST_ADEQUATE", "SOFT_LIMIT"])


def test_forbid_top_tier_leaves_it_out() -> None:
    model, codes = chosen(state(soft=50, on_soft=SoftAction.FORBID_TOP_TIER))
    assert model == "small"
    assert codes[0] == "DOWNGRADED"


def test_prefer_cheaper_takes_the_cheapest() -> None:
    model, codes = chosen(state(soft=50, on_soft=SoftAction.PREFER_CHEAPER))
    assert (model, codes[0]) == ("small", "DOWNGRADED")


def test_batch_work_is_put_off_and_other_work_is_not() -> None:
    balance = state(soft=5, on_soft=SoftAction.DEFER_BATCH)
    assert refusal(balance, batch=True).reason == "LIMIT_DEFERRED"
    assert chosen(balance)[0] == "large"


@pytest.mark.parametrize(
    ("spent", "model"), [(300, "large"), (399, "large"), (490, "small"), (900, "small")]
)
def test_a_paced_budget_follows_the_calendar(spent: int, model: str) -> None:
    # Half of the month is over: 500 of 1,000 is on the line.
    got, codes = chosen(state(1000, spent=spent, paced=True), moment=MIDDLE, target=0.51)
    assert got == model
    assert ("PACED" in codes) == (spent > 400)


balances = st.builds(
    state,
    st.none() | st.integers(0, 300),
    spent=st.integers(0, 300),
    held=st.integers(0, 300),
    soft=st.none() | st.integers(0, 300),
    on_soft=st.sampled_from(SoftAction),
    paced=st.booleans(),
    name=st.sampled_from("abc"),
)


@given(st.lists(balances, max_size=4), st.floats(0, 1), st.booleans())
def test_whatever_is_chosen_fits_under_every_hard_limit(
    states: list[LimitState], target: float, batch: bool
) -> None:
    try:
        decision = decide(
            ladder(*states), ANYTHING, QualityTarget(target), batch=batch, top_tier="high",
            moment=MIDDLE,
        )  # fmt: skip
    except Exhausted:
        return
    for ranked in decision.ranked:
        assert ranked.amounts is not None
        for balance in states:
            hard = balance.limit.hard
            assert hard is None or balance.spent + balance.held + ranked.amounts.money <= hard


@given(st.lists(balances, min_size=1, max_size=4))
def test_the_most_severe_obstacle_binds(states: list[LimitState]) -> None:
    found = binding_limit(ladder(*states)[1])
    if found is not None and found[1] is not Obstacle.NEVER_FITS:
        assert all(s.limit.hard is None or s.limit.hard >= 100 for s in states)
