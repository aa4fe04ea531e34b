"""What each goal chooses, how it orders the rest, how it gives way, and what it tells people."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decision import decide
from router.core.goals import at_stake, expected_cost, goal_reason, lowered, ranked_by
from router.core.types import (
    Candidate,
    Constraints,
    Goal,
    MissCost,
    QualityTarget,
    Reason,
    Speed,
    WillingnessToPay,
)
from tests.builders import candidate

CENT = 10_000_000
"""In nano-dollars."""
NOISE = Fraction(1, 1000)
"""Nano-dollars: what floats may add to a cost of less than a thousand dollars."""


def priced(name: str, p: float, price: int, tier: str = "low") -> Candidate:
    """A candidate with an expected price in nano-dollars."""
    made = candidate(name, p, tier=tier)
    assert made.quote is not None
    return made._replace(quote=made.quote._replace(price=made.quote.price._replace(expected=price)))


LADDER = (
    priced("small", 0.55, CENT // 100, "low"),
    priced("middle", 0.75, CENT // 10, "medium"),
    priced("large", 0.90, CENT, "high"),
)


def names(goal: Goal, made: Sequence[Candidate]) -> list[str]:
    return [each.model.id for each in ranked_by(goal, made)]


def explained(goal: Goal, *made: Candidate) -> Reason:
    return goal_reason(ranked_by(goal, made), goal)


# --- The cost of a miss ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cents", "ranked"),
    [
        (0, "small middle large"),  # a miss costs nothing: only the price counts
        (0.1, "small middle large"),  # .55 saves .02 of .1 cent for .09 cent more
        (2, "middle small large"),  # .6 against 0.91 and 1.2 cents
        (100, "large middle small"),  # 11, 25.1 and 45 cents
    ],
)
def test_the_dearer_a_miss_the_stronger_the_model(cents: float, ranked: str) -> None:
    assert names(MissCost(int(cents * CENT)), LADDER) == ranked.split()


def test_a_model_is_taken_where_its_price_rises_by_less_than_its_risk_falls() -> None:
    # Half of the risk of a miss at 2 cents is 1 cent.
    sure, unsure = priced("sure", 0.75, CENT), priced("unsure", 0.25, 0)
    assert names(MissCost(2 * CENT + 1), [unsure, sure]) == ["sure", "unsure"]
    assert names(MissCost(2 * CENT), [unsure, sure]) == ["unsure", "sure"]  # a tie: the cheapest
    assert names(MissCost(2 * CENT - 1), [unsure, sure]) == ["unsure", "sure"]


def test_two_points_of_probability_never_cost_sixty_times_the_price() -> None:
    cheap, dear = priced("cheap", 0.59, CENT // 60), priced("dear", 0.61, CENT)
    assert names(QualityTarget(0.6), [cheap, dear])[0] == "dear"
    assert names(MissCost(10 * CENT), [cheap, dear])[0] == "cheap"


def test_the_expected_cost_is_price_and_risk_in_whole_nano_dollars() -> None:
    assert expected_cost(priced("a", 0.75, 7), 100) == 32
    assert expected_cost(priced("a", 0.75, 7), 0) == 7
    assert expected_cost(priced("a", 1.0, 7), 100) == 7
    assert expected_cost(priced("a", 0.0, 7), 100) == 107
    assert expected_cost(priced("a", 0.746, 7), 100) == 7 + 25  # 25.4 is nearest to 25


def test_of_equal_prices_the_smaller_worst_case_then_the_faster_then_the_name_goes_first() -> None:
    level = [
        candidate("a", max_output_tokens=3_000),
        candidate("b", max_output_tokens=2_000, speed=Speed(0.5, 50)),
        candidate("d", max_output_tokens=2_000, speed=Speed(0.5, 100)),
        candidate("c", max_output_tokens=2_000, speed=Speed(0.5, 100)),
    ]
    for goal in (
        QualityTarget(0.5),
        QualityTarget(0.9),
        WillingnessToPay(10**9),
        MissCost(10**9),
    ):
        assert "".join(names(goal, level)) == "cdba"


models = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 10**10)), min_size=1, max_size=8).map(
    lambda made: [priced(f"m{place}", p, price) for place, (p, price) in enumerate(made)]
)
amounts = st.integers(0, 10**11)


def p_of(one: Candidate) -> float:
    assert one.p_adequate is not None
    return one.p_adequate


def exact_cost(one: Candidate, miss_cost: int) -> Fraction:
    """The objective without rounding."""
    assert one.quote is not None
    return one.quote.price.expected + (1 - Fraction(p_of(one))) * miss_cost


@given(models, amounts)
def test_models_are_ordered_by_their_expected_cost(made: list[Candidate], miss_cost: int) -> None:
    costs = [exact_cost(one, miss_cost) for one in ranked_by(MissCost(miss_cost), made)]
    assert all(one <= other + NOISE for one, other in pairwise(costs))
    assert costs[0] <= min(exact_cost(one, miss_cost) for one in made) + NOISE


@given(models, amounts, amounts)
def test_a_dearer_miss_never_chooses_a_weaker_model(
    made: list[Candidate], one: int, other: int
) -> None:
    low, high = sorted((one, other))
    before, after = (ranked_by(MissCost(cost), made)[0] for cost in (low, high))
    level = abs(exact_cost(before, high) - exact_cost(after, high)) <= 2 * NOISE
    assert p_of(after) >= p_of(before) or level


@given(models, amounts, st.floats(0, 0.05), st.data())
def test_where_probabilities_change_a_little_costs_change_a_little(
    made: list[Candidate], miss_cost: int, most: float, data: st.DataObject
) -> None:
    """No cliff: the choice on probabilities that are off by so much costs at most twice so much of a miss."""
    shifts = data.draw(st.lists(st.floats(-most, most), min_size=8, max_size=8))
    moved = [
        one._replace(p_adequate=min(max(p_of(one) + shift, 0.0), 1.0))
        for one, shift in zip(made, shifts, strict=False)
    ]
    goal, little = MissCost(miss_cost), Fraction(most) * miss_cost + NOISE
    chosen, misled = ranked_by(goal, made)[0], ranked_by(goal, moved)[0]
    assert abs(exact_cost(misled, miss_cost) - exact_cost(chosen, miss_cost)) <= little + 1
    real = next(one for one in made if one.model.id == misled.model.id)
    assert exact_cost(real, miss_cost) - exact_cost(chosen, miss_cost) <= 2 * little + 1


@given(models, amounts)
def test_what_an_answer_is_worth_and_what_a_miss_costs_order_models_alike(
    made: list[Candidate], nanos: int
) -> None:
    assert names(MissCost(nanos), made) == names(WillingnessToPay(nanos), made)


@pytest.mark.parametrize(
    ("worth_usd", "chosen"), [(0.0001, "small"), (0.02, "middle"), (1.0, "large")]
)
def test_the_more_an_answer_is_worth_the_stronger_the_model(worth_usd: float, chosen: str) -> None:
    goal = WillingnessToPay(int(worth_usd * 1e9))
    assert names(goal, LADDER)[0] == chosen
    assert explained(goal, *LADDER).code == "BEST_VALUE"


# --- A quality target --------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "chosen"), [(0.5, "small"), (0.7, "middle"), (0.8, "large")])
def test_the_cheapest_model_that_reaches_the_target(target: float, chosen: str) -> None:
    assert names(QualityTarget(target), LADDER)[0] == chosen
    assert explained(QualityTarget(target), *LADDER).code == "CHEAPEST_ADEQUATE"


def test_a_target_that_is_reached_exactly_is_reached() -> None:
    pair = [priced("cheap", 0.75, 1), priced("dear", 0.9, 2)]
    assert names(QualityTarget(0.75), pair) == ["cheap", "dear"]
    assert explained(QualityTarget(0.75), *pair).code == "CHEAPEST_ADEQUATE"
    assert names(QualityTarget(nextafter(0.75, 1)), pair) == ["dear", "cheap"]


def test_if_none_reaches_the_target_a_reason_says_so() -> None:
    assert names(QualityTarget(0.99), LADDER)[0] == "large"
    assert explained(QualityTarget(0.99), *LADDER).code == "TARGET_NOT_REACHED"


def test_below_the_target_nobody_pays_five_times_the_price_for_a_point_of_probability() -> None:
    level = (priced("cheap", 0.60, 1), priced("dear", 0.61, 5))
    assert names(QualityTarget(0.9), level) == ["cheap", "dear"]


@pytest.mark.parametrize(
    ("p", "regret", "ranked"),
    [
        (0.5, 0.25, "cheap dear"),  # exactly within the regret
        (nextafter(0.5, 0), 0.25, "dear cheap"),
        (0.5, 0.249, "dear cheap"),
        (0.75, 0.0, "cheap dear"),  # equals
        (nextafter(0.75, 0), 0.0, "dear cheap"),  # without regret only the best will do
        (0.0, 1.0, "cheap dear"),  # with all the regret there is, only the price counts
    ],
)
def test_below_the_target_what_is_within_the_regret_of_the_best_is_level(
    p: float, regret: float, ranked: str
) -> None:
    pair = [priced("dear", 0.75, 5), priced("cheap", p, 1)]
    assert names(QualityTarget(0.9, regret), pair) == ranked.split()


def test_the_rest_is_ranked_level_by_level_and_cheapest_first_in_each() -> None:
    made = [
        priced("a", 0.50, 5), priced("b", 0.46, 1), priced("c", 0.60, 5), priced("d", 0.56, 1),
        priced("e", 0.95, 5), priced("f", 0.95, 1),
    ]  # fmt: skip
    assert "".join(names(QualityTarget(0.9), made)) == "fedcba"


@given(models, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_target_chooses_no_weaker_model_beyond_the_regret(
    made: list[Candidate], one: float, other: float, regret: float
) -> None:
    low, high = sorted((one, other))
    before, after = (ranked_by(QualityTarget(target, regret), made)[0] for target in (low, high))
    assert p_of(after) >= min(p_of(before), high) - regret


@given(models, st.floats(0, 1), st.floats(0, 1))
def test_the_choice_reaches_the_target_or_comes_within_the_regret_of_the_best(
    made: list[Candidate], target: float, regret: float
) -> None:
    best = max(map(p_of, made))
    enough = target if best >= target else best - regret
    chosen, *_ = ranked_by(QualityTarget(target, regret), made)
    assert p_of(chosen) >= enough
    cheapest = min(exact_cost(one, 0) for one in made if p_of(one) >= enough)
    assert exact_cost(chosen, 0) == cheapest


# --- Giving way --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "share", "left"),
    [
        (MissCost(100), 0.0, MissCost(100)),
        (MissCost(100), 0.25, MissCost(75)),
        (MissCost(100), 1.0, MissCost(0)),
        (WillingnessToPay(100), 0.25, WillingnessToPay(75)),
        (QualityTarget(0.8, 0.2), 0.25, QualityTarget(0.6000000000000001, 0.2)),
        (QualityTarget(0.8, 0.2), 1.0, QualityTarget(0.0, 0.2)),
    ],
)
def test_limits_lower_the_goal_and_leave_its_kind(goal: Goal, share: float, left: Goal) -> None:
    assert lowered(goal, share) == left


@pytest.mark.parametrize(
    ("goal", "complexity", "left"),
    [
        (MissCost(1000), 1.0, MissCost(1000)),
        (MissCost(1000), 0.5, MissCost(500)),
        (MissCost(1000), 0.0016, MissCost(2)),
        (MissCost(1000), 0.0004, MissCost(0)),
        (MissCost(1000), 0.0, MissCost(0)),
        (WillingnessToPay(1000), 0.5, WillingnessToPay(1000)),
        (QualityTarget(0.8), 0.5, QualityTarget(0.8)),
    ],
)
def test_the_simpler_a_prompt_the_less_a_miss_costs(
    goal: Goal, complexity: float, left: Goal
) -> None:
    assert at_stake(goal, complexity) == left


def test_a_greeting_is_not_worth_a_dearer_model_and_a_proof_is() -> None:
    ladder = (priced("small", 0.90, 1, "low"), priced("large", 0.95, CENT // 5, "high"))
    made = {
        complexity: decide(ladder, Constraints(), MissCost(10 * CENT), complexity=complexity)
        for complexity in (0.05, 0.7)
    }
    assert made[0.05].chosen.model.id == "small"
    assert made[0.7].chosen.model.id == "large"
    assert made[0.7].reasons[0].facts["miss_cost_usd"] == "0.07"


# --- Reasons -----------------------------------------------------------------------------------


def test_the_reason_of_a_least_cost_adds_up_and_names_the_best_of_another_tier() -> None:
    made = (
        priced("nano", 0.95, 123_000, "low"),
        priced("lite", 0.95, 124_000, "low"),
        priced("sol", 0.98, 31 * CENT // 10, "high"),
        priced("opus", 0.98, 50 * CENT // 10, "high"),
        priced("mini", 0.80, 1 * CENT // 10, "medium"),
    )
    reason = explained(MissCost(10 * CENT), *made)
    assert reason == Reason(
        "LEAST_EXPECTED_COST",
        "lowest expected cost at complexity 1.00: price $0.000123 + 5% risk of a miss × $0.100 = $0.00512; "
        "mini: $0.00100 + 20% × $0.100 = $0.0210",
        {
            "p_adequate": "0.9500",
            "expected_price_usd": "0.000123",
            "complexity": "1.0000",
            "miss_cost_usd": "0.10",
            "expected_cost_usd": "0.005123",
            "runner_up": "mini: $0.00100 + 20% × $0.100 = $0.0210",
            "runner_up_expected_cost_usd": "0.021",
        },
    )


def test_the_runner_up_is_the_best_by_the_whole_goal_whatever_the_order_of_the_ranking() -> None:
    # Pacing had lowered the goal when the candidates were ranked.
    ranked = [priced("low", 0.95, 1, "low"), priced("weak", 0.1, 2, "medium"), LADDER[2]]
    assert goal_reason(ranked, MissCost(10 * CENT)).facts["runner_up"].startswith("large: ")
    same = [ranked[0], priced("b", 0.9, 2, "high"), priced("a", 0.9, 2, "high")]
    assert goal_reason(same, MissCost(10 * CENT)).facts["runner_up"].startswith("a: ")


def test_where_there_is_one_tier_nothing_is_compared() -> None:
    reason = explained(MissCost(10 * CENT), LADDER[0], priced("other", 0.55, CENT, "low"))
    assert reason.text == (
        "lowest expected cost at complexity 1.00: price $0.000100 + 45% risk of a miss × $0.100 = $0.0451"
    )
    assert set(reason.facts) == {
        "p_adequate", "expected_price_usd", "complexity", "miss_cost_usd", "expected_cost_usd"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("p", "risk"),
    [(1.0, "0%"), (0.9999, "0.01%"), (0.999999, "0.0001%"), (0.9876, "1.24%"), (0.0, "100%")],
)
def test_a_small_risk_is_shown_as_what_it_is(p: float, risk: str) -> None:
    assert f" + {risk} risk of a miss" in explained(MissCost(CENT), priced("a", p, 1)).text


def test_the_reason_of_the_best_value() -> None:
    assert explained(WillingnessToPay(5 * CENT), candidate("only", 0.75)) == Reason(
        "BEST_VALUE",
        "best surplus at $0.05 an answer: 75% adequate for $0.00154",
        {
            "p_adequate": "0.7500",
            "expected_price_usd": "0.00154",
            "willingness_to_pay_usd": "0.05",
        },
    )


def test_the_reason_of_a_target_that_is_reached() -> None:
    assert explained(QualityTarget(0.7), candidate("only", 0.75)) == Reason(
        "CHEAPEST_ADEQUATE",
        "cheapest to reach the target of 70%: 75% adequate",
        {"p_adequate": "0.7500", "expected_price_usd": "0.00154", "quality_target": "0.7000"},
    )


def test_the_reason_of_a_target_that_nobody_reaches_states_the_best_and_the_regret() -> None:
    made = priced("cheap", 0.74, CENT), priced("dear", 0.782, 2 * CENT)
    assert explained(QualityTarget(0.8, 0.07), *made) == Reason(
        "TARGET_NOT_REACHED",
        "none reaches the target of 80%, the best has 78.2%; cheapest within 7 points of the best: "
        "74% adequate",
        {
            "p_adequate": "0.7400",
            "expected_price_usd": "0.01",
            "quality_target": "0.8000",
            "best_p_adequate": "0.7820",
            "regret": "0.0700",
        },
    )
