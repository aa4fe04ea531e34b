"""The figures of a run: what happened, and what must not have happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from benchmarks.chaos.harness import Outcome
from benchmarks.chaos.journal import Begun, Decided, Ended, Refused, Released, Settled, Unexpected
from benchmarks.chaos.plan import Plan
from benchmarks.report import Figure

__all__ = ["figures", "wrongs"]


def figures(plan: Plan, outcome: Outcome) -> Iterator[Figure]:
    """First what a run did, then its violations; only these have targets, which are zero."""
    for name, value, unit in _done(plan, outcome):
        yield Figure(f"{plan.store}: {name}", value, unit)
    proof = outcome.proof
    for name, wrong in (
        ("violations of I1–I7", proof.invariants),
        ("lost acknowledged settlements", proof.lost),
        ("double charges", proof.doubled),
        ("other acknowledgements not kept", proof.broken),
        ("unexpected errors", [*_unexpected(outcome), *outcome.failures]),
    ):
        yield Figure(f"{plan.store}: {name}", len(wrong), "", target=0)
    if plan.store == "sqlite":
        name = f"{plan.store}: violations in copies taken while running"
        yield Figure(name, len(outcome.copies), "", target=0)
    yield Figure(f"{plan.store}: still held after every hold ran out", outcome.leaked, "", target=0)


def wrongs(outcome: Outcome) -> list[str]:
    """A line for everything that must not have happened."""
    leaked = [f"{outcome.leaked} still held after every hold ran out"] if outcome.leaked else []
    found = [*outcome.proof.all, *outcome.copies, *leaked]
    return [*found, *_unexpected(outcome), *outcome.failures]


def _done(plan: Plan, outcome: Outcome) -> Iterator[tuple[str, float, str]]:
    acknowledgements = outcome.acknowledgements
    decided = {each.id: each for each in acknowledgements if isinstance(each, Decided)}
    settled = {each.id: each for each in acknowledgements if isinstance(each, Settled)}
    released = {each.id for each in acknowledgements if isinstance(each, Released)}
    again = sum(
        each.again
        for each in acknowledgements
        if isinstance(each, Decided | Settled | Released | Begun | Ended)
    )
    refused = Counter(
        each.reason for each in acknowledgements if isinstance(each, Refused) and not each.provoked
    )
    yield "callers at once", plan.clients, ""
    yield "acknowledged decisions", len(decided), ""
    yield "of them re-routes", sum(each.replaces is not None for each in decided.values()), ""
    yield "of them turns of tasks", sum(each.task != "" for each in decided.values()), ""
    yield "acknowledged tasks", len({e.id for e in acknowledgements if isinstance(e, Begun)}), ""
    ended = {each.id for each in acknowledgements if isinstance(each, Ended) and each.now}
    yield "of them ended by their callers", len(ended), ""
    yield "acknowledged settlements", len(settled), ""
    yield "of them beyond the hold", sum(each.overage > 0 for each in settled.values()), ""
    yield "of them late", sum(each.late for each in settled.values()), ""
    yield "acknowledged releases", len(released), ""
    for reason, count in sorted(refused.items()):
        yield f"refusals {reason}", count, ""
    yield "cheats, refused as defined", sum(_is_cheat(each) for each in acknowledgements), ""
    yield "forced repeats", again, ""
    yield "kills of a server", outcome.kills, ""
    yield "times that its disk was full", outcome.full_disks, ""
    yield "lives with a closed log pipe", outcome.deaf_logs, ""
    yield outcome.store_events_name, outcome.store_events, ""
    yield "tries without an answer", outcome.unanswered.total(), ""
    yield "holds without an acknowledgement", outcome.proof.unacknowledged, ""
    yield "answers", len(acknowledgements) / outcome.seconds, "/s"


def _is_cheat(acknowledgement: object) -> bool:
    return isinstance(acknowledgement, Refused) and acknowledgement.provoked


def _unexpected(outcome: Outcome) -> list[str]:
    return [
        f"{each.call} {each.id}: {each.what}"
        for each in outcome.acknowledgements
        if isinstance(each, Unexpected)
    ]
