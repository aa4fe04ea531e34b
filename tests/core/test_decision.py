from __future__ import annotations

from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decision import TOLERANCE, decide, exclusion
from router.core.errors import NotPossible
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Goal,
    QualityTarget,
    Speed,
    WillingnessToPay,
)
from tests.builders import candidate

ANYTHING = Constraints()
LADDER = (
    candidate("small", 0.55, price=("0.1", "0.4"), tier="low"),
    candidate("middle", 0.75, price=("1", "4"), tier="medium"),
    candidate("large", 0.90, price=("5", "20"), tier="high"),
)


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


@pytest.mark.parametrize(("target", "chosen"), [(0.5, "small"), (0.7, "middle"), (0.8, "large")])
def test_the_cheapest_model_that_reaches_the_target(target: float, chosen: str) -> None:
    decision = decide(LADDER, ANYTHING, QualityTarget(target))
    assert decision.chosen.model.id == chosen
    assert codes(decision) == ["CHEAPEST_ADEQUATE"]


def test_a_target_that_is_reached_exactly_is_reached() -> None:
    pair = [candidate("cheap", 0.75), candidate("dear", 0.9, price=("5", "20"))]
    decision = decide(pair, ANYTHING, QualityTarget(0.75))
    assert decision.chosen.model.id == "cheap"
    assert codes(decision) == ["CHEAPEST_ADEQUATE"]
    assert decide(pair, ANYTHING, QualityTarget(nextafter(0.75, 1))).chosen.model.id == "dear"


def test_if_none_reaches_the_target_the_best_is_chosen_and_a_reason_says_so() -> None:
    decision = decide(LADDER, ANYTHING, QualityTarget(0.99))
    assert decision.chosen.model.id == "large"
    assert codes(decision) == ["TARGET_NOT_REACHED"]


def test_nobody_pays_five_times_the_price_for_less_than_a_point_of_probability() -> None:
    level = (candidate("cheap", 0.600), candidate("dear", 0.605, price=("5", "20")))
    assert decide(level, ANYTHING, QualityTarget(0.9)).chosen.model.id == "cheap"


@pytest.mark.parametrize(("p", "ranked"), [(0.74, ["b", "a"]), (nextafter(0.74, 0), ["a", "b"])])
def test_a_point_of_probability_less_is_level_and_anything_more_is_not(
    p: float, ranked: list[str]
) -> None:
    pair = [candidate("a", 0.75, price=("5", "20")), candidate("b", p)]
    decision = decide(pair, ANYTHING, QualityTarget(0.9))
    assert [each.model.id for each in decision.ranked] == ranked


def test_the_rest_is_ranked_level_by_level_and_cheapest_first_in_each() -> None:
    made = [
        candidate("a", 0.50, price=("5", "20")),
        candidate("b", 0.495),
        candidate("c", 0.60, price=("5", "20")),
        candidate("d", 0.595),
        candidate("e", 0.95, price=("5", "20")),
        candidate("f", 0.95),
    ]
    decision = decide(made, ANYTHING, QualityTarget(0.9))
    assert "".join(each.model.id for each in decision.ranked) == "fedcba"


def test_of_equal_prices_the_smaller_worst_case_then_the_faster_then_the_name_goes_first() -> None:
    level = [
        candidate("a", max_output_tokens=3_000),
        candidate("b", max_output_tokens=2_000, speed=Speed(0.5, 50)),
        candidate("d", max_output_tokens=2_000, speed=Speed(0.5, 100)),
        candidate("c", max_output_tokens=2_000, speed=Speed(0.5, 100)),
    ]
    for goal in (QualityTarget(0.5), WillingnessToPay(10**9)):
        decision = decide(level, ANYTHING, goal)
        assert "".join(each.model.id for each in decision.ranked) == "cdba"


HIGH = 100 * 1_000 + 800 * 4_000
"""The 90th percentile of the price of a candidate, and of its latency:"""
SLOW_S = 0.5 * 2.7 + 800 / 100


