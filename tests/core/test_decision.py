from __future__ import annotations

from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decision import decide
from router.core.errors import NotPossible
from router.core.exclusions import arm_prices, exclusion
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Goal,
    MissCost,
    QualityTarget,
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


def test_an_arm_costs_what_its_cheapest_candidate_costs_that_meets_the_constraints() -> None:
    made = [
        candidate("a", price=("5", "20")),
        candidate("b"),
        candidate("c", price=("0.1", "0.4"), capabilities=frozenset()),
        candidate("d", tier="high", price=("5", "20")),
        candidate("unpriced", price=None),
        candidate("unknown", p=None, price=("0.1", "0.4")),
    ]
    tools = Constraints(capabilities=frozenset({"tools"}))
    assert arm_prices(made, tools) == {"low": 1_540_000, "high": 7_700_000}
    assert arm_prices(made, ANYTHING) == {"low": 154_000, "high": 7_700_000}


HIGH = 100 * 1_000 + 800 * 4_000
"""The 90th percentile of the price of a candidate, and of its latency:"""
SLOW_S = 0.5 * 2.7 + 800 / 100
"""And of the time to its first token:"""
LATE_S = 0.5 * 2.7


@pytest.mark.parametrize(
    ("constraints", "made", "why"),
    [
        (Constraints(max_price_nanos=HIGH), candidate(), None),
        (Constraints(max_price_nanos=HIGH - 1), candidate(), "over_max_price"),
        (Constraints(max_latency_s=SLOW_S), candidate(), None),
        (Constraints(max_latency_s=nextafter(SLOW_S, 0)), candidate(), "over_max_latency"),
        (Constraints(max_first_token_s=LATE_S), candidate(), None),
        (Constraints(max_first_token_s=nextafter(LATE_S, 0)), candidate(), "over_max_first_token"),
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
    ("constraints", "made", "remedy"),
    [
        (Constraints(max_latency_s=0.1), candidate(), "raise constraints.max_latency"),
        (Constraints(max_first_token_s=0.1), candidate(), "raise constraints.max_first_token"),
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
        (Constraints(max_first_token_s=0.1), candidate(), "over_max_first_token"),
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
    st.builds(QualityTarget, st.floats(0, 1), st.floats(0, 1)),
    st.integers(1, 10**12).map(WillingnessToPay),
    st.integers(0, 10**12).map(MissCost),
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
