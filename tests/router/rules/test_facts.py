"""What the rules are told of a request: every fact counts, in whichever order requests come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from router.catalog.catalog import load_catalog
from router.classifier.features.lexical import FEATURES, lexical_features
from router.core.types import Constraints, Importance, QualityTarget
from router.rules.facts import VARIABLES, Facts
from router.rules.routing_table import RoutingTable, parse_rules
from tests.conftest import NOON

PLAIN = Facts(
    importance=Importance.LOW,
    complexity=0.1,
    features=np.zeros(len(FEATURES), np.float32),
    scope={},
    constraints=Constraints(),
    goal=None,
    input_tokens=10,
    turns=1,
    batch=False,
    moment=NOON,
)
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "importance": ('importance == "high"', {"importance": Importance.HIGH}),
    "complexity": ("complexity > 0.2", {"complexity": 0.3}),
    "level": ('level == "medium"', {"complexity": 0.5}),
    "tasks": ('"code" in tasks', {"features": lexical_features("Write a Python function.")}),
    "language": ('language == "japanese"', {"features": lexical_features("民法について論じて。")}),
    "scope": ('scope.team == "search"', {"scope": {"team": "search"}}),
    "input_tokens": ("input_tokens > 10", {"input_tokens": 11}),
    "max_output_tokens": (
        "max_output_tokens == 5",
        {"constraints": Constraints(max_output_tokens=5)},
    ),
    "turns": ("turns == 2", {"turns": 2}),
    "capabilities": (
        '"tools" in capabilities',
        {"constraints": Constraints(capabilities=frozenset({"tools"}))},
    ),
    "names_models": ("names_models", {"constraints": Constraints(tiers=frozenset({"low"}))}),
    "goal": ('goal == "quality_target"', {"goal": QualityTarget(0.9)}),
    "batch": ("batch", {"batch": True}),
    "hour": ("hour == 13", {"moment": NOON + timedelta(hours=1)}),
    "weekday": (
        f"weekday == {(NOON + timedelta(days=1)).isoweekday()}",
        {"moment": NOON + timedelta(days=1)},
    ),
}


def table(*conditions: str) -> RoutingTable:
    rules = [
        f"  - {{name: rule-{n}, when: '{when}', then: {{tier_floor: high}}}}"
        for n, when in enumerate(conditions)
    ]
    text = "\n".join(["format: 1", "rules:", *rules])
    return parse_rules(text.encode(), name="rules.yaml").fitted(load_catalog())


def test_every_variable_has_an_example() -> None:
    assert list(OTHERS) == list(VARIABLES)


@pytest.mark.parametrize("variable", OTHERS)
def test_a_fact_is_told_and_requests_that_differ_in_it_are_told_apart(variable: str) -> None:
    when, other = OTHERS[variable]
    rules = table(when)
    for facts, applied in [(PLAIN, ()), (replace(PLAIN, **other), ("rule-0",))] * 2:
        assert rules.ruling(facts).names == applied


def test_a_table_of_all_variables_says_the_same_of_a_request_before_and_after_others() -> None:
    rules = table(*[when for when, _ in OTHERS.values()])
    requests = [replace(PLAIN, **other) for _, other in OTHERS.values()]
    first = [rules.ruling(facts).names for facts in requests]
    assert first == [rules.ruling(facts).names for facts in requests]
    for facts, names in zip(requests, first, strict=True):
        assert names == rules.ruling_on(facts.values(rules.zone, rules.conditions.labels)).names


def test_hours_and_days_are_those_of_the_time_zone_of_the_table() -> None:
    text = (
        "{format: 1, time_zone: Asia/Tokyo, rules:"
        " [{name: night, when: 'hour == 21', then: {tier_floor: high}}]}"
    )
    rules = parse_rules(text.encode(), name="rules.yaml").fitted(load_catalog())
    assert rules.ruling(PLAIN).names == ("night",)


def test_a_label_that_no_condition_names_may_still_be_asked_for_by_a_computed_name() -> None:
    rules = table('scope["te" + "am"] == "search"')
    assert rules.ruling(replace(PLAIN, scope={"team": "search"})).names == ("rule-0",)
    assert rules.ruling(replace(PLAIN, scope={"team": "sales"})).names == ()
