"""Checks the rows of the ledger against the invariants and against the acknowledgements.

The server is not trusted: the rows are read after all writes, :mod:`ledger.check` checks the invariants, each
acknowledgement must match its row, and the money of all of them must equal the balance of the limit that
counts everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.chaos.journal import Acknowledgement, Decided, Refused, Released, Settled, digest
from benchmarks.chaos.plan import EVERYTHING
from mitsumori.v1 import router_pb2
from router.ledger.base import HoldState
from router.ledger.check import LedgerContents, check
from router.ledger.rows import Row

__all__ = ["Proof", "prove", "prove_copy"]


@dataclass(slots=True)
class Proof:
    """The violations that were found; every list is empty for a correct ledger.

    Attributes:
        invariants: violations of I1 to I7.
        lost: acknowledged settlements that are not booked, or booked for less.
        doubled: money booked that nobody reported, or more than once.
        broken: other violated acknowledgements: different answers to the same call, a hold that was
            released according to the reply and is still held.
        decisions: rows that were read.
        unacknowledged: rows without an acknowledgement, such as one that the other replica refused while
            the first still wrote. They are allowed: they hold until they expire, and charge nothing.
    """

    invariants: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    decisions: int = 0
    unacknowledged: int = 0

    @property
    def all(self) -> list[str]:
        """Everything that is wrong."""
        return [*self.invariants, *self.lost, *self.doubled, *self.broken]


@dataclass(slots=True)
class _Case:
    """All acknowledgements of one decision."""

    decided: list[Decided] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    released: list[Released] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    replaced_by: str | None = None


def prove(ledger: LedgerContents, acknowledgements: Iterable[Acknowledgement]) -> Proof:
    """Prove the invariants and every acknowledgement.

    Args:
        ledger: the store; nobody writes meanwhile.
        acknowledgements: the lines of all journals, each caller's in order; every call was answered in
            the end.
    """
    cases = _cases(acknowledgements)
    settled = {key for key, case in cases.items() if case.settled}
    proof = _invariants(ledger, _acknowledged(cases), settled)
    for key, case in cases.items():
        proof.doubled.extend(_booked_twice(key, case))
        proof.broken.extend(_different_answers(key, case))
    missing = set(settled)
    for row in ledger.rows():
        case = cases.get(row.id, _Case())
        missing.discard(row.id)
        proof.unacknowledged += not (case.decided or case.settled)
        proof.broken.extend(_decision(row, case))
        _money(row, case, proof)
    proof.lost += [f"settlement of {key}: no row" for key in sorted(missing)]
    _total(ledger, cases, proof)
    return proof


def prove_copy(ledger: LedgerContents, acknowledgements: Iterable[Acknowledgement]) -> list[str]:
    """The violations of a copy of a running store; the copy was begun after these acknowledgements."""
    cases = _cases(acknowledgements)
    settled = {key for key, case in cases.items() if case.settled}
    return _invariants(ledger, _acknowledged(cases), settled).invariants


def _cases(acknowledgements: Iterable[Acknowledgement]) -> dict[str, _Case]:
    cases: dict[str, _Case] = {}
    for line in acknowledgements:
        case = cases.setdefault(line.id, _Case())
        match line:
            case Decided():
                case.decided.append(line)
                if line.replaces is not None:
                    cases.setdefault(line.replaces, _Case()).replaced_by = line.id
            case Settled():
                case.settled.append(line)
            case Released():
                case.released.append(line)
            case Refused(provoked=False):
                case.refusals.append(line.reason)
    return cases


def _acknowledged(cases: Mapping[str, _Case]) -> Iterator[str]:
    return (key for key, case in cases.items() if case.decided)


def _invariants(ledger: LedgerContents, decided: Iterable[str], settled: Iterable[str]) -> Proof:
    found = check(ledger, decisions=decided, settlements=settled)
    return Proof(invariants=found.violations, decisions=found.decisions)


def _booked_twice(key: str, case: _Case) -> Iterator[str]:
    """Of all answers to one report, one at most may say that it booked it just now."""
    fresh = sum(not each.repeated for each in case.settled)
    if fresh > 1:
        yield f"settlement of {key}: {fresh} answers say that they booked it"


def _different_answers(key: str, case: _Case) -> Iterator[str]:
    """The same call has the same answer."""
    if len({each.reply for each in case.decided}) > 1:
        yield f"decision {key}: the same request had different answers"
    if len({(each.spent, each.overage, each.late) for each in case.settled}) > 1:
        yield f"settlement of {key}: the same report had different answers"
    if sum(each.now for each in case.released) > 1:
        yield f"decision {key}: given back more than once"
    if case.decided and "NOT_HELD" in case.refusals:
        yield f"decision {key}: granted, and refused because its own grant had given the old one back"


def _decision(row: Row, case: _Case) -> Iterator[str]:
    """A row must hold the acknowledged amounts and keep the acknowledged reply."""
    name = f"decision {row.id} ({row.state.value})"
    for decided in case.decided[:1]:
        held = (row.held.money, row.held.tokens) if row.held is not None else (0, 0)
        if held != (decided.held, decided.tokens):
            yield f"{name}: holds {held}, its caller was told {(decided.held, decided.tokens)}"
        if row.tenant != decided.tenant:
            yield f"{name}: belongs to {row.tenant}, not {decided.tenant}"
        if digest(router_pb2.RouteResponse.FromString(row.reply)) != decided.reply:
            yield f"{name}: keeps another answer than its caller got"
    if row.state in (HoldState.RELEASED, HoldState.SETTLED):
        return  # a settlement after a release is checked in _money
    if any(each.now for each in case.released) or case.replaced_by is not None:
        yield f"{name}: its caller was told that it is given back"


def _money(row: Row, case: _Case, proof: Proof) -> None:
    """What is booked is what was acknowledged, once."""
    name = f"settlement of {row.id}"
    booked = row.actual.money if row.actual is not None else 0
    if not case.settled:
        if row.state is HoldState.SETTLED:
            proof.doubled.append(f"{name}: {booked} booked, and nobody was told")
        return
    settled = case.settled[0]
    if row.state is not HoldState.SETTLED or booked < settled.spent:
        proof.lost.append(
            f"{name}: {booked} booked of {settled.spent} acknowledged ({row.state.value})"
        )
        return
    if booked > settled.spent:
        proof.doubled.append(f"{name}: {booked} booked, {settled.spent} acknowledged")
    if case.replaced_by is not None or any(each.now for each in case.released):
        proof.doubled.append(f"{name}: {booked} booked after it was given back")
    tokens = row.actual.tokens if row.actual is not None else 0
    kept = (row.overage, row.late, tokens)
    acknowledged = (settled.overage, settled.late, settled.tokens)
    if kept != acknowledged:
        proof.broken.append(
            f"{name}: overage, late and tokens are {kept}, its caller was told {acknowledged}"
        )


def _total(ledger: LedgerContents, cases: Mapping[str, _Case], proof: Proof) -> None:
    """The money of all acknowledged settlements is the balance of the limit that counts everything."""
    acknowledged = sum(case.settled[0].spent for case in cases.values() if case.settled)
    booked = sum(each.spent for each in ledger.balances() if each.account.limit == EVERYTHING)
    if booked != acknowledged:
        found = f"in all {booked} booked, {acknowledged} acknowledged"
        (proof.lost if booked < acknowledged else proof.doubled).append(found)
