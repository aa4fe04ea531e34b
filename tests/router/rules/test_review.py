"""Rules that an operator should look at again."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from router.catalog.catalog import CatalogEntry, load_catalog
from router.rules.review import Doubt, Finding, review
from router.rules.routing_table import load_rules, parse_rules
from router.rules.rule_cases import read_cases, run_case
from tests.conftest import NOON

README = Path(__file__).parents[3] / "README.md"
GUIDE = README.with_name("docs") / "guide/rules.md"


def test_the_rules_of_the_pages_can_be_used_and_raise_no_doubt(tmp_path: Path) -> None:
    small = re.findall(r"```yaml\n(rules:\n.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    texts = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    rules = parse_rules(
        next(text for text in texts if "\nrules:" in text).encode(), name=GUIDE.name
    )
    catalog = load_catalog()
    models = catalog.at(NOON).models
    assert review(rules, catalog, models) == []
    [smallest] = [parse_rules(text.encode(), name=README.name) for text in small]
    assert review(smallest, catalog, models) == []
    assert smallest.file.rules[0] == rules.file.rules[0]
    cases = tmp_path / "cases.yaml"
    cases.write_text(next(text for text in texts if text.startswith("cases:")))
    for case in read_cases(cases):
        assert run_case(case, rules.fitted(catalog), models).differences == ()


def found(*rules: str) -> list[Finding]:
    catalog = load_catalog()
    text = "rules:\n" + "".join(
        f"  - {{name: {name}, {rule}}}\n" for name, rule in zip("abcdef", rules, strict=False)
    )
    return review(parse_rules(text.encode(), name="r"), catalog, catalog.at(NOON).models)


def doubts(*rules: str) -> list[tuple[str, Doubt]]:
    return [(each.rule, each.doubt) for each in found(*rules)]


def test_the_table_that_ships_raises_no_doubt() -> None:
    catalog = load_catalog()
    assert review(load_rules(), catalog, catalog.at(NOON).models) == []


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("int(scope.grade) > 2", "scope.grade ''"),
        ("!(int(scope.grade) > 2)", "scope.grade ''"),
        ('tasks[0] == "code"', "tasks []"),
        ("input_tokens / max_output_tokens > 4", "input_tokens 100, max_output_tokens 0"),
        ("1 / (turns - 1) < 1", "turns 1"),
        ('scope["gr" + "ade"] == "x"', "any request"),
    ],
)
def test_a_condition_without_a_value_for_some_requests_fails(condition: str, told: str) -> None:
    doubtful = found(f"when: '{condition}', then: {{tier_floor: high}}")
    assert doubtful[0].doubt is Doubt.FAILS
    assert f"such as for {told}; compare labels as texts" in doubtful[0].text


@pytest.mark.parametrize(
    "condition",
    [
        'scope.grade != "" && scope.grade != "(other)" && int(scope.grade) > 2',
        "max_output_tokens > 0 && input_tokens / max_output_tokens > 4",
        "size(tasks) > 0 && tasks[0] != importance",
        'scope.team.startsWith("a-")',
    ],
)
def test_a_condition_that_asks_first_does_not_fail(condition: str) -> None:
    doubtful = doubts(f"when: '{condition}', then: {{tier_floor: high}}")
    assert ("a", Doubt.FAILS) not in doubtful


@pytest.mark.parametrize(
    "condition",
    [
        "hour > 23", "complexity > 1.0", 'importance == "urgent"', 'level == "low" && complexity > 0.5',
        'scope.team == "a" && scope.team == "b"', "weekday == 0", "false",
        'language == "klingon"', "turns < 1",
    ],
)  # fmt: skip
def test_a_condition_that_nothing_meets_never_holds(condition: str) -> None:
    assert doubts(f"when: '{condition}', then: {{defer: true}}") == [("a", Doubt.NEVER_HOLDS)]


@pytest.mark.parametrize(
    "condition",
    [
        "hour == 23", "complexity >= 1.0", "complexity == 0.77", 'scope.team == "a" && scope.app == "b"',
        'scope.user.startsWith("x") && input_tokens > 123456', '"code" in tasks && "vision" in capabilities',
        "max_output_tokens == 0", 'scope.team != "a" && scope.team != ""', "turns > 7 && weekday == 7",
    ],
)  # fmt: skip
def test_a_condition_that_something_meets_raises_no_doubt(condition: str) -> None:
    assert doubts(f"when: '{condition}', then: {{defer: true}}") == []


def test_a_rule_below_a_final_one_that_covers_it_is_never_asked() -> None:
    wide, narrow = "when: batch", "when: 'batch && hour > 20'"
    (one,) = found(
        f"{wide}, then: {{defer: true}}, final: true", f"{narrow}, then: {{tier_floor: high}}"
    )
    assert (one.rule, one.doubt) == ("b", Doubt.NEVER_ASKED)
    assert one.text == "wherever it holds, a holds above it, which is final; move it up"
    assert (one.place.line, one.place.column) == (3, 5)
    assert not doubts(
        f"{narrow}, then: {{defer: true}}, final: true", f"{wide}, then: {{tier_floor: high}}"
    )
    assert not doubts(f"{wide}, then: {{defer: true}}", f"{narrow}, then: {{tier_floor: high}}")


def test_two_final_rules_may_cover_one_together() -> None:
    rules = (
        "when: batch, then: {defer: true}, final: true",
        "when: '!batch', then: {tier_floor: medium}, final: true",
        "when: 'hour < 5', then: {tier_floor: high}",
    )
    (one,) = found(*rules)
    assert one.text.startswith("wherever it holds, a or b holds above it")


def test_a_rule_below_a_final_one_that_asks_about_something_else_is_asked() -> None:
    assert not doubts(
        "when: '!batch', then: {tier_floor: medium}, final: true",
        "when: 'hour < 5', then: {tier_floor: high}",
    )


@pytest.mark.parametrize(
    ("first", "second", "doubted"),
    [("", "", True), (", gives_way: true", "", False), ("", ", gives_way: true", False)],
)
def test_what_gives_way_contradicts_nothing(first: str, second: str, doubted: bool) -> None:
    low = f"when: batch, then: {{tier_ceiling: low}}{first}"
    high = f"when: batch, then: {{tier_floor: high}}{second}"
    assert bool(doubts(low, high)) == doubted


def test_rules_that_together_allow_nothing_contradict() -> None:
    low = "when: 'scope.team == \"x\" && hour >= 22', then: {tier_ceiling: low}"
    high = "when: 'complexity > 0.9', then: {tier_floor: high}"
    (one,) = found(low, high)
    assert (one.rule, one.doubt) == ("b", Doubt.CONTRADICTS)
    assert "together with a it allows no model, such as for" in one.text
    assert "team x" in one.text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("when: batch, then: {tier_ceiling: low}", "when: '!batch', then: {tier_floor: high}"),
        ("when: 'hour < 6', then: {tier_ceiling: low}", "when: 'hour >= 6', then: {tier_floor: high}"),
        ("when: batch, then: {tier_ceiling: low}, final: true", "when: 'hour > 6', then: {tier_floor: high}"),
        ("when: batch, then: {tier_ceiling: medium}", "when: batch, then: {tier_floor: medium}"),
    ],
)  # fmt: skip
def test_rules_that_never_meet_or_leave_a_model_do_not_contradict(first: str, second: str) -> None:
    assert doubts(first, second) == []


@pytest.mark.parametrize("then", ["{tier_floor: low}", "{tier_ceiling: high}"])
def test_a_rule_that_allows_everything_does_nothing(then: str) -> None:
    assert doubts(f"when: batch, then: {then}") == [("a", Doubt.DOES_NOTHING)]


def test_rules_that_share_no_region_contradict_each_other_though_a_model_is_served_in_both() -> (
    None
):
    catalog = load_catalog()
    both = tuple(
        CatalogEntry(entry.spec.model_copy(update={"regions": frozenset({"eu", "us"})}))
        for entry in catalog.entries
    )
    served = replace(catalog, entries=both)
    text = """
rules:
  - {name: a, when: 'true', then: {regions: [eu]}}
  - {name: b, when: batch, then: {regions: [us]}}
"""
    found = review(parse_rules(text.encode(), name="r"), served, served.at(NOON).models)
    assert (found[-1].rule, found[-1].doubt) == ("b", Doubt.CONTRADICTS)
