"""Cases that an operator writes for the routing table."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.catalog.catalog import load_catalog
from router.core.errors import InvalidInput
from router.rules.routing_table import load_rules
from router.rules.rule_cases import read_cases, run_case
from tests.conftest import NOON


def differences(tmp_path: Path, case: str) -> tuple[str, ...]:
    path = tmp_path / "cases.yaml"
    path.write_text(f"cases:\n  - {{name: one, {case}}}\n")
    catalog = load_catalog()
    (read,) = read_cases(path)
    return run_case(read, load_rules().fitted(catalog), catalog.at(NOON).models).differences


@pytest.mark.parametrize(
    "case",
    [
        "given: {importance: high, level: high}, rules: [high-importance-high-complexity]",
        "given: {importance: high, complexity: 0.7}, tiers: [high]",
        "given: {importance: low, complexity: 0}, tiers: [low]",
        "given: {scope: {team: a}, hour: 3, batch: true, tasks: [code]}, rules: []",
        "rules: []",
    ],
)
def test_a_case_that_holds_has_no_difference(tmp_path: Path, case: str) -> None:
    assert differences(tmp_path, case) == ()


def test_a_case_that_does_not_hold_says_what_was_found(tmp_path: Path) -> None:
    case = "given: {importance: high, level: high}, rules: [], tiers: [medium, high]"
    assert differences(tmp_path, case) == (
        "rules: expected none, found high-importance-high-complexity",
        "tiers: expected high, medium, found high",
    )


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("given: {}", "cases.0: expects nothing; give rules, tiers or models (line 2, column 5)"),
        ("given: {urgency: 1}, rules: []", "given.urgency is no variable; known: importance"),
        ("given: {hour: noon}, rules: []", "given.hour must be of type int"),
        ("given: {hour: true}, rules: []", "given.hour must be of type int"),
        ("given: {batch: 1}, rules: []", "given.batch must be of type bool"),
        ("given: {tasks: [1]}, rules: []", "given.tasks must be of type list<string>"),
        ("given: {scope: {team: 1}}, rules: []", "given.scope must be of type map<string, string>"),
        ("given: {importance: urgent}, rules: []", "given.importance must be of low, medium, high"),
        ("given: {tasks: [cooking]}, rules: []", "given.tasks must be of code, math"),
        (
            "given: {level: low, complexity: 0.1}, rules: []",
            "given has both level and complexity; give one of them",
        ),
        ("given: {complexity: 1.1}, rules: []", "given.complexity must lie in 0 to 1"),
        ("given: {hour: 24}, rules: []", "given.hour must lie in 0 to 23"),
        ("given: {weekday: 0}, rules: []", "given.weekday must lie in 1 to 7"),
        ("rulez: []", "cases.0.rulez: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_case_is_refused_with_its_place(tmp_path: Path, case: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        differences(tmp_path, case)
    assert told in refused.value.message
    assert "line 2, column" in refused.value.message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Input should be a valid dictionary"),
        (b"cases: []", "at least 1"),
        (b"cases: [", "is not valid YAML at line 1"),
        (b"\xff", "is not UTF-8 text"),
    ],
)
def test_a_file_without_cases_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "cases.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"cases\.yaml") as refused:
        read_cases(path)
    assert told in refused.value.message
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_cases(tmp_path / "none.yaml")
