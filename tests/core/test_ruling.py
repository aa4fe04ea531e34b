"""The decision respects what the routing table says, and says which rule decided."""

from __future__ import annotations

from itertools import permutations
from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decision import decide
from router.core.errors import Exhausted, MitsumoriError, NotPossible
from router.core.exclusions import arm_prices, exclusion
from router.core.ruling import NO_RULING, Effects, Rule, Ruling
from router.core.types import Constraints, MissCost, QualityTarget
from tests.builders import candidate
from tests.core.test_decision import HIGH, LADDER, SLOW_S

ANYTHING = Constraints()


def ruled(*effects: Effects) -> Ruling:
    return Ruling(
        tuple(Rule(name, each, "a text") for name, each in zip("abcdef", effects, strict=False))
    )


def chosen(ruling: Ruling, goal: float = 0.5) -> str:
    return decide(LADDER, ANYTHING, QualityTarget(goal), ruling=ruling).chosen.model.id


@pytest.mark.parametrize(
    ("effects", "model"),
    [
        (Effects(), "small"),
        (Effects(models=frozenset({"large"})), "large"),
        (Effects(forbidden_models=frozenset({"small"})), "middle"),
        (Effects(tiers=frozenset({"high"})), "large"),
        (Effects(tiers=frozenset({"medium", "high"})), "middle"),
    ],
)
def test_a_rule_leaves_out_what_it_forbids(effects: Effects, model: str) -> None:
    assert chosen(ruled(effects)) == model


@pytest.mark.parametrize(
    ("effects", "why"),
    [
        (Effects(max_price_nanos=HIGH), None),
        (Effects(max_price_nanos=HIGH - 1), "by_rule_a"),
        (Effects(max_latency_s=SLOW_S), None),
        (Effects(max_latency_s=nextafter(SLOW_S, 0)), "by_rule_a"),
        (Effects(capabilities=frozenset({"tools"})), None),
        (Effects(capabilities=frozenset({"flying"})), "by_rule_a"),
        (Effects(providers=frozenset({candidate().model.provider})), None),
        (Effects(providers=frozenset({"another"})), "by_rule_a"),
        (Effects(forbidden_providers=frozenset({candidate().model.provider})), "by_rule_a"),
        (Effects(forbidden_providers=frozenset({"another"})), None),
    ],
)
def test_what_a_rule_just_allows_and_what_it_just_forbids(
    effects: Effects, why: str | None
) -> None:
    assert exclusion(candidate(), ANYTHING, ruled(effects)) == why


def test_the_reply_says_which_rules_apply_and_how_many_models_each_left_out() -> None:
    ruling = ruled(
        Effects(forbidden_models=frozenset({"small"})), Effects(tiers=frozenset({"high"}))
    )
    reasons = decide(LADDER, ANYTHING, QualityTarget(0.5), ruling=ruling).reasons
    assert [each.code for each in reasons] == [
        "CHEAPEST_ADEQUATE", "ONLY_CANDIDATE", "RULES_APPLIED", "MODELS_EXCLUDED",
    ]  # fmt: skip
    assert reasons[2].text == "by the routing table, a: a text; b: a text"
    assert reasons[3].facts == {"by_rule_a": "1", "by_rule_b": "1"}


def test_rules_that_leave_nothing_are_named() -> None:
    ruling = ruled(
        Effects(tiers=frozenset({"low"})), Effects(forbidden_models=frozenset({"small"}))
    )
    with pytest.raises(NotPossible) as refused:
        decide(LADDER, ANYTHING, QualityTarget(0.5), ruling=ruling)
    assert refused.value.message == (
        "no model meets the constraints (2 by rule a, 1 by rule b); the routing table leaves none of those "
        "that do (a, b); ask its operator to change it"
    )
    assert refused.value.metadata == {"by_rule_a": "2", "by_rule_b": "1"}


def test_a_constraint_of_the_caller_is_told_before_a_rule() -> None:
    ruling = ruled(Effects(tiers=frozenset({"high"})))
    constraints = Constraints(tiers=frozenset({"low"}))
    assert exclusion(LADDER[1], constraints, ruling) == "not_in_allowed_tiers"
    assert exclusion(LADDER[0], constraints, ruling) == "by_rule_a"


def test_batch_work_waits_where_a_rule_says_so_and_other_work_does_not() -> None:
    ruling = ruled(Effects(defer=True))
    with pytest.raises(Exhausted, match="rule a of the routing table: batch work waits") as refused:
        decide(LADDER, ANYTHING, QualityTarget(0.5), ruling=ruling, batch=True)
    assert refused.value.reason == "RULE_DEFERRED"
    assert decide(LADDER, ANYTHING, QualityTarget(0.5), ruling=ruling).chosen.model.id == "small"


def test_what_a_rule_forbids_does_not_count_as_the_price_of_an_arm() -> None:
    cheap, dear = candidate("a", price=("0.1", "0.4")), candidate("b", price=("5", "20"))
    ruling = ruled(Effects(forbidden_models=frozenset({"a"})))
    assert arm_prices([cheap, dear], ANYTHING, ruling) == arm_prices([dear], ANYTHING)


EFFECTS = st.builds(
    Effects,
    models=st.sets(st.sampled_from(["small", "middle", "large"])).map(frozenset),
    forbidden_models=st.sets(st.sampled_from(["small", "middle", "large"])).map(frozenset),
    tiers=st.sets(st.sampled_from(["low", "medium", "high"])).map(frozenset),
)


@given(st.lists(EFFECTS, max_size=3), st.integers(0, 10**9))
def test_the_order_of_rules_changes_no_choice_and_no_choice_is_forbidden(
    effects: list[Effects], stake: int
) -> None:
    outcomes = set()
    for order in permutations(effects):
        try:
            decision = decide(LADDER, ANYTHING, MissCost(stake), ruling=ruled(*order))
        except MitsumoriError as error:
            outcomes.add(error.reason)
        else:
            assert all(each.allows(decision.chosen.model) for each in effects)
            outcomes.add(decision.chosen.model.id)
    assert len(outcomes) == 1


ONE = frozenset({"one"})


@pytest.mark.parametrize(
    "effects",
    [
        *(Effects(**{name: ONE}) for name in (
            "models", "forbidden_models", "providers", "forbidden_providers", "tiers", "capabilities",
            "regions",
        )),
        Effects(max_price_nanos=0),
        Effects(max_latency_s=0.0),
    ],
)  # fmt: skip
def test_what_can_leave_out_a_model_binds(effects: Effects) -> None:
    assert effects.binds
    if not effects.forbidden_models | effects.forbidden_providers:
        assert ruled(Effects(defer=True), effects).forbids(candidate()) == "b"


def test_what_only_says_how_to_choose_does_not_bind() -> None:
    assert not Effects(goal=QualityTarget(0.5), defer=True, explore=0.5).binds


def test_without_rules_there_is_no_word_of_them() -> None:
    reasons = decide(LADDER, ANYTHING, QualityTarget(0.5), ruling=NO_RULING).reasons
    assert "RULES_APPLIED" not in [each.code for each in reasons]