@pytest.mark.parametrize(
    ("constraints", "made", "why"),
    [
        (Constraints(max_price_nanos=HIGH), candidate(), None),
        (Constraints(max_price_nanos=HIGH - 1), candidate(), "over_max_price"),
        (Constraints(max_latency_s=SLOW_S), candidate(), None),
        (Constraints(max_latency_s=nextafter(SLOW_S, 0)), candidate(), "over_max_latency"),
        (ANYTHING, candidate(input_tokens=99_999), None),
        (ANYTHING, candidate(input_tokens=100_000), "context_window_too_small"),
        (Constraints(max_output_tokens=1), candidate(), None),
        (Constraints(max_output_tokens=0), candidate(), "context_window_too_small"),
    ],
)
def test_what_just_meets_a_constraint_and_what_just_does_not(
    constraints: Constraints, made: Candidate, why: str | None
) -> None:
    assert exclusion(made, constraints) == why


@pytest.mark.parametrize(
    ("goal", "text", "facts"),
    [
        (
            QualityTarget(0.7),
            "cheapest to reach the target of 70%: 75% adequate",
            {"p_adequate": "0.7500", "expected_price_usd": "0.00154", "quality_target": "0.7000"},
        ),
        (
            QualityTarget(0.8),
            "none reaches the target of 80%; cheapest of the best: 75% adequate",
            {"p_adequate": "0.7500", "expected_price_usd": "0.00154", "quality_target": "0.8000"},
        ),
        (
            WillingnessToPay(50_000_000),
            "best surplus at $0.05 an answer: 75% adequate for $0.00154",
            {
                "p_adequate": "0.7500",
                "expected_price_usd": "0.00154",
                "willingness_to_pay_usd": "0.05",
            },
        ),
    ],
)
def test_the_reason_of_a_choice_and_its_facts(goal: Goal, text: str, facts: dict[str, str]) -> None:
    (reason,) = decide([candidate("only", 0.75)], ANYTHING, goal).reasons
    assert (reason.text, reason.facts) == (text, facts)


@pytest.mark.parametrize(
    ("constraints", "made", "remedy"),
    [
        (Constraints(max_latency_s=0.1), candidate(), "raise constraints.max_latency"),
        (ANYTHING, candidate(input_tokens=100_000), "shorten the prompt"),
        (ANYTHING, candidate(price=None), "give the models a price in the catalog"),
        (ANYTHING, candidate(p=None), "serve a bundle that has arms for these tiers"),
        (
            Constraints(capabilities=frozenset({"vision"})),
            candidate(),
            "ask for fewer required_capabilities",
        ),
        (Constraints(tiers=frozenset({"high"})), candidate(), "allow more models or tiers"),
    ],
)
def test_every_way_to_be_left_out_has_a_remedy(
    constraints: Constraints, made: Candidate, remedy: str
) -> None:
    why = exclusion(made, constraints)
    assert why is not None
    with pytest.raises(NotPossible) as caught:
        decide([made], constraints, QualityTarget(0.5))
    assert caught.value.message == (
        f"no model meets the constraints (1 {why.replace('_', ' ')}); {remedy}"
    )
    assert caught.value.metadata == {why: "1"}


def test_what_was_left_out_is_counted_in_the_order_of_the_alphabet() -> None:
    out = [
        candidate("a", price=None),
        candidate("b", price=None),
        candidate("c", input_tokens=100_000),
    ]
    decision = decide([*out, candidate("z")], ANYTHING, QualityTarget(0.5))
    assert decision.reasons[-1].text == "models left out: 1 context window too small, 2 no price"
    with pytest.raises(NotPossible) as caught:
        decide(out[::-1], ANYTHING, QualityTarget(0.5))
    # The constraint that is checked last is nearest to being met.
    assert caught.value.message == (
        "no model meets the constraints (1 context window too small, 2 no price); shorten the prompt"
    )


def test_a_catalog_of_one_model_is_no_only_candidate() -> None:
    assert codes(decide([candidate()], ANYTHING, QualityTarget(0.5))) == ["CHEAPEST_ADEQUATE"]


@pytest.mark.parametrize(
    ("worth_usd", "chosen"), [(0.0001, "small"), (0.02, "middle"), (1.0, "large")]
)
def test_the_more_an_answer_is_worth_the_stronger_the_model(worth_usd: float, chosen: str) -> None:
    decision = decide(LADDER, ANYTHING, WillingnessToPay(int(worth_usd * 1e9)))
    assert decision.chosen.model.id == chosen
    assert codes(decision) == ["BEST_VALUE"]


