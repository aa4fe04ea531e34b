"""A refusal says the fewest things to relax, and the quote that there would be then."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import event, given

from router.core.changes import Change, Lever, changed, obstacles
from router.core.errors import Exhausted, MitsumoriError, NotPossible
from router.core.inputs import Inputs
from router.core.limits import SoftAction, Unit
from router.core.relaxation import advised, nearest
from router.core.ruling import Effects, Rule, Ruling
from router.core.task_cap import cap_state
from router.core.types import Candidate, Constraints, Exploration, MissCost
from tests.builders import candidate
from tests.core.test_decision_limits import state
from tests.core.test_explanation import costing, limited
from tests.core.test_explanation_truth import situations
from tests.core.test_ruling import ruled

GOAL = MissCost(1_000_000)
SMALL, LARGE = costing("small", 1_000_000, 0.6), costing("large", 3_000_000, 0.9, tier="high")


def refusal(
    candidates: list[Candidate], constraints: Constraints, **given: object
) -> MitsumoriError:
    inputs = Inputs(candidates, constraints, GOAL, **given)  # type: ignore[arg-type]
    with pytest.raises(MitsumoriError) as caught:
        inputs.decide()
    return advised(caught.value, inputs)


def test_the_bound_that_has_to_rise_is_named_once_with_the_quote() -> None:
    error = refusal([SMALL, LARGE], Constraints(max_price_nanos=1_000_000))
    assert isinstance(error, NotPossible)
    assert error.message == (
        "no model meets the constraints (2 over max price); raise constraints.max_price to at least $0.002; "
        "then small would be chosen, for $0.00100 expected and $0.002 at most in nine of ten calls"
    )
    assert (error.reason, error.field) == ("NO_ELIGIBLE_MODEL", "constraints")
    assert error.metadata == {
        "over_max_price": "2",
        "cheapest_high_price_usd": "0.002",
        "relaxations": "1",
        "relax_1": "constraints.max_price",
        "relax_1_to": "0.002",
        "feasible_model": "small",
        "feasible_expected_price_usd": "0.001",
        "feasible_high_price_usd": "0.002",
    }


def test_two_constraints_that_contradict_each_other_are_both_named() -> None:
    asked = Constraints(models=frozenset({"small"}), tiers=frozenset({"high"}), max_price_nanos=10)
    error = refusal([SMALL, LARGE], asked)
    assert error.message.endswith(
        "; nearest: allow low in constraints.allowed_tiers and raise constraints.max_price to at least "
        "$0.002, then small would be chosen, for $0.00100 expected and $0.002 at most in nine of ten calls"
    )
    assert error.metadata["relaxations"] == "2"
    assert error.metadata["relax_1"] == "constraints.allowed_tiers"
    assert error.metadata["relax_1_to"] == "low"
    assert error.metadata["relax_2"] == "constraints.max_price"


def test_the_model_that_would_be_chosen_is_the_best_of_those_that_are_let_in() -> None:
    good = costing("good", 1_000_001, 0.99)
    asked = Constraints(tiers=frozenset({"medium"}))
    found = nearest(Inputs([SMALL, good, LARGE], asked, GOAL))
    assert found is not None
    assert found.changes == (Change(Lever.TIERS, "low"),)
    assert found.chosen is good


def test_a_budget_that_is_spent_says_what_it_lacks() -> None:
    left = state(2_500_000, spent=1_000_000)
    error = refusal([limited(SMALL, left), limited(LARGE, left)], Constraints())
    assert isinstance(error, Exhausted)
    assert error.message == (
        "limit budget: too little is left; try again after the reset; nearest: $0.0005 more under limit "
        "budget, then small would be chosen, for $0.00100 expected and $0.002 at most in nine of ten calls"
    )
    assert error.reason == "LIMIT_EXHAUSTED"
    assert error.metadata["limit"] == "budget"
    assert (error.metadata["relax_1"], error.metadata["relax_1_to"]) == ("limit budget", "0.0005")


def test_a_share_that_is_used_up_says_what_it_lacks() -> None:
    left = state(share=0.25, whole=6_000_000, spent=1_000_000)
    error = refusal([limited(SMALL, left), limited(LARGE, left)], Constraints())
    assert isinstance(error, Exhausted)
    # A quarter of 6,000,000 and the 2,000,000 of the small model are 2,000,000, of which half is spent.
    assert "nearest: $0.001 more under limit budget, then small would be chosen" in error.message
    assert (error.metadata["relax_1"], error.metadata["relax_1_to"]) == ("limit budget", "0.001")


def test_a_cap_of_a_task_is_no_limit_to_be_set_higher() -> None:
    left = cap_state("run-7", cap=2_500_000, spent=1_000_000, held=0)
    error = refusal([limited(SMALL, left), limited(LARGE, left)], Constraints())
    assert error.reason == "TASK_CAP_REACHED"
    assert "nearest: $0.0005 more under the cap of task run-7, then small would" in error.message
    assert (error.metadata["relax_1"], error.metadata["relax_1_to"]) == ("task run-7", "0.0005")


@pytest.mark.parametrize(
    ("unit", "told"),
    [
        (Unit.REQUESTS, "1 request more under limit budget"),
        (Unit.CONCURRENT, "1 concurrent request more under limit budget"),
    ],
)
def test_one_of_a_unit_is_one(unit: Unit, told: str) -> None:
    full = state(0)
    full = replace(full, limit=replace(full.limit, unit=unit))
    error = refusal([limited(SMALL, full), limited(LARGE, full)], Constraints())
    assert f"nearest: {told}, then small would be chosen" in error.message


def test_what_the_caller_can_do_goes_before_what_an_operator_has_to() -> None:
    left = state(1_999_999)
    allowed = limited(SMALL, left)
    found = nearest(Inputs([allowed, LARGE], Constraints(tiers=frozenset({"low"})), GOAL))
    assert found is not None
    assert found.changes == (Change(Lever.TIERS, "high"),)


def test_of_bounds_the_one_that_rises_least_is_named() -> None:
    # 2,000,000 of 1,900,000 against 11 of 10 seconds.
    slow = candidate("slow", 0.9, price=("0.001", "0.001"))
    assert slow.quote is not None
    slow = slow._replace(quote=slow.quote._replace(latency=slow.quote.latency._replace(p90_s=11.0)))
    asked = Constraints(max_price_nanos=1_900_000, max_latency_s=10)
    found = nearest(Inputs([SMALL, slow], asked, GOAL))
    assert found is not None
    assert found.changes == (Change(Lever.MAX_PRICE, "", 2_000_000, 1_900_000),)


def test_a_rule_that_gave_way_is_not_in_the_way() -> None:
    ruling = ruled(Effects(tiers=frozenset({"high"})), giving_way="a")
    asked = Constraints(max_price_nanos=1_000_000)
    found = nearest(Inputs([SMALL, LARGE], asked, GOAL, ruling=ruling))
    assert found is not None
    assert found.changes == (Change(Lever.MAX_PRICE, "", 2_000_000, 1_000_000),)
    assert found.chosen is SMALL


def test_with_what_is_relaxed_a_rule_that_gave_way_may_apply_again() -> None:
    ruling = ruled(Effects(tiers=frozenset({"high"})), giving_way="a")
    asked = Constraints(max_price_nanos=1_000_000)
    equal = costing("equal", 1_000_000, 0.1, tier="high")
    found = nearest(Inputs([SMALL, equal], asked, GOAL, ruling=ruling))
    assert found is not None
    assert found.chosen is equal


def test_a_rule_in_the_way_is_named() -> None:
    ruling = ruled(Effects(tiers=frozenset({"high"})))
    error = refusal([SMALL], Constraints(), ruling=ruling)
    assert "nearest: have the rule a of the routing table changed, then small" in error.message
    assert (error.metadata["relax_1"], error.metadata["relax_1_to"]) == ("rule a", "")


@pytest.mark.parametrize(
    ("constraints", "told", "field", "to"),
    [
        (
            Constraints(max_latency_s=1.0),
            "raise constraints.max_latency to at least 9.35 s",
            "max_latency",
            "9.35",
        ),
        (
            Constraints(max_first_token_s=1.0),
            "raise constraints.max_first_token to at least 1.35 s",
            "max_first_token",
            "1.35",
        ),
        (
            Constraints(regions=frozenset({"us"})),
            "allow eu in constraints.regions",
            "regions",
            "eu",
        ),
        (
            Constraints(capabilities=frozenset({"flying"})),
            "leave flying out of constraints.required_capabilities",
            "required_capabilities",
            "flying",
        ),
        (
            Constraints(models=frozenset({"b"})),
            "allow a in constraints.allowed_models",
            "allowed_models",
            "a",
        ),
    ],
)
def test_every_constraint_has_words(
    constraints: Constraints, told: str, field: str, to: str
) -> None:
    error = refusal([costing("a", 1_000, regions=frozenset({"eu"}))], constraints)
    assert told in error.message
    assert "then a would be chosen" in error.message
    assert error.metadata["relax_1"] == f"constraints.{field}"
    assert error.metadata["relax_1_to"] == to


def test_a_model_of_unknown_regions_needs_a_request_without() -> None:
    error = refusal([SMALL], Constraints(regions=frozenset({"us"})))
    assert "nearest: leave out constraints.regions, then small" in error.message


def test_where_nothing_helps_the_refusal_stays_as_it_is() -> None:
    for made in (candidate("a", price=None), candidate("a", p=None)):
        assert "then" not in refusal([made], Constraints()).message
    assert nearest(Inputs([], Constraints(), GOAL)) is None


def test_work_that_is_meant_to_wait_gets_no_advice() -> None:
    ruling = Ruling((Rule("nightly", Effects(defer=True), ""),))
    error = refusal([SMALL], Constraints(), ruling=ruling, batch=True)
    assert (
        error.message == "rule nightly of the routing table: batch work waits; send it again later"
    )
    soft = limited(SMALL, state(soft=0, on_soft=SoftAction.DEFER_BATCH))
    assert "nearest" not in refusal([soft], Constraints(), batch=True).message
    # And none that leads to such a refusal.
    asked = Constraints(max_price_nanos=1)
    assert "nearest" not in refusal([soft], asked, batch=True).message


def test_however_long_names_are_the_message_is_bounded() -> None:
    name = "m" * 500
    asked = Constraints(capabilities=frozenset({f"{at}{'c' * 500}" for at in range(9)}))
    error = refusal([costing(name, 10)], asked)
    assert error.metadata["relaxations"] == "9"
    assert " and 6 more, then mmm" in error.message
    assert len(error.message) < 700
    assert {each for each in error.metadata if each.startswith("relax_")} == {
        f"relax_{at}{to}" for at in (1, 2, 3) for to in ("", "_to")
    }


@given(situations())
def test_what_is_named_suffices_and_no_smaller_set_does(inputs: Inputs) -> None:
    try:
        inputs.decide()
        return
    except MitsumoriError:
        pass
    found = nearest(inputs)
    needs = [obstacles(each, inputs.in_force()) for each in inputs.candidates]
    if found is None:
        assert not any(needs)
        return
    event(f"{len(found.changes)}")
    sure = inputs._replace(exploration=None)
    assert changed(sure, *found.changes).decide().chosen == found.chosen
    every = {change for each in needs for change in each or ()}
    for fewer in combinations(sorted(every, key=str), len(found.changes) - 1):
        with pytest.raises(MitsumoriError):
            changed(sure, *fewer).decide()


def test_chance_has_no_part_in_it() -> None:
    near = costing("near", 1_000_001, 0.6)
    chance = Exploration(share=1.0, regret=1.0, draw=0.99)
    asked = Constraints(tiers=frozenset({"medium"}))
    found = nearest(Inputs([SMALL, near], asked, GOAL, exploration=chance))
    assert found is not None
    assert found.chosen is SMALL
