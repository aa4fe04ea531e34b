"""A retired model is never chosen; its replacement stands in where it is asked for."""

from __future__ import annotations

from datetime import date

import pytest

from router.core.decision import decide
from router.core.errors import NotPossible
from router.core.exclusions import arm_prices, exclusion
from router.core.ruling import NO_RULING, Effects, Rule, Ruling
from router.core.types import Candidate, Constraints, QualityTarget, Reason
from tests.builders import candidate

DAY = date(2026, 11, 1)
OLD = candidate("old", 0.8, price=("0.1", "0.4"), retired=DAY)
NEW = candidate("new", 0.8, price=("5", "20"), tier="high", replaces=frozenset({"old"}))
OTHER = candidate("other", 0.8, price=("1", "4"))
GOAL = QualityTarget(0.5)


def named(*models: str) -> Constraints:
    return Constraints(models=frozenset(models))


def only(*models: str) -> Ruling:
    return Ruling((Rule("stay", Effects(models=frozenset(models)), "only some"),))


def replacement(
    constraints: Constraints,
    ruling: Ruling = NO_RULING,
    models: tuple[Candidate, ...] = (OLD, NEW, OTHER),
) -> tuple[str, Reason | None]:
    """The model that is chosen, and the reason that says what it stands for."""
    found = decide(models, constraints, GOAL, ruling=ruling)
    reasons = (each for each in found.reasons if each.code == "REPLACED")
    return found.chosen.model.id, next(reasons, None)


def test_the_cheapest_model_is_not_chosen_once_it_has_retired() -> None:
    found = decide([OLD, NEW, OTHER], Constraints(), GOAL)
    assert [each.model.id for each in found.ranked] == ["other", "new"]
    assert found.reasons[-1].facts == {"retired": "1"}
    assert arm_prices([OLD], Constraints()) == {}


def test_who_asks_for_it_gets_its_replacement_and_is_told() -> None:
    model, reason = replacement(named("old"))
    assert model == "new"
    assert reason is not None
    assert reason.text == "old has retired: new was chosen instead"
    assert reason.facts == {"old": "new"}


def test_who_asks_for_the_replacement_itself_or_for_anything_is_told_nothing() -> None:
    assert replacement(named("new")) == ("new", None)
    assert replacement(named("old", "new")) == ("new", None)
    assert replacement(named("old", "other")) == ("other", None)
    assert replacement(Constraints()) == ("other", None)


def test_a_rule_that_forces_it_forces_its_replacement() -> None:
    model, reason = replacement(Constraints(), only("old"))
    assert model == "new"
    assert reason is not None
    assert reason.facts == {"old": "new"}


def test_a_rule_that_forbids_it_leaves_its_replacement_alone() -> None:
    forbidding = Ruling((Rule("no", Effects(forbidden_models=frozenset({"old"})), ""),))
    assert exclusion(NEW, Constraints(), forbidding) is None


def test_two_that_retired_for_the_same_model_are_both_told() -> None:
    new = candidate("new", 0.8, replaces=frozenset({"old", "older"}))
    model, reason = replacement(named("old", "older"), models=(OLD, new))
    assert model == "new"
    assert reason is not None
    assert reason.text == "old, older have retired: new was chosen instead"


def test_without_a_replacement_the_refusal_says_what_retired_and_when() -> None:
    with pytest.raises(NotPossible) as refused:
        decide([OLD, OTHER], named("old"), GOAL)
    assert refused.value.message == (
        "no model meets the constraints (1 not in allowed models, 1 retired); old retired on 2026-11-01; "
        "allow other models"
    )
    assert refused.value.metadata == {"not_in_allowed_models": "1", "retired": "1"}


def test_of_many_that_retired_three_are_named() -> None:
    gone = [candidate(name, 0.8, retired=DAY) for name in "abcd"]
    with pytest.raises(
        NotPossible, match="c retired on 2026-11-01, and others; allow other models"
    ):
        decide(gone, Constraints(), GOAL)


def test_a_constraint_that_the_replacement_misses_is_what_the_refusal_names() -> None:
    with pytest.raises(NotPossible, match=r"raise constraints\.max_price"):
        decide([OLD, NEW], Constraints(models=frozenset({"old"}), max_price_nanos=1), GOAL)


def test_a_tier_without_the_retired_model_says_not_that_it_retired() -> None:
    with pytest.raises(NotPossible) as refused:
        decide([OLD], Constraints(tiers=frozenset({"high"})), GOAL)
    assert "retired" not in refused.value.message
