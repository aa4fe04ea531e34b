"""The benchmark of the decision measures what it says."""

from __future__ import annotations

from benchmarks.decisions import MODELS, RULES, TARGET_US, measure


def test_it_decides_over_many_models_and_rules_beside_what_ships() -> None:
    figures = {each.name: each for each in measure(decisions=30)}
    measured = figures[f"decision over {MODELS} models, {RULES} rules, p50"]
    assert (MODELS, RULES, TARGET_US) == (50, 200, 200.0)
    assert (measured.unit, measured.target, measured.direction) == ("µs", TARGET_US, "<=")
    assert sum(each.name.startswith("baseline: ") for each in figures.values()) == 2
    assert all(each.value > 0 for each in figures.values())
    # A table of which nothing ever holds would measure half of the work.
    assert figures["rules that held, mean"].value > 3
