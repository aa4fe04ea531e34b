"""A misspelt label is noted; the decision does not depend on it."""

from __future__ import annotations

import pytest

from router.core.limits import Limit
from router.ledger.memory import MemoryLedger
from router.routing.label_names import LabelNames
from tests.router.ledger.builders import hold, limit


def known(
    *, limits: tuple[Limit, ...] = (), decisions: tuple[dict[str, str], ...] = ()
) -> LabelNames:
    ledger = MemoryLedger()
    for each in limits:
        ledger.set_limit(each)
    for number, labels in enumerate(decisions):
        ledger.hold(hold(f"d{number}", **labels))
    names = LabelNames(frozenset({"tenant", "project"}))
    names.refresh(ledger)
    return names


def told(names: LabelNames, *labels: str) -> dict[str, str]:
    """Label → what it was taken for."""
    notes = names.notes(dict.fromkeys(labels, "x"))
    assert {note.code for note in notes} <= {"UNKNOWN_LABEL"}
    return {note.facts["label"]: note.facts["known_label"] for note in notes}


ON_TEAM = limit("search", scope={"team": "search"})


@pytest.mark.parametrize("slip", ["taem", "teams", "tem", "tea", "steam"])
def test_what_is_close_to_a_limits_label_is_noted(slip: str) -> None:
    assert told(known(limits=(ON_TEAM,)), slip) == {slip: "team"}


@pytest.mark.parametrize("label", ["team", "user", "feature", "env", "tenant"])
def test_a_known_label_and_one_like_no_other_are_not(label: str) -> None:
    assert told(known(limits=(ON_TEAM,)), label) == {}


def test_labels_of_settings_are_known_before_any_limit() -> None:
    names = LabelNames(frozenset({"project"}))
    assert told(names, "projet", "taem") == {"projet": "project"}


def test_a_label_beside_the_known_one_was_not_misspelt() -> None:
    assert told(known(limits=(ON_TEAM,)), "team", "teams") == {}


def test_a_label_in_common_use_is_known_unless_a_limit_goes_by_its_neighbour() -> None:
    used = known(decisions=({"feature": "x"},) * 3)
    assert told(used, "featrue") == {"featrue": "feature"}
    assert told(used, "feature") == {}
    assert told(known(limits=(ON_TEAM,), decisions=({"taem": "x"},) * 3), "taem") == {
        "taem": "team"
    }


def test_two_decisions_make_no_label_common() -> None:
    assert told(known(decisions=({"feature": "x"},) * 2), "featrue") == {}


def test_the_text_names_both() -> None:
    (note,) = known(limits=(ON_TEAM,)).notes({"taem": "search"})
    assert note.text == "no limit or setting uses the label taem; did you mean team?"


def test_a_tenant_is_told_no_name_that_another_one_alone_uses() -> None:
    """By the names of labels one could read what another tenant works on."""
    names = known(
        limits=(limit("a", scope={"tenant": "acme", "merger": "x"}), ON_TEAM),
        decisions=({"tenant": "acme", "aurora": "x"},) * 5,
    )
    for tenant in ("beta", "never-seen"):
        notes = names.notes({"tenant": tenant, "mergers": "x", "auroras": "x", "teams": "x"})
        assert [note.facts["known_label"] for note in notes] == ["team"]
    notes = names.notes({"tenant": "acme", "mergers": "x", "auroras": "x"})
    assert [note.facts["known_label"] for note in notes] == ["merger", "aurora"]
    # An operator, whose request names no tenant, is warned of any.
    assert told(names, "mergers", "auroras") == {"mergers": "merger", "auroras": "aurora"}
