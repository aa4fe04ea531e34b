"""Golden decisions: what is given, what must come out, one readable file per case."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.core.errors import BadArtifact, InvalidInput
from router.routing.router import Router
from tests.golden.decision_cases import outcome_of
from tests.golden.decision_files import CASES, paths_of_cases, read_case

PATHS = paths_of_cases()
AT_LEAST = 60


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(CASES)))
def test_the_decision_is_the_golden_one(path: Path, router: Router) -> None:
    case = read_case(path)
    outcome = outcome_of(case, path.name, router)
    stated = case.expected.model_dump(exclude={"says", "propensity"}, exclude_none=True)
    assert {name: getattr(outcome, name) for name in stated} == stated, outcome.texts
    assert outcome.refused == case.expected.refused, outcome.texts
    if case.expected.propensity is not None:
        assert outcome.propensity == pytest.approx(case.expected.propensity)
    for phrase in case.expected.says:
        assert any(phrase in text for text in outcome.texts), (phrase, outcome.texts)


def test_there_are_enough_of_them_and_no_two_have_the_same_title() -> None:
    titles = [read_case(path).title for path in PATHS]
    assert len(titles) >= AT_LEAST
    assert len(set(titles)) == len(titles)


WHOLE = """
title: A file that is right
given:
  models:
    small: { tier: low, p: 0.5, price: "0.001" }
  complexity: 0.5
expected:
  model: small
  reasons: [LEAST_EXPECTED_COST]
  alternatives: []
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"0.001"', "0.001", "given.models.small.price.expected: write the amount in quotes"),
        ("tier: low", "tier: lowest", "given.models.small.tier: Input should be 'low', 'medium' or 'high'"),
        ("p: 0.5, ", "", "given: models.small.p: state it where complexity is stated"),
        ("p: 0.5", "p: 1.5", "given.models.small.p: Input should be less than or equal to 1"),
        ("  complexity: 0.5\n", "", "given: give either complexity, or messages"),
        ("complexity:", "complexty:", "given.complexty: Extra inputs are not permitted"),
        ("  reasons: [LEAST_EXPECTED_COST]\n", "", "expected: model needs reasons and alternatives"),
        ("  model: small\n", "", "expected: give either model or refused"),
        ("model: small\n", "refused: EXHAUSTED\n  model: small\n", "expected: give either model or refused"),
        ("title: A file that is right\n", "", "title: Field required"),
        ("given:", "given: [", "is not valid YAML at line "),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_names_the_file_and_the_field(
    before: str, after: str, message: str, tmp_path: Path
) -> None:
    assert WHOLE.count(before) == 1
    path = tmp_path / "case.yaml"
    path.write_text(WHOLE.replace(before, after), encoding="utf-8")
    with pytest.raises(InvalidInput) as refused:
        read_case(path)
    assert refused.value.message.startswith("case.yaml: ")
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("when: 'importanc', then: { defer: true }", "case.yaml: rules: rules[0] (x): when: "),
        ("when: 'batch', then: { models: [smal] }", "then.models: 'smal' is not in the catalog"),
    ],
)
def test_a_mistake_in_a_rule_names_the_file_and_the_rule(
    rule: str, message: str, tmp_path: Path, router: Router
) -> None:
    path = tmp_path / "case.yaml"
    text = WHOLE.replace("  complexity", f"  rules: [{{ name: x, {rule} }}]\n  complexity")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadArtifact) as refused:
        outcome_of(read_case(path), path.name, router)
    assert message in refused.value.message
