# ruff: noqa: E501 — files and their errors, side by side
"""A file of rules that is wrong is refused by file, rule, line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.catalog.catalog import load_catalog
from router.core.errors import BadArtifact
from router.rules.routing_table import load_rules, parse_rules

RULE = "rules:\n  - name: a\n    when: batch\n    then: "


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a", "must have the key rules, with a list of rules (line 1, column 1)"),
        ("", "must have the key rules, with a list of rules (line 1, column 1)"),
        ("rules: [", "is not valid YAML at line 1"),
        ("rules:\n  \tx", "is not valid YAML at line 2"),
        ("rules: []\nfoo: 1", "foo: Extra inputs are not permitted (line 2, column 6)"),
        ("format: 2\nrules: []", "format: Input should be 1 (line 1, column 9)"),
        ("time_zone: Mars\nrules: []", "'Mars' is no time zone, such as Asia/Tokyo or UTC (line 1, column 12)"),
        ("rules: &a [*a]", "stands for more than 1,000,000 values by its aliases"),
        ("rules:\n - name: A b\n   when: batch\n   then: {defer: true}", "rules[0] (A b): name: must be a-z, 0-9 and hyphens, at most 63 characters (line 2, column 10)"),
        ("rules:\n - {name: a, when: batch, then: {defer: true}}\n - {name: a, when: batch, then: {defer: true}}", "rules[1]: the name a is used above"),
        ("rules:\n - name: a\n   when: true\n   then: {defer: true}", "rules[0] (a): when: Input should be a valid string (line 3, column 10)"),
        ("rules:\n - name: a\n   when: batch\n   when: batch\n   then: {defer: true}", "has the key 'when' twice, at line 4, column 4"),
        (RULE + "{}", "rules[0] (a): then: a rule must do something (line 4, column 11)"),
        (RULE + "{models: []}", "rules[0] (a): then: models names nothing, which would leave everything allowed (line 4, column 11)"),
        (RULE + "{tier_floor: high, forbidden_providers: []}", "forbidden_providers names nothing"),
        (RULE + "{max_price_usd: 0.1}", 'max_price_usd must be quoted, as in "0.1", to stay exact'),
        (RULE + "{max_latency_s: true}", "max_latency_s must not be true or false"),
        (RULE + "{max_latency_s: 0}", "then.max_latency_s: Input should be greater than 0 (line 4, column 27)"),
        (RULE + "{explore: 1.01}", "rules[0] (a): then.explore: Input should be less than or equal to 1 (line 4, column 21)"),
        (RULE + "{explore: -0.01}", "then.explore: Input should be greater than or equal to 0"),
        (RULE + "{explore: true}", "explore must not be true or false"),
        (RULE + "{quality_target: 1.01}", "then.quality_target: Input should be less than or equal to 1"),
        (RULE + "{quality_target: .nan}", "then.quality_target: Input should be a finite number"),
        (RULE + '{quality_target: 0.5, miss_cost_usd: "1"}', "quality_target and miss_cost_usd are two goals; give one of them"),
        (RULE + "{defer: true}\n    gives_way: true", "rules[0] (a): a rule that gives way only leaves models out; give defer in a rule of its own (line 2, column 5)"),
        (RULE + "{tier_floor: high, explore: 0}\n    gives_way: true", "give explore in a rule of its own"),
        (RULE + "{tier_floor: high, quality_target: 0}\n    gives_way: true", "give quality_target in a rule of its own"),
        (RULE + "{tier_floor: high, miss_cost_usd: '0'}\n    gives_way: true", "give miss_cost_usd in a rule of its own"),
        (RULE + "{tier_floor: hihg}", "then.tier_floor: 'hihg' is not in the catalog; did you mean high? (line 4, column 24)"),
        (RULE + "{forbidden_models: [gpt-5-nano, gpt-x]}", "then.forbidden_models: 'gpt-x' is not in the catalog"),
        (RULE + "{providers: [nobody]}", "then.providers: 'nobody' is not in the catalog"),
        (RULE + "{capabilities: [flying]}", "then.capabilities: 'flying' is not in the catalog"),
        (RULE + "{tier_floor: high, tier_ceiling: low}", "then.tier_floor: the floor high is above the ceiling low"),
        ("rules:\n  - name: a\n    when: 'hour > \"x\"'\n    then: {defer: true}", "rules[0] (a): when: found no matching overload for '_>_' applied to '(int, string)' (line 3, column 17)"),
        ("rules:\n  - name: a\n    when: |\n      batch\n        && hour > 'x'\n    then: {defer: true}", "(line 5, column 17)"),
        ("rules:\n  - name: a\n    when: >\n      batch\n      && hour > 'x'\n    then: {defer: true}", "(line 3, column 11)"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(BadArtifact) as refused:
        parse_rules(text.encode(), name="rules.yaml").fitted(load_catalog())
    assert refused.value.message.startswith("rules.yaml: ")
    assert told in refused.value.message
    assert refused.value.reason == "RULES_WRONG"


def test_other_bytes_than_text_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="is not UTF-8 text"):
        parse_rules(b"\xff\xfe", name="rules.yaml")
    with pytest.raises(BadArtifact, match="name a file of rules with --rules"):
        load_rules(tmp_path / "none.yaml")


def test_five_hundred_rules_are_read_and_one_more_is_not() -> None:
    rule = "  - {{name: r{0}, when: 'turns == {0}', then: {{defer: true}}}}\n"
    text = "rules:\n" + "".join(rule.format(n) for n in range(500))
    assert len(parse_rules(text.encode(), name="r").file.rules) == 500
    with pytest.raises(BadArtifact, match="at most 500"):
        parse_rules((text + rule.format(500)).encode(), name="r")


def test_the_version_is_that_of_the_content() -> None:
    assert (
        parse_rules(b"rules: []", name="r").version == parse_rules(b"rules: []", name="s").version
    )
    assert (
        parse_rules(b"rules: []", name="r").version != parse_rules(b"rules: [ ]", name="r").version
    )
