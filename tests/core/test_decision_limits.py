"""Limits inside the decision: warn, downgrade, put off, refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decision import decide
from router.core.errors import Deferred, Exhausted
from router.core.exclusions import exclusion
from router.core.limit_effects import binding_limit
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
from router.core.types import (
    Candidate,
    Constraints,
    Goal,
    MissCost,
    QualityTarget,
    WillingnessToPay,
)
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
    share: float | None = None,
    free: int = 0,
    whole: int = 0,
) -> LimitState:
    scope = {} if share is None else {"tier": "high"}
    limit = Limit(
        name, scope, Unit.MONEY, Window.MONTH, "UTC", soft, hard, on_soft, paced, share, free
    )
    return LimitState(limit, "", NOVEMBER, spent, held, whole)


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


def test_of_two_limits_that_are_as_hopeless_the_last_by_name_is_named() -> None:
    for states in (
        (state(5, name="a"), state(5, name="b")),
        (state(5, name="b"), state(5, name="a")),
    ):
        assert refusal(*states).metadata["limit"] == "b"


def limited(small: LimitState, large: LimitState) -> list[Candidate]:
    """Each model counts on a limit of its own."""
    return [
        made._replace(limits=(balance,))
        for made, balance in zip(ladder(), (small, large), strict=True)
    ]


@pytest.mark.parametrize(
    ("small", "large", "told"),
    [
        (state(5, name="s"), state(100, held=1, name="l"), ("LIMIT_WAIT_FOR_HOLDS", "l", "100")),
        (state(10, spent=1, name="s"), state(5, name="l"), ("LIMIT_EXHAUSTED", "s", "10")),
        (state(10, held=1, name="s"), state(100, held=1, name="l"), ("LIMIT_WAIT_FOR_HOLDS", "s", "10")),
    ],
)  # fmt: skip
def test_of_what_blocks_each_model_the_most_hopeful_is_told_and_then_the_smallest(
    small: LimitState, large: LimitState, told: tuple[str, str, str]
) -> None:
    for order in (1, -1):
        with pytest.raises(Exhausted) as caught:
            decide(limited(small, large)[::order], ANYTHING, QualityTarget(0.8))
        metadata = caught.value.metadata
        assert (caught.value.reason, metadata["limit"], metadata["needed"]) == told


def test_of_models_that_need_as_much_the_first_limit_by_name_is_told() -> None:
    blocked = [
        made._replace(amounts=Amounts(100, 500))
        for made in limited(state(100, held=1, name="z"), state(100, held=1, name="y"))
    ]
    with pytest.raises(Exhausted) as caught:
        decide(blocked, ANYTHING, QualityTarget(0.8))
    assert caught.value.metadata["limit"] == "y"


def test_a_limit_in_the_way_goes_before_impossible_constraints() -> None:
    small, large = ladder(state(5))
    with pytest.raises(Exhausted):
        decide([small, large], Constraints(tiers=frozenset({"low"})), QualityTarget(0.8))


def test_the_facts_of_a_limit() -> None:
    assert refusal(state(1000, spent=500, held=495)).metadata == {
        "limit": "budget", "balance": "", "unit": "money", "spent": "500", "held": "495",
        "remaining": "5", "resets": "2026-12-01T00:00:00+00:00", "needed": "10",
    }  # fmt: skip


def test_a_total_has_no_reset_and_a_soft_limit_no_remainder() -> None:
    total = Limit("all", {}, Unit.MONEY, Window.TOTAL, soft=50)
    decision = decide(
        ladder(LimitState(total, "", NOVEMBER, 0, 0)), ANYTHING, QualityTarget(0.8), top_tier="high"
    )
    assert decision.reasons[-1].facts == {
        "limit": "all", "balance": "", "unit": "money", "spent": "0", "held": "0",
    }  # fmt: skip


def test_what_would_hold_nothing_passes_no_limit() -> None:
    """Where only a quote is asked for, hard and soft values stand in nobody's way."""
    free = [made._replace(amounts=None) for made in ladder(state(0, soft=0))]
    decision = decide(free, ANYTHING, QualityTarget(0.8), top_tier="high")
    assert [reason.code for reason in decision.reasons] == ["CHEAPEST_ADEQUATE"]
    assert binding_limit(free[0]) is None


def test_warn_only_says_so() -> None:
    assert chosen(state(soft=50)) == ("large", ["CHEAPEST_ADEQUATE", "SOFT_LIMIT"])


