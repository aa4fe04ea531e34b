"""Which rules apply to a request, and what they allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog.catalog import Catalog, CatalogEntry, load_catalog
from router.core.decision import decide
from router.core.errors import BadArtifact, MitsumoriError
from router.core.limits import SoftAction
from router.core.ruling import NO_RULING, Ruling
from router.core.types import (
    Candidate,
    Constraints,
    Importance,
    MissCost,
    MissCosts,
    Model,
    QualityTarget,
)
from router.rules import routing_table
from router.rules.routing_table import RoutingTable, load_rules, parse_rules
from router.rules.rule_cases import RuleCase
from tests.conftest import NOON
from tests.core.test_decision_limits import state
from tests.core.test_decision_properties import ASKED, TIERED, TIERS
from tests.router.rules.test_facts import PLAIN

SHIPPED = load_rules().fitted(load_catalog())


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def table(text: str, catalog: Catalog) -> RoutingTable:
    return parse_rules(text.encode(), name="rules.yaml").fitted(catalog)


def applied(rules: RoutingTable, **given: Any) -> list[str]:
    return [
        rule.name
        for rule in rules.ruling_on(RuleCase(name="x", given=given, rules=()).values).rules
    ]


def allowed(rules: RoutingTable, models: tuple[Model, ...], **given: Any) -> set[str]:
    ruling = rules.ruling_on(RuleCase(name="x", given=given, rules=()).values)
    return {m.id for m in models if all(rule.effects.allows(m) for rule in ruling.rules)}


@pytest.mark.parametrize(
    ("importance", "level", "tiers"),
    [
        ("low", "low", {"low"}),
        ("low", "medium", {"low", "medium"}),
        ("low", "high", {"low", "medium", "high"}),
        ("medium", "low", {"low", "medium", "high"}),
        ("medium", "medium", {"low", "medium", "high"}),
        ("medium", "high", {"low", "medium", "high"}),
        ("high", "low", {"low", "medium", "high"}),
        ("high", "medium", {"medium", "high"}),
        ("high", "high", {"high"}),
    ],
)
def test_the_table_that_ships(
    catalog: Catalog, importance: str, level: str, tiers: set[str]
) -> None:
    models = catalog.at(NOON).models
    found = allowed(load_rules().fitted(catalog), models, importance=importance, level=level)
    assert {model.tier for model in models if model.id in found} == tiers


@given(TIERED, st.floats(0, 1))
def test_under_the_table_that_ships_a_higher_importance_never_lowers_the_tier(
    made: list[Candidate], complexity: float
) -> None:
    chosen = []
    for importance in Importance:
        asked = {"importance": importance.value, "complexity": complexity}
        ruling = SHIPPED.ruling_on(RuleCase(name="x", given=asked, rules=()).values)
        goal = MissCosts().of(importance)
        found = decide(made, Constraints(), goal, ruling=ruling, complexity=complexity)
        chosen.append(TIERS.index(found.chosen.model.tier))
    assert chosen == sorted(chosen)


@pytest.mark.parametrize(
    ("complexity", "name"),
    [
        (0.0, "low"),
        (0.333333, "low"),
        (1 / 3, "medium"),
        (0.666666, "medium"),
        (2 / 3, "high"),
        (1.0, "high"),
    ],
)
def test_a_level_is_a_third_of_the_complexity(complexity: float, name: str) -> None:
    assert RuleCase(name="x", given={"complexity": complexity}, rules=()).values["level"] == name


def test_rules_apply_from_top_to_bottom_and_a_final_one_ends_it(catalog: Catalog) -> None:
    text = """
rules:
  - {name: first, when: 'turns >= 1', then: {tier_ceiling: medium}}
  - {name: last, when: 'batch', then: {defer: true}, final: true}
  - {name: below, when: 'turns >= 1', then: {tier_floor: medium}}
