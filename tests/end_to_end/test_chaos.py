"""The short version of ``make chaos``: real servers killed under load, and not one acknowledgement lost.

Nothing here is about speed: a slow machine does less of everything, and as much as is asserted.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.chaos.__main__ import main
from benchmarks.chaos.figures import figures, wrongs
from benchmarks.chaos.harness import run
from benchmarks.chaos.journal import Decided, Refused, Released, Settled
from benchmarks.chaos.plan import Plan
from router.core.errors import InvalidInput

LYING = (sys.executable, str(Path(__file__).with_name("lying_server.py")), "serve")


@pytest.mark.parametrize(
    "plan",
    [Plan("sqlite", 75, clients=64, seed=11), Plan("postgresql", 45, clients=64, seed=12)],
    ids=lambda plan: plan.store,
)
def test_killed_servers_lose_nothing_and_charge_nothing_twice(plan: Plan) -> None:
    outcome = run(plan)
    assert wrongs(outcome) == []
    assert all(figure.holds is not False for figure in figures(plan, outcome))
    # It was as wild as it says.
    told = outcome.told
    decided = {each.id for each in told if isinstance(each, Decided)}
    settled = [each for each in told if isinstance(each, Settled)]
    assert outcome.kills >= 3
    assert outcome.store_events >= 1
    assert outcome.unanswered.total() > 0
    assert len(decided) > 200
    assert any(isinstance(each, Decided) and each.replaces for each in told)
    assert any(isinstance(each, Released) and each.now for each in told)
    assert any(each.overage for each in settled)
    assert any(each.late for each in settled)
    assert sum(each.again for each in (*settled, *_decisions_and_releases(told))) > 20
    refused = Counter(each.reason for each in told if isinstance(each, Refused))
    by_limits = {"LIMIT_WAIT_FOR_HOLDS", "LIMIT_EXHAUSTED", "LIMIT_NEVER_FITS"}
    cheats = {"REQUEST_ID_REUSED", "ALREADY_SETTLED", "NOT_FOUND", "INVALID_INPUT"}
    assert by_limits | cheats <= set(refused)


def _decisions_and_releases(told: list[object]) -> list[Decided | Released]:
    return [each for each in told if isinstance(each, Decided | Released)]


def test_a_server_that_acknowledges_too_early_is_found_out() -> None:
    outcome = run(
        Plan("sqlite", 8, clients=16, seed=13, kill_after_s=(0.5, 1.0), hold_ttl_s=2, serve=LYING)
    )
    assert outcome.kills >= 1
    assert outcome.proof.lost
    assert any(each.startswith("I6: the settlement") for each in outcome.proof.invariants)


@pytest.mark.parametrize("words", ["--seconds 0", "--clients many", "--store disk", "--fast"])
def test_a_wrong_argument_is_named_in_one_line(words: str) -> None:
    with pytest.raises(InvalidInput, match=words.split()[0]):
        main(words.split())
