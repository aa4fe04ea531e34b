"""The proof of the chaos run: silent where every word was kept, and each planted lie is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.chaos.journal import (
    Acknowledgement,
    Begun,
    Decided,
    Ended,
    Journal,
    Refused,
    Released,
    Settled,
    digest,
    read,
)
from benchmarks.chaos.plan import EVERYTHING
from benchmarks.chaos.proof import Proof, prove, prove_copy
from mitsumori.v1 import router_pb2
from router.core.limits import Amounts, Limit
from router.ledger.base import Hold, HoldState, Usage
from router.ledger.memory import MemoryLedger
from router.ledger.rows import Balance, Row
from tests.router.ledger.builders import ManualClock, limit, report, task


@dataclass
class World:
    """A store that was used, and what its callers were told; both may be tampered with."""

    made_limits: list[Limit]
    made_balances: list[Balance]
    made_rows: dict[str, Row]
    acknowledgements: list[Acknowledgement]

    def limits(self) -> list[Limit]:
        return self.made_limits

    def balances(self) -> Iterator[Balance]:
        return iter(self.made_balances)

    def rows(self) -> Iterator[Row]:
        return iter(self.made_rows.values())

    def prove(self) -> Proof:
        return prove(self, self.acknowledgements)

    def say(self, decision_id: str, kind: type[Acknowledgement], **changes: object) -> None:
        """Change what the caller was told of a decision."""
        (place,) = (
            place
            for place, each in enumerate(self.acknowledgements)
            if each.id == decision_id and isinstance(each, kind)
        )
        self.acknowledgements[place] = replace(self.acknowledgements[place], **changes)  # type: ignore[type-var]

    def again(self, decision_id: str, kind: type[Acknowledgement], **changes: object) -> None:
        """Tell the caller once more, with changes."""
        (first,) = (e for e in self.acknowledgements if e.id == decision_id and isinstance(e, kind))
        self.acknowledgements.append(replace(first, **changes))  # type: ignore[type-var]


def reply_of(decision_id: str) -> router_pb2.RouteResponse:
    return router_pb2.RouteResponse(decision_id=decision_id)


@pytest.fixture
def world() -> World:
    """One decision of each fate: settled, beyond its hold, late, released, re-routed, forgotten, a turn."""
    clock = ManualClock()
    store = MemoryLedger(clock)
    store.set_limit(limit(EVERYTHING, hard=None, soft=10**9))
    store.set_limit(limit("budget", hard=1000))
    acknowledgements: list[Acknowledgement] = []

    def decide(name: str, replaces: str | None = None, of: str = "") -> None:
        store.hold(
            Hold(
                id=name,
                fingerprint=name,
                labels={"tenant": "acme"},
                amounts=Amounts(10, 3),
                ttl_s=5,
                reply=reply_of(name).SerializeToString(),
                replaces=replaces,
                task=of or None,
            )
        )
        told = digest(reply_of(name))
        acknowledgements.append(Decided(name, "acme", 10, 3, told, replaces, task=of))

    def settle(name: str, spent: int) -> None:
        settlement = replace(report(name, spent), usage=Usage(Amounts(spent, 2)))
        done = store.settle(settlement)
        acknowledgements.append(Settled(name, spent, done.overage, 2, done.late, done.repeated))

    decide("late")
    decide("forgotten")
    clock.advance(seconds=6)
    for name in ("settled", "over", "released", "failed"):
        decide(name)
    decide("better", replaces="failed")
    settle("late", 8)
    settle("settled", 8)
    settle("over", 25)
    store.release("released", "acme")
    acknowledgements.append(Released("released", now=True))
    acknowledgements.append(Refused("nobody", "Route", "LIMIT_EXHAUSTED"))
    begun = router_pb2.BeginTaskResponse()
    store.hold(replace(task("run", 30), reply=begun.SerializeToString()))
    acknowledgements.append(Begun("run", "acme", 30, digest(begun)))
    decide("turn", of="run")
    store.end_task("run", "acme")
    acknowledgements.append(Ended("run", now=True))
    return World(
        store.limits(), list(store.balances()), {r.id: r for r in store.rows()}, acknowledgements
    )


def test_kept_words_are_proved(world: World) -> None:
    proof = world.prove()
    assert proof.all == []
    assert (proof.decisions, proof.unacknowledged) == (8, 0)


def test_repeats_with_the_same_answer_are_fine(world: World) -> None:
    world.again("settled", Decided, again=True)
    world.again("settled", Settled, repeated=True, again=True)
    world.again("released", Released, now=False, again=True)
    assert world.prove().all == []


def test_a_row_without_an_acknowledgement_is_counted_and_allowed(world: World) -> None:
    world.acknowledgements = [each for each in world.acknowledgements if each.id != "forgotten"]
    proof = world.prove()
    assert (proof.all, proof.unacknowledged) == ([], 1)


def test_a_copy_may_lack_later_acknowledgements_but_no_earlier_ones(world: World) -> None:
    before = world.acknowledgements[:2]
    del world.made_rows["released"]
    assert prove_copy(world, before) == []
    assert any(
        "released was acknowledged" in each for each in prove_copy(world, world.acknowledgements)
    )


def row(name: str, **changes: object) -> Callable[[World], None]:
    def plant(world: World) -> None:
        for column, value in changes.items():
            setattr(world.made_rows[name], column, value)

    return plant


def say(name: str, kind: type[Acknowledgement], **changes: object) -> Callable[[World], None]:
    return lambda world: world.say(name, kind, **changes)


def again(name: str, kind: type[Acknowledgement], **changes: object) -> Callable[[World], None]:
    return lambda world: world.again(name, kind, **changes)


def gone(name: str) -> Callable[[World], None]:
    return lambda world: world.made_rows.pop(name)


def unacknowledged_answer(name: str, kind: type[Acknowledgement]) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.acknowledgements = [
            e for e in world.acknowledgements if not (e.id == name and isinstance(e, kind))
        ]

    return plant


def in_all(change: int) -> Callable[[World], None]:
    def plant(world: World) -> None:
        (everything,) = (b for b in world.made_balances if b.account.limit == EVERYTHING)
        everything.spent += change

    return plant


LIES: dict[str, tuple[Callable[[World], None], str, str]] = {
    "decision lost": (gone("forgotten"), "invariants", "I6: decision forgotten"),
    "settled row lost": (gone("settled"), "lost", "settlement of settled: no row"),
    "settlement lost": (
        row("settled", state=HoldState.HELD, actual=None, report=None),
        "lost", "0 booked of 8 acknowledged (held)",
    ),
    "settled, then expired": (row("late", state=HoldState.EXPIRED), "lost", "settlement of late"),
    "booked for less": (row("settled", actual=Amounts(7, 2)), "lost", "7 booked of 8"),
    "booked for more": (row("settled", actual=Amounts(9, 2)), "doubled", "9 booked, 8 acknow"),
    "booked twice in the balance": (in_all(8), "doubled", "in all 49 booked, 41 acknowledged"),
    "lost in the balance": (in_all(-1), "lost", "in all 40 booked, 41 acknowledged"),
    "nobody reported it": (unacknowledged_answer("over", Settled), "doubled", "and nobody was told"),
    "two first reports": (again("settled", Settled), "doubled", "2 answers say"),
    "released, then settled": (
        lambda world: world.acknowledgements.append(Released("settled", now=True)),
        "doubled", "8 booked after it was given back",
    ),
    "replaced, then settled": (
        again("better", Decided, id="b2", replaces="over"), "doubled", "25 booked after",
    ),
    "released, still held": (
        row("released", state=HoldState.HELD), "broken", "was told that it is given back",
    ),
    "replaced, still held": (
        row("failed", state=HoldState.HELD), "broken", "was told that it is given back",
    ),
    "released twice": (again("released", Released), "broken", "given back more than once"),
    "another answer": (again("over", Decided, reply="x"), "broken", "had different answers"),
    "another settlement": (
        again("over", Settled, overage=0, repeated=True), "broken", "had different answers",
    ),
    "the row holds another reply": (
        row("over", reply=reply_of("x").SerializeToString()), "broken", "keeps another answer",
    ),
    "holds another amount": (say("over", Decided, held=11), "broken", "told (11, 3)"),
    "holds other tokens": (say("over", Decided, tokens=4), "broken", "told (10, 4)"),
    "belongs to another": (row("over", tenant="evil"), "broken", "belongs to evil"),
    "overage not as told": (say("over", Settled, overage=14), "broken", "told (14, False, 2)"),
    "late not as told": (say("late", Settled, late=False), "broken", "told (0, False, 2)"),
    "tokens not as told": (say("late", Settled, tokens=3), "broken", "told (0, True, 3)"),
    "task lost": (gone("run"), "invariants", "I6: decision run was acknowledged"),
    "turn of another task": (say("turn", Decided, task="other"), "broken", "its caller named other"),
    "turn of no task": (row("turn", task=None), "broken", "its caller named run"),
    "ended, still open": (row("run", state=HoldState.HELD), "broken", "was told that it is ended"),
    "ended twice": (again("run", Ended), "broken", "task run: ended more than once"),
    "another cap": (say("run", Begun, cap=31), "broken", "was told 31 of acme"),
    "task of another": (row("run", tenant="evil"), "broken", "holds 30 of evil"),
    "another task": (again("run", Begun, reply="x"), "broken", "had different answers"),
    "the task keeps another reply": (
        row("run", reply=b"\n\x00"), "broken", "keeps another answer",
    ),
    "refused for its own twin": (
        lambda world: world.acknowledgements.append(Refused("better", "Reroute", "NOT_HELD")),
        "broken", "granted, and refused",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("plant", "kind", "expected"), LIES.values(), ids=LIES.keys())
def test_a_planted_lie_is_found(
    world: World, plant: Callable[[World], None], kind: str, expected: str
) -> None:
    plant(world)
    found = getattr(world.prove(), kind)
    assert any(expected in each for each in found), world.prove()


def test_a_journal_is_read_as_it_was_written(tmp_path: Path, world: World) -> None:
    with Journal(tmp_path / "client-1.jsonl") as journal:
        for acknowledgement in world.acknowledgements:
            journal.write(acknowledgement)
    with (tmp_path / "client-1.jsonl").open("a") as file:
        file.write('{"kind":"Decided","id":"torn')  # being written while it is read
    assert list(read(tmp_path)) == world.acknowledgements