def test_a_soft_value_that_is_just_reached_is_not_passed() -> None:
    assert chosen(state(soft=100)) == ("large", ["CHEAPEST_ADEQUATE"])
    assert chosen(state(soft=99)) == ("large", ["CHEAPEST_ADEQUATE", "SOFT_LIMIT"])


def test_where_the_top_tier_is_all_there_is_it_is_not_forbidden() -> None:
    _, large = ladder(state(soft=50, on_soft=SoftAction.FORBID_TOP_TIER))
    decision = decide([large], ANYTHING, QualityTarget(0.8), top_tier="high")
    assert decision.chosen.model.id == "large"
    assert [reason.code for reason in decision.reasons] == ["CHEAPEST_ADEQUATE", "SOFT_LIMIT"]


def test_a_tier_below_the_top_is_not_forbidden() -> None:
    states = state(soft=5, on_soft=SoftAction.FORBID_TOP_TIER)
    assert chosen(states, target=0.4)[0] == "small"
    decision = decide(ladder(states), ANYTHING, QualityTarget(0.8), top_tier="low")
    assert decision.chosen.model.id == "large"


def test_forbid_top_tier_leaves_it_out() -> None:
    states = state(soft=50, on_soft=SoftAction.FORBID_TOP_TIER)
    assert chosen(states) == ("small", ["DOWNGRADED"])
    decision = decide(ladder(states), ANYTHING, QualityTarget(0.8), top_tier="high")
    assert decision.reasons[0].facts == {"without_limits": "large"}


def test_prefer_cheaper_takes_the_cheapest() -> None:
    model, codes = chosen(state(soft=50, on_soft=SoftAction.PREFER_CHEAPER))
    assert (model, codes[0]) == ("small", "DOWNGRADED")


def test_prefer_cheaper_takes_the_best_that_stays_below_and_else_the_cheapest() -> None:
    """Holding them takes 10, 50 and 100; the last is the best, and the second better than the first."""
    middle = candidate("middle", 0.7, price=("1", "4"), tier="medium")
    small, large = ladder()

    def ranked(soft: int) -> list[str]:
        states = (state(soft=soft, on_soft=SoftAction.PREFER_CHEAPER),)
        offers = [small, large, middle._replace(amounts=Amounts(50, 500))]
        made = [each._replace(limits=states) for each in offers]
        found = decide(made, ANYTHING, WillingnessToPay(10**9), top_tier="high").ranked
        return [each.model.id for each in found]

    assert ranked(100) == ["large", "middle", "small"]
    assert ranked(99) == ["middle", "small", "large"]
    assert ranked(50) == ["middle", "small", "large"]
    assert ranked(49) == ["small", "middle", "large"]
    assert ranked(9) == ["small", "middle", "large"]


def test_batch_work_is_put_off_and_other_work_is_not() -> None:
    balance = state(soft=5, on_soft=SoftAction.DEFER_BATCH)
    assert refusal(balance, batch=True).reason == "LIMIT_DEFERRED"
    assert chosen(balance)[0] == "large"


def test_batch_work_is_put_off_only_where_every_model_passes_the_soft_value() -> None:
    # The large model would take 100, the small one 10.
    assert chosen(state(soft=10, on_soft=SoftAction.DEFER_BATCH), batch=True)[0] == "large"
    assert (
        refusal(state(soft=9, on_soft=SoftAction.DEFER_BATCH), batch=True).metadata["spent"] == "0"
    )


def test_the_first_limit_of_the_first_model_by_name_puts_batch_work_off() -> None:
    small, large = (
        tuple(state(soft=5, on_soft=SoftAction.DEFER_BATCH, name=name) for name in names)
        for names in (("a", "b"), ("c", "d"))
    )
    both = [made._replace(limits=own) for made, own in zip(ladder(), (small, large), strict=True)]
    for order in (1, -1):
        with pytest.raises(Exhausted) as caught:
            decide(both[::order], ANYTHING, QualityTarget(0.8), batch=True)
        assert caught.value.metadata["limit"] == "c"


@pytest.mark.parametrize(
    ("key", "queue"), [("", "limit budget"), ("user=ann", "limit budget user=ann")]
)
def test_batch_work_that_is_put_off_waits_for_its_balance_of_that_limit(
    key: str, queue: str
) -> None:
    balance = replace(state(soft=5, on_soft=SoftAction.DEFER_BATCH), key=key)
    error = refusal(balance, batch=True)
    assert isinstance(error, Deferred)
    assert error.queue == queue


