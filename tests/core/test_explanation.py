"""An explanation says of each model what it lost to, by how much, and what would have to change."""

from __future__ import annotations

import inspect

import pytest

from router.core.changes import Change, Lever, changed, obstacles
from router.core.decision import decide
from router.core.errors import MitsumoriError
from router.core.explanation import (
    EXAMINED,
    OVER_SOFT_LIMIT,
    Criterion,
    Explained,
    Explanation,
    Loss,
    explain,
)
from router.core.health import Health
from router.core.inputs import Inputs
from router.core.limits import Amounts, LimitState, SoftAction, Unit
from router.core.ruling import Effects
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Exploration,
    Goal,
    LatencyRange,
    MissCost,
    PriceRange,
    QualityTarget,
    Reason,
    WillingnessToPay,
)
from tests.builders import candidate
from tests.core.test_decision_limits import MIDDLE, state
from tests.core.test_ruling import ruled

ANYTHING = Constraints()


def costing(name: str, nanos: int, p: float | None = 0.8, **changes: object) -> Candidate:
    """A candidate whose expected price is some nano-dollars, and its high price twice as much."""
    made = candidate(name, p, **changes)
    assert made.quote is not None
    price = PriceRange(0, nanos, 2 * nanos, 10 * nanos)
    return made._replace(quote=made.quote._replace(price=price))


def explained(
    candidates: list[Candidate], goal: Goal, constraints: Constraints = ANYTHING, **given: object
) -> Explanation:
    inputs = Inputs(candidates, constraints, goal, **given)  # type: ignore[arg-type]
    return explain(inputs, inputs.decide())


def of(name: str, found: Explanation) -> Explained:
    return next(each for each in found.candidates if each.candidate.model.id == name)


SMALL, LARGE = costing("small", 100, 0.6), costing("large", 1_000, 0.9)


def test_the_inputs_are_those_of_a_decision() -> None:
    wanted = inspect.signature(decide).parameters
    assert [*Inputs._fields] == [*wanted, "next_goal"]
    defaults = {
        name: each.default
        for name, each in wanted.items()
        if each.default is not inspect.Parameter.empty
    }
    assert Inputs._field_defaults == {**defaults, "next_goal": None}


def test_by_expected_cost_the_gap_is_price_and_risk_together() -> None:
    # 100 + .4 × 1,000 = 500 against 1,000 + .1 × 1,000 = 1,100.
    found = explained([SMALL, LARGE], MissCost(1_000))
    assert [(each.place, each.expected_cost) for each in found.candidates] == [(1, 500), (2, 1_100)]
    assert of("small", found) == Explained(SMALL, 500, 1)
    large = of("large", found)
    assert large.loss == Loss("small", Criterion.EXPECTED_COST, 600)
    # The large model wins from .3 × stake = 900 on: at 3,000 both cost as much, and the cheaper goes first.
    assert large.changes == (
        Change(Lever.PRICE, "large", 399, 1_000, rises=False),
        Change(Lever.MISS_COST, "", 3_001, 1_000),
    )


def test_the_complexity_of_the_prompt_is_in_what_a_miss_costs() -> None:
    found = explained([SMALL, LARGE], MissCost(10_000), complexity=0.1)
    assert found.goal == MissCost(1_000)
    assert of("large", found).changes[-1] == Change(Lever.MISS_COST, "", 3_001, 1_000)


def test_a_model_that_is_too_good_for_the_stake_wins_where_less_is_at_stake() -> None:
    found = explained([SMALL, LARGE], MissCost(10_000))
    small = of("small", found)
    assert small.loss == Loss("large", Criterion.EXPECTED_COST, 2_100)
    assert small.changes == (
        # 1,000 + (1 − .9) × 10,000 = 100 + (1 − P) × 10,000 at .81, where the cheaper one goes first.
        Change(Lever.P_ADEQUATE, "small", 0.81, 0.6),
        Change(Lever.MISS_COST, "", 3_000, 10_000, rises=False),
    )


