"""The short version of ``make chaos``: real servers killed under load, and not one acknowledgement lost.

Nothing here is about speed: a slow machine takes longer until as much has happened as is asserted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos.__main__ import main
from benchmarks.chaos.agents import OVER
from benchmarks.chaos.figures import figures, wrongs
from benchmarks.chaos.harness import Outcome, run
from benchmarks.chaos.journal import Acknowledgement, Decided, Ended, Refused, Released, Settled
from benchmarks.chaos.plan import Plan
from router.core.errors import InvalidInput

LYING = (sys.executable, str(Path(__file__).with_name("lying_server.py")), "serve")


def acknowledged(outcome: Outcome, *kinds: type[Acknowledgement]) -> list[Any]:
    return [each for each in outcome.acknowledgements if isinstance(each, kinds)]


BY_LIMITS = {"LIMIT_WAIT_FOR_HOLDS", "LIMIT_EXHAUSTED", "LIMIT_NEVER_FITS"}
CHEATS = {"REQUEST_ID_REUSED", "ALREADY_SETTLED", "NOT_FOUND", "INVALID_INPUT"}

WILD: dict[str, Callable[[Outcome], bool]] = {
    "kills": lambda run: run.kills >= 3,
    "full disks": lambda run: run.full_disks >= 1 or run.store_events_name.startswith("kills"),
    "closed log pipes": lambda run: run.deaf_logs >= 1,
    "store events": lambda run: run.store_events >= 1,
    "decisions": lambda run: len({each.id for each in acknowledged(run, Decided)}) > 200,
    "re-routes": lambda run: any(each.replaces for each in acknowledged(run, Decided)),
    "turns": lambda run: sum(each.task != "" for each in acknowledged(run, Decided)) > 10,
    "ended tasks": lambda run: any(each.now for each in acknowledged(run, Ended)),
    "tasks over": lambda run: not OVER.isdisjoint(e.reason for e in acknowledged(run, Refused)),
    "releases": lambda run: any(each.now for each in acknowledged(run, Released)),
    "overage": lambda run: any(each.overage for each in acknowledged(run, Settled)),
    "late settlements": lambda run: any(each.late for each in acknowledged(run, Settled)),
    "repeats": lambda run: sum(e.again for e in acknowledged(run, Decided, Settled, Released)) > 20,
    "refusals": lambda run: (
        {each.reason for each in acknowledged(run, Refused)} >= BY_LIMITS | CHEATS
    ),
}
"""What a run must have done to be worth its name. It goes on until it has."""


def missing(outcome: Outcome) -> list[str]:
    return [name for name, happened in WILD.items() if not happened(outcome)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "plan",
    [
        Plan("sqlite", 40, clients=64, seed=11),
        Plan("sqlite", 20, clients=64, seed=14, processes=3),
        Plan("postgresql", 30, clients=64, seed=12),
    ],
    ids=lambda plan: f"{plan.store}, {plan.processes} processes",
)
def test_killed_servers_lose_nothing_and_charge_nothing_twice(plan: Plan) -> None:
    outcome = run(plan, enough=lambda so_far: not missing(so_far))
    assert wrongs(outcome) == []
    assert all(figure.holds is not False for figure in figures(plan, outcome))
    assert missing(outcome) == []
    assert outcome.unanswered.total() > 0


@pytest.mark.slow
def test_a_server_that_acknowledges_too_early_is_found_out() -> None:
    plan = Plan(
        "sqlite", 3, clients=16, seed=13, kill_after_s=(0.5, 1.0), hold_ttl_s=2, serve=LYING
    )
    outcome = run(
        plan, enough=lambda so_far: so_far.kills >= 3 and len(acknowledged(so_far, Settled)) > 20
    )
    assert outcome.kills >= 1
    assert outcome.proof.lost
    assert any(each.startswith("I6: the settlement") for each in outcome.proof.invariants)


@pytest.mark.parametrize("words", ["--seconds 0", "--clients many", "--store disk", "--fast"])
def test_a_wrong_argument_is_named_in_one_line(words: str) -> None:
    with pytest.raises(InvalidInput, match=words.split()[0]):
        main(words.split())
