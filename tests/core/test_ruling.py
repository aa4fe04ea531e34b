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
from router.core.health import Health
from router.core.limits import SoftAction
from router.core.load import Gauge, Load
from router.core.ruling import NO_RULING, Effects, Rule, Ruling
from router.core.types import Constraints, MissCost, QualityTarget
from tests.builders import candidate
from tests.core.test_decision import HIGH, LADDER, SLOW_S
from tests.core.test_decision_limits import ladder, state

ANYTHING = Constraints()


def ruled(*effects: Effects, giving_way: str = "") -> Ruling:
    """Rules a, b, c…, of which those give way whose names are in a text."""
    return Ruling(
        tuple(
            Rule(name, each, "a text", name in giving_way)
            for name, each in zip("abcdef", effects, strict=False)
        )
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


# --- Rules that give way -----------------------------------------------------------------------

HARD = Effects(tiers=frozenset({"high"}))
P90_OF_LARGE = 100 * 5_000 + 800 * 20_000


def test_a_rule_that_gives_way_applies_as_long_as_a_model_is_left_with_it() -> None:
    ruling = ruled(HARD, giving_way="a")
    just = decide(LADDER, Constraints(max_price_nanos=P90_OF_LARGE), MissCost(0), ruling=ruling)
    assert just.chosen.model.id == "large"
    assert not just.rules_gave_way
    below = decide(
        LADDER, Constraints(max_price_nanos=P90_OF_LARGE - 1), MissCost(0), ruling=ruling
    )
    assert below.chosen.model.id == "small"
    assert below.rules_gave_way


def test_the_reply_says_what_gave_way_and_does_not_count_it_as_what_left_models_out() -> None:
    asked = Constraints(tiers=frozenset({"low", "medium"}))
    ruling = ruled(Effects(explore=0.0), HARD, giving_way="b")
    reasons = decide(LADDER, asked, QualityTarget(0.5), ruling=ruling).reasons
    told = {each.code: each for each in reasons}
    assert told["RULES_APPLIED"].text == (
        "by the routing table, a: a text; b: a text (gave way, as no model was left)"
    )
    assert told["RULES_APPLIED"].facts == {
        "a": "a text",
        "b": "a text (gave way, as no model was left)",
    }
    assert told["MODELS_EXCLUDED"].facts == {"not_in_allowed_tiers": "1"}


def test_all_rules_that_give_way_do_so_at_once_and_the_others_stay() -> None:
    not_small = Effects(forbidden_models=frozenset({"small"}))
    cheap = Effects(tiers=frozenset({"low"}))
    # The middle model would pass the second one.
    ruling = ruled(not_small, Effects(tiers=frozenset({"medium", "high"})), cheap, giving_way="bc")
    found = decide(LADDER, ANYTHING, MissCost(0), ruling=ruling)
    assert [each.model.id for each in found.ranked] == ["middle", "large"]
    assert ruling.after_giving_way().names == ("a",)
    assert [each.name for each in ruling.after_giving_way().gave_way] == ["b", "c"]


def test_where_the_others_leave_nothing_either_they_alone_are_named() -> None:
    ruling = ruled(HARD, Effects(models=frozenset({"nobody"})), giving_way="a")
    with pytest.raises(NotPossible) as refused:
        decide(LADDER, ANYTHING, QualityTarget(0.5), ruling=ruling)
    assert refused.value.metadata == {"by_rule_b": "3"}
    assert "(b)" in refused.value.message


@pytest.mark.parametrize(
    ("hard", "chosen"), [(100, "large"), (99, "small")], ids=["just fits", "one nano-dollar short"]
)
def test_a_rule_gives_way_to_a_limit(hard: int, chosen: str) -> None:
    made = ladder(state(hard))
    found = decide(made, ANYTHING, MissCost(0), ruling=ruled(HARD, giving_way="a"))
    assert found.chosen.model.id == chosen


def test_a_rule_gives_way_where_its_models_would_have_to_wait_as_batch_work() -> None:
    made = ladder(state(soft=99, on_soft=SoftAction.DEFER_BATCH))
    ruling = ruled(HARD, giving_way="a")
    assert decide(made, ANYTHING, MissCost(0), ruling=ruling, batch=True).chosen.model.id == "small"
    with pytest.raises(Exhausted, match="batch work waits for the reset"):
        decide(made, ANYTHING, MissCost(0), ruling=ruled(HARD), batch=True)


@pytest.mark.parametrize(
    ("used", "chosen"), [(99, "large"), (100, "small")], ids=["room for one", "no room"]
)
def test_a_rule_gives_way_where_the_providers_of_its_models_have_no_room(
    used: int, chosen: str
) -> None:
    full = Load({}, {"large": (Gauge("acme/large", "requests_per_minute", 100, used, False, 1.0),)})
    ruling = ruled(HARD, giving_way="a")
    found = decide(LADDER, ANYTHING, MissCost(0), ruling=ruling, load=full)
    assert found.chosen.model.id == chosen


def test_a_rule_does_not_give_way_to_failing_models_which_are_tried_all_the_same() -> None:
    health = Health(models={"large": "it fails"})
    found = decide(LADDER, ANYTHING, MissCost(0), ruling=ruled(HARD, giving_way="a"), health=health)
    assert found.chosen.model.id == "large"
    assert "ALL_UNHEALTHY" in [each.code for each in found.reasons]


def test_an_arm_costs_what_it_does_after_rules_gave_way() -> None:
    asked = Constraints(tiers=frozenset({"low"}))
    assert arm_prices(LADDER, asked, ruled(HARD)) == {}
    assert arm_prices(LADDER, asked, ruled(HARD, giving_way="a")) == arm_prices(LADDER, asked)


@given(
    st.lists(EFFECTS, max_size=4),
    st.text("abcd", max_size=4),
    st.frozensets(st.sampled_from(["low", "medium", "high"])),
)
def test_what_gives_way_refuses_nothing_and_changes_no_refusal(
    effects: list[Effects], giving_way: str, tiers: frozenset[str]
) -> None:
    asked, ruling = Constraints(tiers=tiers), ruled(*effects, giving_way=giving_way)
    strict = ruling.after_giving_way()
    if all(exclusion(each, asked, strict) for each in LADDER):
        refusals = []
        for one in (ruling, strict):
            with pytest.raises(NotPossible) as refused:
                decide(LADDER, asked, MissCost(10**7), ruling=one)
            refusals.append((refused.value.message, refused.value.metadata))
        assert refusals[0] == refusals[1]
        return
    found = decide(LADDER, asked, MissCost(10**7), ruling=ruling)
    in_force = strict if found.rules_gave_way else ruling
    assert all(in_force.forbids(each) is None for each in found.ranked)
    with_all = [c for c in LADDER if exclusion(c, asked, ruling) is None]
    assert found.rules_gave_way == (not with_all)