def test_by_surplus_a_willingness_to_pay_is_what_may_change() -> None:
    large = of("large", explained([SMALL, LARGE], WillingnessToPay(1_000)))
    assert large.loss == Loss("small", Criterion.SURPLUS, 600)
    assert large.changes[-1] == Change(Lever.WILLINGNESS_TO_PAY, "", 3_001, 1_000)


def test_under_a_target_a_model_lacks_probability_or_is_dearer() -> None:
    steep = costing("steep", 2_000, 0.95)
    found = explained([SMALL, LARGE, steep], QualityTarget(0.85))
    small, second = of("small", found), of("steep", found)
    assert small.expected_cost is None
    assert small.loss == Loss("large", Criterion.TARGET, pytest.approx(0.25))
    assert small.changes == (
        Change(Lever.P_ADEQUATE, "small", 0.85, 0.6),
        Change(Lever.QUALITY_TARGET, "", 0.6, 0.85, rises=False),
    )
    assert second.loss == Loss("large", Criterion.PRICE, 1_000)
    assert second.changes == (
        Change(Lever.PRICE, "steep", 999, 2_000, rises=False),
        Change(Lever.QUALITY_TARGET, "", 0.900001, 0.85),
    )


def test_where_none_reaches_the_target_a_model_has_to_come_near_the_best() -> None:
    found = explained([SMALL, LARGE], QualityTarget(0.99, regret=0.1))
    small = of("small", found)
    assert small.loss == Loss("large", Criterion.NEAR_BEST, pytest.approx(0.2))
    assert small.changes[0] == Change(Lever.P_ADEQUATE, "small", 0.8, 0.6)


def test_of_equals_the_earlier_name_goes_first() -> None:
    found = explained([costing("b", 100), costing("a", 100)], MissCost(1_000))
    assert of("b", found).loss == Loss("a", Criterion.TIE)
    assert of("b", found).changes == (
        Change(Lever.P_ADEQUATE, "b", 0.800001, 0.8),
        Change(Lever.PRICE, "b", 99, 100, rises=False),
    )


TEN = costing("ten", 10, 0.8)


@pytest.mark.parametrize(
    ("constraints", "made", "name", "needs"),
    [
        (
            Constraints(max_price_nanos=19),
            TEN,
            "over_max_price",
            [Change(Lever.MAX_PRICE, "", 20, 19)],
        ),
        (
            Constraints(max_latency_s=1),
            TEN._replace(quote=TEN.quote._replace(latency=LatencyRange(1, 2.0000001))),  # type: ignore[union-attr]
            "over_max_latency",
            [Change(Lever.MAX_LATENCY, "", 2.000001, 1)],
        ),
        (
            Constraints(max_first_token_s=1),
            TEN._replace(quote=TEN.quote._replace(first_token=LatencyRange(1, 1.5))),  # type: ignore[union-attr]
            "over_max_first_token",
            [Change(Lever.MAX_FIRST_TOKEN, "", 1.5, 1)],
        ),
        (
            Constraints(regions=frozenset({"us"})),
            costing("ten", 10, regions=frozenset({"jp", "eu"})),
            "not_in_regions",
            [Change(Lever.REGIONS, "eu")],
        ),
        (Constraints(regions=frozenset({"us"})), TEN, "not_in_regions", [Change(Lever.REGIONS)]),
        (
            Constraints(capabilities=frozenset({"tools", "sight", "hearing"})),
            TEN,
            "lacks_capability",
            [Change(Lever.CAPABILITIES, "hearing"), Change(Lever.CAPABILITIES, "sight")],
        ),
        (
            Constraints(tiers=frozenset({"high"})),
            TEN,
            "not_in_allowed_tiers",
            [Change(Lever.TIERS, "low")],
        ),
        (
            Constraints(models=frozenset({"other"})),
            TEN,
            "not_in_allowed_models",
            [Change(Lever.MODELS, "ten")],
        ),
        (
            Constraints(tiers=frozenset({"high"}), max_price_nanos=5),
            TEN,
            "not_in_allowed_tiers",
            [Change(Lever.TIERS, "low"), Change(Lever.MAX_PRICE, "", 20, 5)],
        ),
    ],
)
def test_what_a_model_that_was_left_out_needs(
    constraints: Constraints, made: Candidate, name: str, needs: list[Change]
) -> None:
    other = costing(
        "other", 0, 0.1, tier="high", regions=frozenset({"us"}),
        capabilities=frozenset({"tools", "sight", "hearing"}),
    )  # fmt: skip
    assert other.quote is not None
    fast = other._replace(
        quote=other.quote._replace(
            price=PriceRange(0, 0, 0, 0), latency=LatencyRange(0, 0), first_token=LatencyRange(0, 0)
        )
    )
    ten = of("ten", explained([fast, made], MissCost(1_000), constraints))
    assert (ten.place, ten.exclusion, ten.needs, ten.loss) == (0, name, tuple(needs), None)


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (candidate("ten", price=None), "no_price"),
        (candidate("ten", p=None), "unknown_to_the_classifier"),
        (candidate("ten", retired=MIDDLE.date()), "retired"),
        (candidate("ten", input_tokens=100_000), "context_window_too_small"),
    ],
)
def test_some_models_nothing_helps(made: Candidate, name: str) -> None:
    ten = of("ten", explained([SMALL, made], MissCost(1_000)))
    assert (ten.exclusion, ten.needs, ten.loss, ten.changes) == (name, (), None, ())