"""
    assert applied(table(text, catalog)) == ["first", "below"]
    assert applied(table(text, catalog), batch=True) == ["first", "last"]


def test_what_is_allowed_is_what_all_rules_allow_whatever_their_order(catalog: Catalog) -> None:
    rules = [
        "  - {name: a, when: 'true', then: {tier_floor: medium}}\n",
        "  - {name: b, when: 'true', then: {forbidden_providers: [deepseek]}}\n",
        "  - {name: c, when: 'true', then: {capabilities: [vision]}}\n",
    ]
    models = catalog.at(NOON).models
    expected = {
        m.id
        for m in models
        if m.tier != "low" and m.provider != "deepseek" and "vision" in m.capabilities
    }
    assert expected
    for order in (rules, rules[::-1]):
        assert allowed(table("rules:\n" + "".join(order), catalog), models) == expected


@pytest.mark.parametrize(
    ("then", "kept"),
    [
        ("{models: [gpt-5-nano]}", lambda m: m.id == "gpt-5-nano"),
        ("{forbidden_models: [gpt-5-nano]}", lambda m: m.id != "gpt-5-nano"),
        ("{providers: [openai]}", lambda m: m.provider == "openai"),
        ("{forbidden_providers: [openai]}", lambda m: m.provider != "openai"),
        ("{tier_floor: medium}", lambda m: m.tier != "low"),
        ("{tier_ceiling: medium}", lambda m: m.tier != "high"),
        ("{tier_floor: medium, tier_ceiling: medium}", lambda m: m.tier == "medium"),
        ("{capabilities: [vision]}", lambda m: "vision" in m.capabilities),
    ],
)
def test_each_effect_forbids_the_models_that_it_names(
    catalog: Catalog, then: str, kept: Any
) -> None:
    models = catalog.at(NOON).models
    rules = table(f"rules:\n  - {{name: a, when: 'true', then: {then}}}", catalog)
    assert allowed(rules, models) == {m.id for m in models if kept(m)}


def test_a_rule_keeps_calls_in_regions_where_models_of_the_catalog_are_served(
    catalog: Catalog,
) -> None:
    text = "rules:\n  - {name: a, when: 'true', then: {regions: [us, eu]}}"
    with pytest.raises(BadArtifact) as refused:
        table(text, catalog)
    assert refused.value.message == (
        "rules.yaml: rules[0] (a): then.regions: 'eu' is not in the catalog; its models have none; "
        "write it down for those that have it (line 2, column 45)"
    )
    first, second = catalog.entries[:2]
    served = replace(catalog, entries=(_served(first, "eu", "us"), _served(second, "jp")))
    rules = table(text, served)
    assert [rule.text for rule in rules.rules] == ["served in eu or us"]
    assert allowed(rules, served.at(NOON).models) == {first.spec.id}
    with pytest.raises(BadArtifact, match="'ue' is not in the catalog; did you mean"):
        table(text.replace("eu", "ue"), served)


def _served(entry: CatalogEntry, *regions: str) -> CatalogEntry:
    return CatalogEntry(entry.spec.model_copy(update={"regions": frozenset(regions)}))


def test_of_several_goals_the_first_counts(catalog: Catalog) -> None:
    text = """
rules:
  - {name: a, when: batch, then: {quality_target: 0.5}}
  - {name: b, when: 'true', then: {miss_cost_usd: "1.5"}}
  - {name: c, when: 'true', then: {quality_target: 0.9}}
"""
    rules = table(text, catalog)
    ruling = rules.ruling_on(RuleCase(name="x", given={"batch": True}, rules=()).values)
    assert ruling.goal == QualityTarget(0.5)
    ruling = rules.ruling_on(RuleCase(name="x", rules=()).values)
    assert ruling.goal == MissCost(1_500_000_000)


@pytest.mark.parametrize(
    ("share", "told"), [("0.05", "5% left to chance"), ("0", "no exploration")]
)
def test_a_share_of_exploration_is_an_effect(catalog: Catalog, share: str, told: str) -> None:
    rules = table(
        f"rules:\n  - {{name: a, when: 'true', then: {{explore: {share}}}}}\n"
        "  - {name: b, when: 'true', then: {explore: 0.5}}\n",
        catalog,
    )
    ruling = rules.ruling_on(RuleCase(name="x", rules=()).values)
    assert ruling.explore == float(share)
    assert ruling.rules[0].text == told


def test_a_rule_gives_way_only_if_it_says_so(catalog: Catalog) -> None:
    rules = table(
        """
