"""What conditions may say, and what happens to those that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from router.rules.conditions import MAX_CHARACTERS, BadCondition, Conditions
from tests.router.rules.values import USUAL


def holds(condition: str, **values: Any) -> bool:
    return Conditions([condition]).hold({**USUAL, **values})[0]


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ('importance == "high"', {"importance": "high"}, True),
        ('importance == "high"', {"importance": "medium"}, False),
        ("complexity >= 0.5", {"complexity": 0.5}, True),
        ("complexity >= 0.5", {"complexity": 0.4999}, False),
        ('"code" in tasks', {"tasks": ["code", "list"]}, True),
        ('"code" in tasks', {"tasks": []}, False),
        ('scope.team == "search"', {"scope": {"team": "search"}}, True),
        ('scope["team"].startsWith("se")', {"scope": {"team": "search"}}, True),
        ("hour >= 22 || hour < 6", {"hour": 5}, True),
        ("hour >= 22 || hour < 6", {"hour": 6}, False),
        ("batch && weekday > 5", {"batch": True, "weekday": 6}, True),
        ('language in ["japanese", "chinese"]', {"language": "japanese"}, True),
        ('capabilities.exists(c, c == "vision")', {"capabilities": ["tools", "vision"]}, True),
        ("true // whatever it is", {}, True),
    ],
)
def test_conditions_ask_about_a_request(
    condition: str, values: dict[str, Any], expected: bool
) -> None:
    assert holds(condition, **values) is expected


@pytest.mark.parametrize(
    "condition",
    ["hour / 0 == 1", 'scope["nobody" + "s"] == "x"', "9223372036854775807 + turns > 0"],
)
def test_a_condition_that_fails_does_not_hold_and_spoils_no_other(condition: str) -> None:
    assert Conditions(["turns == 1", condition, "turns == 2", "turns == 1"]).hold(USUAL) == [
        True, False, False, True,
    ]  # fmt: skip


def test_conditions_that_failed_are_known() -> None:
    conditions = Conditions(["turns == 1", "hour / turns == 1", "6 / weekday == 2"])
    assert conditions.hold({**USUAL, "hour": 1, "weekday": 3}) == [True, True, True]
    assert conditions.failed == set()
    conditions.hold({**USUAL, "weekday": 0})
    conditions.hold({**USUAL, "weekday": 3})
    assert conditions.failed == {2}


def test_many_conditions_are_answered_in_their_order() -> None:
    conditions = Conditions([f"input_tokens > {n}" for n in range(120)])
    for tokens in (0, 50, 51, 119, 120):
        assert conditions.hold({**USUAL, "input_tokens": tokens}) == [
            tokens > n for n in range(120)
        ]


def test_labels_that_a_request_may_lack_are_those_that_conditions_name() -> None:
    conditions = Conditions(
        ['scope.team == "a" && scope["cost centre"] != ""', "scope['app'] == 'b'"]
    )
    assert conditions.labels == {"team": "", "cost centre": "", "app": ""}
    assert Conditions(["scope.all(name, scope[name] != '')"]).labels == {}


@pytest.mark.parametrize(
    ("condition", "column"),
    [
        ("!has(scope.team)", 2),
        ('"team" in scope', 8),
        ("has ( scope . team ) || true", 1),
        ("scope.x != '' || 'team' in scope", 25),
    ],
)
def test_whether_there_is_a_label_is_asked_by_its_value_alone(condition: str, column: int) -> None:
    with pytest.raises(BadCondition, match="asked by its value") as refused:
        Conditions(["true", condition])
    assert (refused.value.line, refused.value.column) == (1, column)


@pytest.mark.parametrize(
    "condition",
    [
        'scope.team == "lives in scope"',
        "scope.team != 'has(scope.team)' // has(scope.team), 'team' in scope",
        "scope.team != r'\\d' && scope.team != 'a.all(b, c.all(d, e))'",
        'scope.team != """a" in scope"""',
    ],
)
def test_texts_and_comments_are_no_code(condition: str) -> None:
    assert holds(condition, scope={"team": "search"}) is not condition.startswith("scope.team ==")


@pytest.mark.parametrize(
    ("condition", "why", "line", "column"),
    [
        ('importanc == "low"', "undeclared reference to 'importanc'", 1, 1),
        ('importance == "low" &&\n  hour > "x"', "found no matching overload", 2, 8),
        ("hour >", "Syntax error", 1, 7),
        ("turns", "must be true or false, and this is of type int", 1, 1),
        ("(" * 60 + "true" + ")" * 60, "nested too deeply", 1, 1),
        ("open('/etc/passwd') == ''", "undeclared reference to 'open'", 1, 5),
        ("true) || (true", "Syntax error", 1, 5),
        ("true || " * 300 + "true", f"{MAX_CHARACTERS:,} characters", 1, 1),
    ],
)
def test_a_wrong_condition_is_refused_with_its_place(
    condition: str, why: str, line: int, column: int
) -> None:
    with pytest.raises(BadCondition) as refused:
        Conditions(["true", condition])
    assert why in refused.value.why
    assert (refused.value.line, refused.value.column, refused.value.index) == (line, column, 1)


def test_a_condition_of_the_greatest_length_is_read() -> None:
    assert holds("true".ljust(MAX_CHARACTERS))
    with pytest.raises(BadCondition, match="characters"):
        holds("true".ljust(MAX_CHARACTERS + 1))


def test_a_condition_cannot_take_for_ever() -> None:
    assert not holds('scope.team.matches("(a+)+$")', scope={"team": "a" * 50_000 + "b"})
    with pytest.raises(
        BadCondition, match="may go through one list, and map goes through a second"
    ) as refused:
        Conditions(["true", "[1, 2].all(a,\n  [1].map(b, b) == [1])"])
    assert (refused.value.line, refused.value.column, refused.value.index) == (2, 7, 1)
    with pytest.raises(BadCondition, match="exists goes through a second"):
        Conditions(["[1].all//\n(a, [1].exists//\n(b, true))"])