def test_what_is_left_out_may_lose_even_if_it_took_part() -> None:
    large = of(
        "large", explained([SMALL, LARGE], MissCost(1_000), Constraints(max_price_nanos=500))
    )
    assert large.needs == (Change(Lever.MAX_PRICE, "", 2_000, 500),)
    assert large.loss == Loss("small", Criterion.EXPECTED_COST, 600)


def test_a_rule_that_forbids_a_model_is_named() -> None:
    ruling = ruled(Effects(tiers=frozenset({"low"})), Effects(forbidden_models=frozenset({"high"})))
    high = costing("high", 1, 0.9, tier="high")
    found = of("high", explained([SMALL, high], MissCost(1_000), ruling=ruling))
    assert found.exclusion == "by_rule_a"
    assert found.needs == (Change(Lever.RULE, "a"), Change(Lever.RULE, "b"))
    assert found.loss is None


def test_a_rule_whose_goal_decides_is_named() -> None:
    ruling = ruled(Effects(tiers=frozenset({"low"})), Effects(goal=MissCost(1_000)))
    found = explained([SMALL, LARGE], MissCost(1_000), ruling=ruling, next_goal=MissCost(100_000))
    assert of("large", found).changes[-1] == Change(Lever.RULE, "b")
    same = explained([SMALL, LARGE], MissCost(1_000), ruling=ruling, next_goal=MissCost(1_001))
    assert Lever.RULE not in {change.lever for change in of("large", same).changes}


def limited(each: Candidate, *states: object) -> Candidate:
    assert each.quote is not None
    return each._replace(limits=states, amounts=Amounts(each.quote.price.high, 1_000))  # type: ignore[arg-type]


def test_how_much_more_a_hard_limit_must_leave() -> None:
    left = state(1_500, spent=400, held=100)
    models = [limited(SMALL, left), limited(LARGE, left)]
    large = of("large", explained(models, MissCost(100_000)))
    assert large.exclusion == "limit_never_fits"
    assert large.needs == (Change(Lever.LIMIT, "budget", 1_000, 1_500, unit=Unit.MONEY),)
    assert large.loss is None


@pytest.mark.parametrize(
    ("left", "more", "allowed"),
    [
        # A tenth of 8,000 and the 2,000 that it would hold: 1,000.
        pytest.param(state(share=0.1, whole=8_000, spent=400), 1_400, 1_000, id="share"),
        pytest.param(state(share=0.1, free=1_500, spent=400), 900, 1_500, id="free"),
        pytest.param(state(1_500, share=0.5, whole=8_000, spent=400), 900, 1_500, id="hard"),
        pytest.param(state(9_000, share=0.1, whole=8_000, spent=400), 1_400, 1_000, id="both"),
    ],
)
def test_how_much_more_a_share_must_leave(left: LimitState, more: int, allowed: int) -> None:
    models = [SMALL, limited(LARGE, left)]
    large = of("large", explained(models, MissCost(100_000)))
    assert large.needs == (Change(Lever.LIMIT, "budget", more, allowed, unit=Unit.MONEY),)
    assert large.loss is None