rules:
  - {name: a, when: 'true', then: {tier_floor: high}}
  - {name: b, when: 'true', then: {tier_floor: high}, gives_way: true}
""",
        catalog,
    )
    assert [rule.gives_way for rule in rules.rules] == [False, True]
    assert all(rule.gives_way for rule in SHIPPED.rules)


@given(
    TIERED,
    ASKED,
    st.sampled_from(Importance),
    st.floats(0, 1),
    st.booleans(),
    st.none() | st.integers(0, 2 * 10**9),
    st.none() | st.integers(0, 2 * 10**9),
)
def test_the_table_that_ships_refuses_nothing_that_is_answered_without_it(
    made: list[Candidate],
    constraints: Constraints,
    importance: Importance,
    complexity: float,
    batch: bool,
    hard: int | None,
    soft: int | None,
) -> None:
    asked = {"importance": importance.value, "complexity": complexity}
    ruling = SHIPPED.ruling_on(RuleCase(name="x", given=asked, rules=()).values)
    budget = state(hard, soft=soft, on_soft=SoftAction.DEFER_BATCH)
    made = [each._replace(limits=(budget,)) for each in made]

    def outcome(ruling: Ruling) -> str:
        goal = MissCosts().of(importance)
        try:
            decide(made, constraints, goal, ruling=ruling, complexity=complexity, batch=batch)
        except MitsumoriError as refused:
            return refused.message
        return ""

    assert outcome(ruling) == outcome(NO_RULING)


def test_a_ruling_says_which_rules_apply_and_what_they_do(catalog: Catalog) -> None:
    ruling = (
        load_rules()
        .fitted(catalog)
        .ruling_on(
            RuleCase(name="x", given={"importance": "high", "level": "high"}, rules=()).values
        )
    )
    (reason,) = ruling.reasons
    assert reason.code == "RULES_APPLIED"
    assert reason.text == "by the routing table, high-importance-high-complexity: tier high"
    assert not load_rules().fitted(catalog).ruling_on(RuleCase(name="x", rules=()).values).reasons


def test_a_catalog_with_other_tiers_takes_of_the_shipped_rules_those_that_fit(
    catalog: Catalog,
) -> None:
    two = replace(catalog, tiers=("low", "top"))
    assert [rule.name for rule in load_rules().fitted(two).rules] == [
        "low-importance-low-complexity"
    ]
    with pytest.raises(BadArtifact, match="'high' is not in the catalog"):
        replace(load_rules(), ships=False).fitted(two)


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({"importance": "high", "level": "high", "names_models": True}, False),
        ({"importance": "high", "level": "high", "goal": "quality_target"}, True),
        ({"importance": "low", "level": "low", "names_models": True}, False),
        ({"importance": "low", "level": "low", "goal": "willingness_to_pay"}, False),
        ({"importance": "low", "level": "low"}, True),
    ],
)
def test_the_table_that_ships_gives_way_to_what_a_request_names_itself(
    catalog: Catalog, given: dict[str, Any], bound: bool
) -> None:
    assert bool(applied(load_rules().fitted(catalog), **given)) is bound


def test_a_rule_that_fails_is_logged_once_by_name(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = table(
        """
        rules:
          - {name: cleared, when: int(scope.grade) < 3, then: {tier_ceiling: low}}
          - {name: large, when: "1000 / max_output_tokens > 1", then: {tier_floor: high}}
        """,
        catalog,
    )
    said: list[tuple[str, str]] = []

    class Log:
        def warning(self, event: str, *, rule: str, **_: object) -> None:
            said.append((event, rule))

    monkeypatch.setattr(routing_table, "logger", Log)

    def names(most: int, **scope: str) -> tuple[str, ...]:
        return rules.ruling(
            replace(PLAIN, scope=scope, constraints=Constraints(max_output_tokens=most or None))
        ).names

    assert names(100, grade="2") == ("cleared", "large")
    assert said == []
    assert names(100) == ("large",)
    assert names(100, grade="none") == ("large",)
    assert said == [("rule_failed", "cleared")]
    assert names(0, grade="1") == ("cleared",)
    assert said == [("rule_failed", "cleared"), ("rule_failed", "large")]
