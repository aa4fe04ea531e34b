"""A share of the decisions is left to chance: among which models, and with what probability."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decision import decide
from router.core.errors import MitsumoriError
from router.core.exclusions import exclusion
from router.core.exploration import BOUND_SHARE, explored, may_explore, rivals
from router.core.goals import expected_cost
from router.core.health import Health
from router.core.limits import Amounts, Limit, LimitState, Period, SoftAction, Unit, Window
from router.core.ruling import NO_RULING, Effects, Rule, Ruling
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Exploration,
    Goal,
    Importance,
    MissCost,
    PriceRange,
    QualityTarget,
    WillingnessToPay,
)
from tests.builders import candidate

ANYTHING = Constraints()
PRICE_ONLY = MissCost(0)


def costing(name: str, nanos: int, p: float = 0.8) -> Candidate:
    """A candidate with this expected price."""
    made = candidate(name, p)
    assert made.quote is not None
    return made._replace(quote=made.quote._replace(price=PriceRange(0, nanos, nanos, nanos)))


def left_to_chance(share: float, draw: float, *, regret: float = 0.2) -> Exploration:
    return Exploration(share, regret, draw)


def decided(
    candidates: list[Candidate],
    share: float,
    draw: float,
    *,
    regret: float = 0.2,
    goal: Goal = PRICE_ONLY,
    constraints: Constraints = ANYTHING,
    ruling: Ruling = NO_RULING,
) -> Decision:
    return decide(
        candidates,
        constraints,
        goal,
        ruling=ruling,
        exploration=left_to_chance(share, draw, regret=regret),
    )


BEST, NEAR, FAR = costing("best", 1_000), costing("near", 1_200), costing("far", 1_201)


# --- Who takes part ----------------------------------------------------------------------------


def test_a_model_at_the_regret_takes_part_and_one_nano_dollar_above_does_not() -> None:
    assert rivals([BEST, NEAR, FAR], ANYTHING, PRICE_ONLY, 0.2) == [BEST, NEAR]
    assert rivals([BEST, NEAR, FAR], ANYTHING, PRICE_ONLY, 0.201) == [BEST, NEAR, FAR]
    assert rivals([BEST, NEAR, FAR], ANYTHING, PRICE_ONLY, 0.0) == [BEST]
    assert rivals([BEST, costing("twin", 1_000)], ANYTHING, PRICE_ONLY, 0.0)[1].model.id == "twin"


def test_the_risk_of_a_miss_counts_as_cost() -> None:
    cheap, sure = costing("cheap", 100, p=0.5), costing("sure", 2_000, p=0.9)
    stake = MissCost(5_000)
    assert (expected_cost(cheap, 5_000), expected_cost(sure, 5_000)) == (2_600, 2_500)
    assert rivals([sure, cheap], ANYTHING, stake, 0.04) == [sure, cheap]
    assert rivals([sure, cheap], ANYTHING, stake, 0.039) == [sure]
    assert rivals([sure, cheap], ANYTHING, WillingnessToPay(5_000), 0.04) == [sure, cheap]


def test_under_a_target_only_models_take_part_that_reach_it() -> None:
    best, reaches, misses = (
        costing("best", 1_000, 0.7), costing("reaches", 1_100, 0.6), costing("misses", 900, 0.59)
    )  # fmt: skip
    assert rivals([best, reaches, misses], ANYTHING, QualityTarget(0.6), 1.0) == [best, reaches]


def test_where_none_reaches_the_target_those_near_the_highest_probability_take_part() -> None:
    best, near, worse = (
        costing("best", 1_000, 0.5), costing("near", 1_100, 0.52), costing("worse", 900, 0.46)
    )  # fmt: skip
    target = QualityTarget(0.9, regret=0.05)
    assert rivals([best, near, worse], ANYTHING, target, 1.0) == [best, near]


@pytest.mark.parametrize(
    ("max_price", "takes_part"), [(1_500, True), (1_499, False), (1_200, False), (None, True)]
)
def test_a_model_near_the_callers_price_bound_does_not_take_part(
    max_price: int | None, takes_part: bool
) -> None:
    """1,200 is 80 % of 1,500."""
    found = rivals([BEST, NEAR], Constraints(max_price_nanos=max_price), PRICE_ONLY, 0.2)
    assert (NEAR in found) is takes_part


def test_a_model_near_the_callers_latency_bound_does_not_take_part() -> None:
    assert NEAR.quote is not None
    bound = NEAR.quote.latency.p90_s / BOUND_SHARE
    clear, near = Constraints(max_latency_s=bound * 1.001), Constraints(max_latency_s=bound * 0.999)
    assert rivals([BEST, NEAR], clear, PRICE_ONLY, 0.2) == [BEST, NEAR]
    assert rivals([BEST, NEAR], near, PRICE_ONLY, 0.2) == [BEST]


@pytest.mark.parametrize(
    ("importance", "asked", "may"),
    [
        (Importance.LOW, None, True),
        (Importance.MEDIUM, None, True),
        (Importance.HIGH, None, False),
        (Importance.MEDIUM, QualityTarget(0.5), False),
        (Importance.MEDIUM, WillingnessToPay(1), True),
        (Importance.HIGH, WillingnessToPay(1), False),
    ],
)
def test_nothing_is_left_to_chance_at_high_importance_or_under_a_target_of_the_caller(
    importance: Importance, asked: Goal | None, may: bool
) -> None:
    assert may_explore(importance, asked) is may


# --- With what probability ---------------------------------------------------------------------

THREE = [costing("a", 1_000), costing("b", 1_100), costing("c", 1_200)]


@pytest.mark.parametrize(
    ("share", "best", "others"),
    [(0.06, 0.96, 0.02), (0.3, 0.8, 0.1), (1.0, 1 / 3, 1 / 3), (0.02, 1 - 0.04 / 3, 0.02 / 3)],
)
def test_the_best_has_what_the_others_leave(share: float, best: float, others: float) -> None:
    decision = decided(THREE, share, 0.999999)
    assert decision.explored is not None
    assert list(decision.explored.chances) == ["a", "b", "c"]
    assert list(decision.explored.chances.values()) == pytest.approx([best, others, others])
    chosen = "a" if share < 1 else "c"
    assert (decision.chosen.model.id, decision.propensity) == (
        chosen,
        decision.explored.chances[chosen],
    )


@pytest.mark.parametrize(
    ("draw", "model"),
    [
        (0.0, "a"),
        (nextafter(0.25, 0), "a"),
        (0.25, "b"),
        (nextafter(0.5, 0), "b"),
        (0.5, "c"),
        (nextafter(0.75, 0), "c"),
        (0.75, "a"),
        (nextafter(1.0, 0), "a"),
    ],
)
def test_draws_below_the_share_choose_among_all_alike(draw: float, model: str) -> None:
    assert decided(THREE, 0.75, draw).chosen.model.id == model


def test_as_often_as_it_says() -> None:
    draws = [(i + 0.5) / 3_000 for i in range(3_000)]
    found = Counter(explored(left_to_chance(0.3, draw), THREE).chosen for draw in draws)
    assert found == {"a": 2_400, "b": 300, "c": 300}


@pytest.mark.parametrize(
    ("candidates", "share", "regret"),
    [(THREE, 0.0, 0.2), (THREE[:1], 1.0, 0.2), ([BEST, FAR], 1.0, 0.2), (THREE, 1.0, 0.0)],
)
def test_with_nothing_to_choose_from_nothing_is_left_to_chance(
    candidates: list[Candidate], share: float, regret: float
) -> None:
    decision = decided(candidates, share, 0.0, regret=regret)
    assert (decision.explored, decision.propensity) == (None, 1.0)
    assert decision == decide(candidates, ANYTHING, PRICE_ONLY)


def test_the_reply_says_what_chance_costs() -> None:
    decision = decided(THREE, 0.3, 0.29)
    assert [each.model.id for each in decision.ranked] == ["c", "a", "b"]
    reason = decision.reasons[0]
    assert reason.code == "EXPLORED"
    assert reason.text == (
        "chosen by chance, with probability 0.1, among 3 models whose expected cost is within 20% of the "
        "best, a: $0.000000200 more than its $0.00000100"
    )
    assert reason.facts == {
        "best": "a",
        "expected_cost_usd": "0.0000012",
        "best_expected_cost_usd": "0.000001",
        "propensity": "0.100000",
    }


def test_where_chance_chooses_the_best_the_reasons_are_as_ever() -> None:
    plain = decide(THREE, ANYTHING, PRICE_ONLY)
    assert decided(THREE, 0.3, 0.9).reasons == plain.reasons
    assert decided(THREE, 0.3, 0.05).reasons == plain.reasons


# --- Limits ------------------------------------------------------------------------------------

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = Period(NOON.replace(hour=0), NOON.replace(day=24, hour=0))


def limited(each: Candidate, spent: int, **values: object) -> Candidate:
    limit = Limit("team", {}, Unit.MONEY, Window.DAY, **values)  # type: ignore[arg-type]
    assert each.quote is not None
    amounts = Amounts(each.quote.price.high, 100)
    return each._replace(amounts=amounts, limits=(LimitState(limit, "", DAY, spent, 0),))


@pytest.mark.parametrize(("spent", "models"), [(800, ["a", "b", "c"]), (801, ["a", "b"])])
def test_never_above_a_hard_limit(spent: int, models: list[str]) -> None:
    decision = decided([limited(each, spent, hard=2_000) for each in THREE], 1.0, 0.0)
    assert decision.explored is not None
    assert list(decision.explored.chances) == models


@pytest.mark.parametrize("action", list(SoftAction))
def test_a_model_that_would_pass_a_soft_value_does_not_take_part(action: SoftAction) -> None:
    decision = decided(
        [limited(each, 801, soft=2_000, on_soft=action) for each in THREE], 1.0, 0.99
    )
    assert decision.explored is not None
    assert list(decision.explored.chances) == ["a", "b"]


def test_where_a_soft_limit_acts_nothing_is_left_to_chance() -> None:
    made = [limited(each, 1_500, soft=2_000, on_soft=SoftAction.WARN) for each in THREE]
    assert decided(made, 1.0, 0.99).explored is None


def test_where_spend_is_ahead_of_its_pace_nothing_is_left_to_chance() -> None:
    made = [limited(each, 100_000, hard=150_000, paced=True) for each in THREE]
    found = decide(made, ANYTHING, PRICE_ONLY, moment=NOON, exploration=left_to_chance(1.0, 0.99))
    assert "PACED" in [each.code for each in found.reasons]
    assert found.explored is None


# --- Health ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("health", "models"),
    [
        (Health(models={"b": "5 failures"}, max_ejected_share=1.0), ["a", "c"]),
        # Kept because too many of the tier would be left out.
        (Health(models={"b": "5 failures"}, max_ejected_share=0.0), ["a", "c"]),
        (Health(due={"b": "5 failures"}), ["a", "c"]),
    ],
    ids=["left out", "only watched", "to be tried"],
)
def test_a_model_that_is_not_healthy_does_not_take_part(health: Health, models: list[str]) -> None:
    found = decide(
        THREE, ANYTHING, PRICE_ONLY, health=health, exploration=left_to_chance(1.0, 0.99)
    )
    assert found.explored is not None
    assert list(found.explored.chances) == models
    assert (found.chosen.model.id, [each.model.id for each in found.ranked][:1]) == ("c", ["c"])
    assert "c" not in [each.model.id for each in found.fallbacks]


@pytest.mark.parametrize(
    "health",
    [Health(due={"a": "5 failures"}), Health(models=dict.fromkeys("abc", "5 failures"))],
    ids=["the best is tried again", "all fail"],
)
def test_where_the_best_is_not_healthy_nothing_is_left_to_chance(health: Health) -> None:
    found = decide(
        THREE, ANYTHING, PRICE_ONLY, health=health, exploration=left_to_chance(1.0, 0.99)
    )
    assert (found.explored, found.propensity, found.chosen.model.id) == (None, 1.0, "a")


# --- Rules -------------------------------------------------------------------------------------


def test_the_first_rule_that_says_a_share_counts() -> None:
    rules = [Rule(n, Effects(explore=e), "") for n, e in (("a", None), ("b", 0.0), ("c", 0.5))]
    assert Ruling(tuple(rules)).explore == 0.0
    assert Ruling(tuple(rules[:1])).explore is None


# --- Properties --------------------------------------------------------------------------------

MODELS = st.lists(st.tuples(st.integers(0, 3_000), st.floats(0, 1)), min_size=1, max_size=6).map(
    lambda made: [costing(f"m{at}", price, p) for at, (price, p) in enumerate(made)]
)
GOALS = st.one_of(
    st.integers(0, 10_000).map(MissCost),
    st.integers(0, 10_000).map(WillingnessToPay),
    st.builds(QualityTarget, st.floats(0, 1), st.floats(0, 0.3)),
)
CONSTRAINTS = st.builds(
    Constraints,
    models=st.sets(st.sampled_from(["m0", "m1", "m2", "m3"])).map(frozenset),
    max_price_nanos=st.none() | st.integers(0, 3_000),
)
RULINGS = st.builds(
    Effects,
    forbidden_models=st.sets(st.sampled_from(["m0", "m1", "m2"])).map(frozenset),
    max_price_nanos=st.none() | st.integers(0, 3_000),
).map(lambda effects: Ruling((Rule("a", effects, ""),)))
SHARES = st.floats(0, 1)
DRAWS = st.floats(0, 1, exclude_max=True)


@given(MODELS, GOALS, CONSTRAINTS, RULINGS, SHARES, DRAWS, st.floats(0, 2), st.randoms())
def test_what_holds_of_every_decision(
    candidates: list[Candidate],
    goal: Goal,
    constraints: Constraints,
    ruling: Ruling,
    share: float,
    draw: float,
    regret: float,
    order: st.DataObject,
) -> None:
    def made(some: list[Candidate]) -> Decision:
        return decided(
            some, share, draw, regret=regret, goal=goal, constraints=constraints, ruling=ruling
        )

    try:
        decision = made(candidates)
    except MitsumoriError:
        return
    best = decide(candidates, constraints, goal, ruling=ruling)
    # Never forbidden by a rule, a limit or the caller.
    assert exclusion(decision.chosen, constraints, ruling) is None
    assert set(decision.ranked) == set(best.ranked)
    shuffled = list(candidates)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert made(shuffled) == decision
    found = decision.explored
    if found is None:
        assert decision == best
        return
    assert found.best == best.chosen.model.id
    assert found.chosen == decision.chosen.model.id
    assert sum(found.chances.values()) == pytest.approx(1)
    assert all(0 <= each <= 1 for each in found.chances.values())
    assert decision.propensity == found.chances[found.chosen] > 0
    eligible = {each.model.id: each for each in best.ranked}
    assert found.chances.keys() <= eligible.keys()
    stake = 0 if isinstance(goal, QualityTarget) else goal.nanos
    least = expected_cost(eligible[found.best], stake)
    for name in found.chances:
        assert expected_cost(eligible[name], stake) <= least + round(regret * least)
    if isinstance(goal, QualityTarget) and (best.chosen.p_adequate or 0) >= goal.p_adequate:
        assert all((eligible[n].p_adequate or 0) >= goal.p_adequate for n in found.chances)