def test_a_soft_limit_that_prefers_the_cheaper_is_named_with_the_room_that_it_lacks() -> None:
    left = state(soft=1_500, spent=400, on_soft=SoftAction.PREFER_CHEAPER)
    models = [limited(SMALL, left), limited(LARGE, left)]
    large = of("large", explained(models, MissCost(100_000)))
    assert large.loss == Loss("small", Criterion.SOFT_LIMIT, 900, "budget")
    # 400 are spent, and 2,000 would be held.
    assert large.changes[-1] == Change(Lever.LIMIT, "budget", 900, 1_500, unit=Unit.MONEY)


def test_a_soft_limit_that_forbids_the_top_tier_is_named_too() -> None:
    left = state(soft=1_500, spent=400, on_soft=SoftAction.FORBID_TOP_TIER)
    top = limited(costing("large", 1_000, 0.9, tier="high"), left)
    models = [limited(SMALL, left), top]
    large = of("large", explained(models, MissCost(100_000), top_tier="high"))
    assert (large.place, large.exclusion) == (0, OVER_SOFT_LIMIT)
    assert large.needs == (Change(Lever.LIMIT, "budget", 900, 1_500, unit=Unit.MONEY),)
    assert large.loss is None


def test_a_budget_that_is_ahead_of_its_pace_is_named() -> None:
    # In the middle of the month 500 of 1,000 are planned, and 600 are 120 % of that: only the price counts.
    ahead = state(1_000_000, spent=600_000, paced=True)
    models = [limited(SMALL, ahead), limited(LARGE, ahead)]
    large = of("large", explained(models, MissCost(100_000), moment=MIDDLE))
    assert large.loss == Loss("small", Criterion.SOFT_LIMIT, 900, "budget")
    (more,) = [change for change in large.changes if change.lever is Lever.LIMIT]
    assert more.name == "budget"
    assert Lever.MISS_COST not in {change.lever for change in large.changes}


def test_a_model_that_fails_needs_calls_that_succeed() -> None:
    health = Health(models={"small": "3 of 5 calls failed"}, providers={"acme": "two fail"})
    other = costing("other", 500, 0.6, provider="bolt")
    found = of("small", explained([SMALL, other], MissCost(1_000), health=health))
    assert (found.exclusion, found.needs) == ("unhealthy", (Change(Lever.HEALTH, "small"),))
    assert found.loss is None


def test_after_a_failed_call_the_provider_stands_in_the_way() -> None:
    health = Health(failed_providers=frozenset({"acme"}))
    other = costing("other", 500, 0.6, provider="bolt")
    found = of("small", explained([SMALL, other], MissCost(1_000), health=health))
    assert found.exclusion == "of_a_failed_provider"
    assert found.needs == (Change(Lever.FAILED_PROVIDER, "acme"),)


def test_of_several_hurdles_all_are_named() -> None:
    health = Health(models={"large": "3 of 5 calls failed"}, failed_providers=frozenset({"bolt"}))
    left = state(soft=1_500, spent=400, on_soft=SoftAction.FORBID_TOP_TIER)
    large = limited(costing("large", 1_000, 0.9, tier="high", provider="bolt"), left)
    models = [limited(SMALL, left), large]
    found = explained(
        models, MissCost(100_000), Constraints(max_price_nanos=500), health=health, top_tier="high"
    )
    assert of("large", found).exclusion == "over_max_price"
    assert of("large", found).needs == (
        Change(Lever.MAX_PRICE, "", 2_000, 500),
        Change(Lever.HEALTH, "large"),
        Change(Lever.FAILED_PROVIDER, "bolt"),
        Change(Lever.LIMIT, "budget", 900, 1_500, unit=Unit.MONEY),
    )
    assert of("large", found).loss is None


