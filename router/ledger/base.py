"""What every store of the ledger does, and the values that go in and out.

Invariants (a checker proves them from the rows):

- I1: at each grant, spent + held + new ≤ hard, on every limit that applies, all or none.
- I2: spent is the sum of settlements. I3: held is the sum of open holds.
- I4: spent + held ≤ hard + the flagged overage.
- I5: every hold reaches exactly one of settled, released, expired.
- I6: every acknowledged decision has its row.

Checking and holding is one atomic write. Every result is returned only after its commit. A settle books
to the period of its hold. Time is the store's, so that replicas agree on it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from router.core.limits import Amounts, Limit, LimitState, Obstacle

__all__ = [
    "Granted",
    "Hold",
    "HoldResult",
    "HoldState",
    "Ledger",
    "Refused",
    "Replayed",
    "SettleResult",
    "Settlement",
    "StoredDecision",
    "Tally",
    "Usage",
]


class HoldState(enum.Enum):
    """Where a hold is; everything but HELD and QUOTED is final."""

    QUOTED = "quoted"
    """A decision that was asked for without a hold."""
    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Hold:
    """What is to be set aside for one decision.

    Attributes:
        id: of the decision; a repeated id with the same fingerprint gets the same answer again.
        fingerprint: hash of the request's body.
        labels: scope of the request, with ``model`` and ``provider`` of the choice. ``tenant`` among
            them separates owners: another tenant's id is as good as unknown.
        amounts: what is held; ``None`` records the decision without a hold.
        ttl_s: seconds until the hold expires, > 0.
        reply: the serialised reply, given back on a repeat.
        record: everything that replay and training need: an object as JSON text.
        replaces: a held decision that is released in the same transaction (re-route), or ``None``.
        quoted: the expected price that the caller was told, nano-dollars ≥ 0.
    """

    id: str
    fingerprint: str
    labels: Mapping[str, str]
    amounts: Amounts | None
    ttl_s: float
    reply: bytes
    record: str = "{}"
    replaces: str | None = None
    quoted: int = 0


@dataclass(frozen=True, slots=True)
class Granted:
    """The hold is committed. ``states`` are the balances after it, of every limit that applies."""

    states: tuple[LimitState, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """The same request came before; this was its reply."""

    reply: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was written: this limit stood in the way. The first such limit by id."""

    state: LimitState
    amount: int
    obstacle: Obstacle


HoldResult = Granted | Replayed | Refused


@dataclass(frozen=True, slots=True)
class Usage:
    """What really happened, reported by the caller.

    ``amounts`` are what the model that was called really took; ``concurrent`` is ignored. ``record``
    keeps the details (model, tokens in, out, cached, reasoning, latency, outcome, quality).
    """

    amounts: Amounts
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settlement:
    """Turns a hold into spend. The same id with the same fingerprint may come again."""

    id: str
    fingerprint: str
    tenant: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class SettleResult:
    """The settlement is committed.

    ``overage`` is how much money (nano-dollars, ≥ 0) went beyond the hold; ``late`` says that the hold
    had already expired: it is booked all the same, for the money is gone. ``repeated``: it was settled
    before by the same report.
    """

    overage: int
    late: bool
    repeated: bool


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """One row of the decision log. ``record`` is the text of the hold."""

    id: str
    state: HoldState
    created: datetime
    expires: datetime
    labels: Mapping[str, str]
    held: Amounts | None
    actual: Amounts | None
    late: bool
    quoted: int
    record: str
    usage: Mapping[str, Any]


@dataclass(slots=True)
class Tally:
    """What decisions came to; money in nano-dollars.

    Attributes:
        decisions: how many.
        settled: of them, those whose usage was reported.
        overruns: of the settled that had a hold, those that cost more than it.
        tokens: input and output tokens that were reported.
        spent: what was reported as spent.
        held: what is held for decisions in flight.
        quoted: what was expected of the settled ones when they were quoted.
        reserved: what had been held for the settled ones.
        unused: the part of ``reserved`` that was not needed.
        overage: what settled ones cost beyond their holds.
    """

    decisions: int = 0
    settled: int = 0
    overruns: int = 0
    tokens: int = 0
    spent: int = 0
    held: int = 0
    quoted: int = 0
    reserved: int = 0
    unused: int = 0
    overage: int = 0


class Ledger(Protocol):
    """A store. Every method may be called from any thread.

    Raises, from every method: ``Unavailable`` where the store cannot be reached or written in time
    (disk full, read-only, locked, server gone). Then nothing was acknowledged, and the caller may
    repeat the same call.
    """

    def now(self) -> datetime:
        """The store's time, never earlier than what it said before."""
        ...

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        """For each set of labels, the limits that apply with their balances of now, by limit id."""
        ...

    def replay(self, decision_id: str, fingerprint: str, tenant: str) -> bytes | None:
        """The reply of an earlier request with this id and fingerprint; ``None`` for a new id.

        Raises:
            Conflict: the id was used with another fingerprint.
            NotFound: it is another tenant's.
        """
        ...

    def hold(self, hold: Hold) -> HoldResult:
        """Check every limit that applies and hold, all or none.

        Raises:
            Conflict: the id was used with another fingerprint.
            NotFound: ``replaces`` is unknown, another tenant's, or no longer held.
        """
        ...

    def settle(self, settlement: Settlement) -> SettleResult:
        """Book what really happened in the period of the hold, and give the rest back.

        Raises:
            NotFound: no such decision of this tenant.
            Conflict: it was settled by another report.
            NotPossible: it was released.
        """
        ...

    def release(self, decision_id: str, tenant: str) -> bool:
        """Give a hold back without spend; false where it was given back before (released, expired).

        Raises:
            NotFound: no such decision of this tenant.
            NotPossible: it was settled.
        """
        ...

    def expire(self) -> int:
        """Give back every hold whose time has run out; how many. Also done before every hold."""
        ...

    def set_limit(self, limit: Limit) -> None:
        """Make or replace a limit; its balances stay."""
        ...

    def delete_limit(self, limit_id: str) -> bool:
        """Remove a limit; false where there was none. Open holds on it settle without it."""
        ...

    def limits(self) -> list[Limit]:
        """Every limit, by id."""
        ...

    def decision(self, decision_id: str) -> StoredDecision | None:
        """One row of the decision log."""
        ...

    def decisions(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        state: HoldState | None = None,
        after: str | None = None,
        count: int = 100,
        newest_first: bool = False,
    ) -> list[StoredDecision]:
        """Rows of the decision log, oldest first by (created, id), starting behind ``after``.

        Args:
            labels: each must be carried with this value.
            since: created at or after this moment.
            until: created before this moment.
            state: only holds in this state.
            after: the id of the last row of the page before.
            count: 1 to 10,000.
            newest_first: the other way round; ``after`` then goes on with older ones.
        """
        ...

    def tally(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        state: HoldState | None = None,
        by_time: bool = False,
    ) -> list[tuple[Mapping[str, str], datetime | None, Tally]]:
        """Decisions added up by their labels, and with ``by_time`` by the quarter of an hour they were
        made in (its start; every time zone begins its days at one). Filters as :meth:`decisions`.
        """
        ...

    def erase(self, labels: Mapping[str, str], before: datetime) -> int:
        """Delete final decisions with these labels created before a moment; how many.

        Balances keep what was spent.
        """
        ...

    def close(self) -> None:
        """Finish what was accepted, then let go of the store."""
        ...