@pytest.mark.parametrize(
    ("spent", "model", "told"),
    [
        (400, "large", None),  # on 80 % of the line nothing gives way
        (450, "large", "0.2500"),  # worth 7.5 ct: .4 × 7.5 ct of surplus for 2 ct more
        (500, "small", "0.5000"),  # worth 5 ct: as much for .4 × 5 ct, and the cheaper is taken
        (600, "small", "1.0000"),  # worth nothing: only price counts
    ],
)
@pytest.mark.parametrize("goal", [WillingnessToPay(10**8), MissCost(10**8)], ids=repr)
def test_pacing_takes_from_what_an_answer_is_worth_or_a_miss_costs(
    goal: Goal, spent: int, model: str, told: str | None
) -> None:
    made = []
    for each, cents in zip(ladder(state(1000, spent=spent, paced=True)), (1, 3), strict=True):
        assert each.quote is not None
        price = each.quote.price._replace(expected=cents * 10**7)
        made.append(each._replace(quote=each.quote._replace(price=price)))
    decision = decide(made, ANYTHING, goal, moment=MIDDLE)
    assert decision.chosen.model.id == model
    relaxations = [r.facts["relaxation"] for r in decision.reasons if r.code == "PACED"]
    assert relaxations == ([] if told is None else [told])


def test_the_budget_that_is_furthest_ahead_sets_the_pace_and_is_named() -> None:
    states = (
        state(1000, spent=450, paced=True, name="a"),
        state(1000, spent=500, paced=True, name="b"),
    )
    for order in (1, -1):
        decision = decide(ladder(*states[::order]), ANYTHING, QualityTarget(0.8), moment=MIDDLE)
        paced = next(reason for reason in decision.reasons if reason.code == "PACED")
        assert (paced.facts["limit"], paced.facts["relaxation"]) == ("b", "0.5000")
        assert paced.text == "spend on b is ahead of schedule: the goal is lowered by 50%"
        assert [reason.code for reason in decision.reasons] == ["DOWNGRADED", "PACED"]


def test_where_nothing_is_limited_nothing_is_paced() -> None:
    assert chosen(moment=MIDDLE) == ("large", ["CHEAPEST_ADEQUATE"])


def test_without_a_moment_nothing_is_paced() -> None:
    assert chosen(state(1000, spent=900, paced=True)) == ("large", ["CHEAPEST_ADEQUATE"])


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


amounts = st.builds(Amounts, st.integers(0, 300), st.integers(0, 300))
balances = st.builds(
    LimitState,
    st.builds(
        Limit,
        st.sampled_from(["a", "b", "c"]),
        st.just({}),
        st.sampled_from(Unit),
        st.just(Window.MONTH),
        st.just("UTC"),
        st.none() | st.integers(0, 400),
        st.none() | st.integers(0, 400),
        st.sampled_from([SoftAction.WARN, SoftAction.PREFER_CHEAPER]),
    ),
    st.just(""),
    st.just(NOVEMBER),
    st.integers(0, 200),
    st.integers(0, 200),
)
limit_sets = st.lists(balances, max_size=3).map(tuple)


@given(st.lists(st.tuples(st.none() | amounts, limit_sets), min_size=1, max_size=5))
def test_what_its_limits_allow_a_candidate_does_not_depend_on_the_others(
    drawn: list[tuple[Amounts | None, tuple[LimitState, ...]]],
) -> None:
    made = [
        candidate(f"model {place}")._replace(amounts=held, limits=states)
        for place, (held, states) in enumerate(drawn)
    ]
    eligible = {c.model.id for c in made if exclusion(c, ANYTHING) is None}
    if not eligible:
        with pytest.raises(Exhausted):
            decide(made, ANYTHING, QualityTarget(0.5))
        return
    decision = decide(made, ANYTHING, QualityTarget(0.5), moment=MIDDLE)
    assert {c.model.id for c in decision.ranked} == eligible
    held = decision.chosen.amounts
    passed = [
        s.limit.id
        for s in decision.chosen.limits
        if held is not None and s.passes_soft(held.of(s.limit.unit))
    ]
    told = [reason.facts["limit"] for reason in decision.reasons if reason.code == "SOFT_LIMIT"]
    assert told == passed