def test_what_chance_chose_stands_first_and_the_best_lost_to_chance() -> None:
    near = costing("near", 101, 0.6)
    chance = Exploration(share=0.5, regret=0.2, draw=0.3)
    found = explained([SMALL, near, LARGE], MissCost(1_000), exploration=chance)
    assert found.explored is not None
    assert [each.candidate.model.id for each in found.candidates] == ["near", "small", "large"]
    assert of("near", found).loss == Loss("small", Criterion.EXPECTED_COST, 1)
    assert of("near", found).changes == ()
    assert of("small", found).loss == Loss("near", Criterion.CHANCE, 0.75)
    assert of("small", found).changes == ()
    assert of("large", found).loss == Loss("small", Criterion.EXPECTED_COST, 600)


def test_changes_are_looked_for_as_far_as_a_bound() -> None:
    many = [costing(f"m{at:02}", 100 + at) for at in range(EXAMINED + 1)]
    found = explained(many, MissCost(1_000))
    assert [each.examined for each in found.candidates] == [True] * EXAMINED + [False]
    last = found.candidates[-1]
    assert (last.loss, last.changes) == (Loss("m00", Criterion.EXPECTED_COST, EXAMINED), ())
    closed = Constraints(models=frozenset(each.model.id for each in many[:-1]))
    left = explained(many, MissCost(1_000), closed).candidates[-1]
    assert (left.exclusion, left.needs, left.examined) == ("not_in_allowed_models", (), False)


def test_what_the_log_did_not_keep_is_not_made_up() -> None:
    inputs = Inputs([SMALL, LARGE], ANYTHING, MissCost(1_000))
    kept = Decision((LARGE, SMALL), ())
    assert of("small", explain(inputs, kept)).loss == Loss("large", Criterion.OTHER)


def test_a_candidate_that_takes_part_has_no_obstacles() -> None:
    assert obstacles(SMALL, Inputs([SMALL], ANYTHING, MissCost(1_000))) == ()


def test_a_region_that_a_rule_asks_for_is_the_one_to_allow() -> None:
    ruling = ruled(Effects(regions=frozenset({"jp"})))
    served = costing("a", 1, regions=frozenset({"eu", "jp"}))
    inputs = Inputs([served], Constraints(regions=frozenset({"us"})), MissCost(1), ruling=ruling)
    assert obstacles(served, inputs) == (Change(Lever.REGIONS, "jp"),)
    with pytest.raises(MitsumoriError):
        inputs.decide()
    assert changed(inputs, Change(Lever.REGIONS, "jp")).decide().chosen is served


def test_a_model_that_would_go_first_by_the_goal_is_not_said_to_lose_by_it() -> None:
    inputs = Inputs([SMALL, LARGE], ANYTHING, MissCost(1_000))
    forced = explain(inputs, Decision((LARGE, SMALL), (Reason("KEPT_MODEL", ""),)))
    assert of("small", forced).loss == Loss("large", Criterion.OTHER)
    assert of("large", forced).loss == Loss("small", Criterion.EXPECTED_COST, 600)


def test_a_rule_that_gave_way_is_no_reason_and_comes_back_with_what_it_gave_way_to() -> None:
    small, large = costing("small", 1_000_000, 0.6), costing("large", 3_000_000, 0.9, tier="high")
    dear = costing("dear", 4_000_000, 0.9)
    ruling = ruled(Effects(tiers=frozenset({"high"})), giving_way="a")
    found = explained(
        [small, large, dear], MissCost(0), Constraints(max_price_nanos=2_000_000), ruling=ruling
    )
    assert of("small", found).place == 1
    # With a higher bound it would be alone again.
    assert of("large", found).needs == (Change(Lever.MAX_PRICE, "", 6_000_000, 2_000_000),)
    assert of("large", found).loss is None
    # A bound that lets this one in lets in the other, for which the rule holds again.
    assert of("dear", found).needs == (
        Change(Lever.MAX_PRICE, "", 8_000_000, 2_000_000),
        Change(Lever.RULE, "a"),
    )
    assert {of(each, found).exclusion for each in ("large", "dear")} == {"over_max_price"}