@pytest.mark.parametrize(
    ("constraints", "made", "why"),
    [
        (Constraints(models=frozenset({"other"})), candidate(), "not_in_allowed_models"),
        (Constraints(tiers=frozenset({"high"})), candidate(), "not_in_allowed_tiers"),
        (Constraints(capabilities=frozenset({"vision"})), candidate(), "lacks_capability"),
        (ANYTHING, candidate(p=None), "unknown_to_the_classifier"),
        (ANYTHING, candidate(price=None), "no_price"),
        (ANYTHING, candidate(input_tokens=100_000), "context_window_too_small"),
        (Constraints(max_price_nanos=1), candidate(), "over_max_price"),
        (Constraints(max_latency_s=0.1), candidate(), "over_max_latency"),
    ],
)
def test_every_way_to_be_left_out(constraints: Constraints, made: Candidate, why: str) -> None:
    assert exclusion(made, constraints) == why
    decision = decide([made, candidate("other", tier="high", capabilities=frozenset({"vision"}),
                                       price=("0", "0"), speed=candidate().model.speed.__class__(0.0, 1e9))],
                      constraints, QualityTarget(0.5))  # fmt: skip
    assert decision.chosen.model.id == "other"
    assert codes(decision) == ["CHEAPEST_ADEQUATE", "ONLY_CANDIDATE", "MODELS_EXCLUDED"]
    assert decision.reasons[-1].facts == {why: "1"}


def test_an_unpriced_model_is_never_free() -> None:
    decision = decide(
        [candidate("unpriced", 0.99, price=None), *LADDER], ANYTHING, QualityTarget(0.5)
    )
    assert "unpriced" not in {ranked.model.id for ranked in decision.ranked}


def test_impossible_constraints_say_what_would_help() -> None:
    with pytest.raises(
        NotPossible, match=r"raise constraints\.max_price to at least \$0\.00033"
    ) as caught:
        decide(LADDER, Constraints(max_price_nanos=1000), QualityTarget(0.5))
    assert caught.value.reason == "NO_ELIGIBLE_MODEL"
    assert caught.value.metadata["over_max_price"] == "3"
    assert caught.value.metadata["cheapest_high_price_usd"] == "0.00033"


def test_nothing_allowed_says_to_allow_more() -> None:
    with pytest.raises(NotPossible, match="allow more models or tiers"):
        decide(LADDER, Constraints(models=frozenset({"nobody"})), QualityTarget(0.5))


candidates = st.lists(
    st.builds(
        candidate,
        st.sampled_from("abcdefgh"),
        st.none() | st.floats(0, 1),
        price=st.none() | st.sampled_from([("0.1", "0.4"), ("1", "4"), ("5", "20")]),
        tier=st.sampled_from(["low", "medium", "high"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda made: made.model.id,
)
goals: st.SearchStrategy[Goal] = st.one_of(
    st.floats(0, 1).map(QualityTarget), st.integers(1, 10**12).map(WillingnessToPay)
)
constraint_sets = st.builds(
    Constraints,
    tiers=st.frozensets(st.sampled_from(["low", "medium", "high"]), max_size=2),
    max_price_nanos=st.none() | st.integers(0, 10**8),
)


@given(candidates, constraint_sets, goals, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_never_matters(
    made: list[Candidate], constraints: Constraints, goal: Goal, random: object
) -> None:
    def outcome(order: list[Candidate]) -> object:
        try:
            return [c.model.id for c in decide(order, constraints, goal).ranked]
        except NotPossible as error:
            return error.metadata

    shuffled = list(made)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert outcome(made) == outcome(shuffled)


@given(candidates, constraint_sets, goals)
def test_every_ranked_model_is_eligible_and_every_eligible_model_is_ranked(
    made: list[Candidate], constraints: Constraints, goal: Goal
) -> None:
    eligible = {c.model.id for c in made if exclusion(c, constraints) is None}
    if not eligible:
        with pytest.raises(NotPossible):
            decide(made, constraints, goal)
        return
    ranked = decide(made, constraints, goal).ranked
    assert {c.model.id for c in ranked} == eligible
    assert len(ranked) == len(eligible)


@given(candidates, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_target_never_chooses_a_weaker_model(
    made: list[Candidate], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    try:
        weaker = decide(made, ANYTHING, QualityTarget(low)).chosen
        stronger = decide(made, ANYTHING, QualityTarget(high)).chosen
    except NotPossible:
        return
    assert weaker.p_adequate is not None
    assert stronger.p_adequate is not None
    assert stronger.p_adequate >= min(weaker.p_adequate, high) - TOLERANCE
