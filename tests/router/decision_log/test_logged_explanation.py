"""A decision of the log is explained from its record, and what that does not keep is said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from router.core.explanation import Criterion, Loss
from router.core.types import MissCost
from router.decision_log.logged_explanation import Gap, LoggedExplanation, explain_record
from router.decision_log.record import DecisionRecord, LoggedMissCost
from router.decision_log.record_json import parse
from tests.builders import EXPIRES

GOLDEN = Path(__file__).parents[2] / "golden" / "decision_records"


def record(name: str = "v1_example", **changes: object) -> DecisionRecord:
    made = parse((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return msgspec.structs.replace(made, **changes)


def explained(**changes: object) -> LoggedExplanation:
    return explain_record(record(**changes), EXPIRES)


def test_the_choice_stands_first_then_the_others_as_they_were_ranked() -> None:
    kept = record()
    found = explain_record(kept, EXPIRES).explanation
    assert [each.candidate.model.id for each in found.candidates] == [
        each.model for each in kept.candidates
    ]
    assert found.complexity == kept.complexity


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_records_of_every_release_can_be_explained(path: Path) -> None:
    kept = parse(path.read_text(encoding="utf-8"))
    found = explain_record(kept, EXPIRES)
    assert found.explanation.candidates[0].candidate.model.id == kept.chosen.model
    assert found.unhealthy == kept.unhealthy


def test_the_goal_is_that_of_the_record_at_its_complexity() -> None:
    found = explained(goal=LoggedMissCost(1_000_000), complexity=0.25).explanation
    assert found.goal == MissCost(250_000)


@pytest.mark.parametrize(
    ("changes", "gaps"),
    [
        ({"reasons": ("BEST_VALUE",)}, ()),
        ({"reasons": ("BEST_VALUE", "MODELS_EXCLUDED")}, (Gap.LEFT_OUT,)),
        ({"reasons": (), "rules": ("contracts",)}, (Gap.RULES,)),
        ({"reasons": (), "unhealthy": ("x",)}, (Gap.UNHEALTHY,)),
        ({"reasons": ("DOWNGRADED",)}, (Gap.LIMITS,)),
        ({"reasons": ("PACED",)}, (Gap.LIMITS,)),
        ({"reasons": ("SOFT_LIMIT",)}, (Gap.LIMITS,)),
        (
            {"reasons": ("DOWNGRADED", "MODELS_EXCLUDED"), "rules": ("a",), "unhealthy": ("x",)},
            (Gap.LEFT_OUT, Gap.UNHEALTHY, Gap.RULES, Gap.LIMITS),
        ),
    ],
)
def test_what_the_record_does_not_keep_is_named(
    changes: dict[str, object], gaps: tuple[Gap, ...]
) -> None:
    assert explained(**changes).gaps == gaps


def test_a_choice_that_the_goal_does_not_explain_is_said_to_be_one() -> None:
    kept = record(reasons=())
    turned = (kept.candidates[1], kept.candidates[0], *kept.candidates[2:])
    first, second = turned[0].model, turned[1].model
    found = explained(candidates=turned, reasons=())
    assert found.gaps == (Gap.CHOICE,)
    assert found.explanation.candidates[1].loss == Loss(first, Criterion.OTHER)
    assert found.explanation.candidates[0].loss is not None
    assert found.explanation.candidates[0].loss.to == second
    # A soft limit is a reason that the record has.
    limited = explained(candidates=turned, reasons=("DOWNGRADED",))
    assert limited.gaps == (Gap.LIMITS,)
    assert limited.explanation.candidates[1].loss == Loss(first, Criterion.SOFT_LIMIT)
