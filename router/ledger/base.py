"""The contract of the ledger: what every store implements, and the values that go in and out.

Invariants (:mod:`ledger.check` verifies them from the rows):

- I1: at each grant, spent + held + new ≤ hard on every limit that applies; a hold is granted on all of
  them or on none.
- I2: spent is the sum of the settlements. I3: held is the sum of the open holds.
- I4: spent + held ≤ hard + recorded overage. What an amendment adds to a settlement is overage.
- I5: every hold ends in exactly one of settled, released, expired.
- I6: every acknowledged decision has its row.
- I7: the cap of an open task is what is left of it, what its open turns hold, and what its settled ones used.
  It holds what is left on each of its balances, on which its turns count too: drawing, returning and settling
  change no sum of spent and held there.

Checking the limits and holding is one atomic write. A result is returned only after its commit. A
settlement counts in the period of its hold. The store provides the time, so that replicas agree on it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from router.core.limits import Amounts, Limit, LimitState, Obstacle
from router.ledger.shared_state import SharedChanges, SharedRow

__all__ = [
    "AmendResult",
    "Amendment",
    "Granted",
    "Hold",
    "HoldResult",
    "HoldState",
    "Ledger",
    "Refused",
    "Repeated",
    "SettleResult",
    "Settlement",
    "StoredDecision",
    "StoredTask",
    "Totals",
    "Usage",
]


class HoldState(enum.Enum):
    """The state of a decision; every state but QUOTED and HELD is final."""

    QUOTED = "quoted"
    """Recorded without a hold."""
    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Hold:
    """A decision to record, and what to hold for it.

    Attributes:
        id: of the decision; a repeated id with the same fingerprint gets the same reply again.
        fingerprint: hash of the request's body.
        labels: labels of the request, plus ``model`` and ``provider`` of the choice. The label ``tenant``
            separates owners: a tenant cannot see the ids of another.
        amounts: what to hold; ``None`` records the decision without a hold.
        ttl_s: seconds until the hold expires, > 0.
        reply: the serialised reply, returned again when the request is repeated.
        record: everything that replay and training need: an object as JSON text.
        replaces: id of a held decision to release in the same transaction (re-route), or ``None``.
        quoted: the expected price in the quote, nano-dollars ≥ 0.
        task: id of the task that it draws from, a turn; its own id: it is a task, whose cap is
            ``amounts.money``, and only limits of money apply. ``None``: neither.
        example: a reply and a record that resemble these and hold nothing of a caller; a store may compress
            by it, and keeps it. Empty: there is none.
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
    task: str | None = None
    example: bytes = b""

    @property
    def ids(self) -> tuple[str, ...]:
        """Of what it reads or writes: its own, that of the decision it replaces, and that of its task."""
        if self.replaces is None and self.task is None:
            return (self.id,)
        return tuple(
            {each: None for each in (self.id, self.replaces, self.task) if each is not None}
        )


@dataclass(frozen=True, slots=True)
class Granted:
    """The hold is committed. ``states`` are the limits that apply, with their balances after it."""

    states: tuple[LimitState, ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same request was made before; ``reply`` is its reply."""

    reply: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A limit blocks the hold; nothing was written.

    Attributes:
        state: the first such limit by id, with its balance.
        amount: what the hold needs, in the unit of the limit.
        obstacle: why the amount does not fit.
    """

    state: LimitState
    amount: int
    obstacle: Obstacle


HoldResult = Granted | Repeated | Refused


@dataclass(frozen=True, slots=True)
class Usage:
    """The actual usage of a decision, as the caller reports it.

    Attributes:
        amounts: what the call used; ``concurrent`` is ignored.
        record: the details: model, tokens, latency, outcome, quality; JSON-ready.
    """

    amounts: Amounts
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settlement:
    """A report that turns a hold into spend; the same report may be sent again.

    Attributes:
        id: of the decision.
        fingerprint: hash of the report.
        tenant: the owner of the decision.
        usage: what was reported.
    """

    id: str
    fingerprint: str
    tenant: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class SettleResult:
    """The settlement is committed.

    Attributes:
        overage: money spent beyond the hold, nano-dollars ≥ 0.
        late: whether the hold had expired; the spend counts all the same.
        repeated: whether the same report had settled the decision before.
    """

    overage: int
    late: bool
    repeated: bool


@dataclass(frozen=True, slots=True)
class Amendment:
    """An administrator's correction of what a settled decision spent; the same one may be sent again.

    Attributes:
        id: of the decision.
        fingerprint: hash of the request.
        tenant: the owner of the decision.
        money: what was really spent, nano-dollars.
        tokens: what was really used; ``None``: as before.
        reason: why, for the books: 1 to 500 characters.
    """

    id: str
    fingerprint: str
    tenant: str
    money: int
    tokens: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class AmendResult:
    """The amendment is committed.

    Attributes:
        before: what was booked before it.
        overage: money spent beyond the hold now, nano-dollars ≥ 0.
        repeated: whether the same request had amended the decision before.
    """

    before: Amounts
    overage: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """One row of the decision log.

    Attributes:
        id: of the decision.
        state: its current state.
        created: when it was made, UTC.
        expires: when its hold or quote ends, UTC.
        labels: labels of the request, plus those of the choice.
        held: amounts of the hold; ``None`` for a quote.
        actual: reported amounts; ``None`` before it is settled.
        late: whether it was settled after its hold had expired.
        quoted: the expected price in the quote, nano-dollars ≥ 0.
        record: of the :class:`Hold`, as JSON text.
        usage: record of the :class:`Usage`, with ``amendments`` if there are any; empty before the
            settlement.
        task: id of the task that it draws from; ``None``: none.
    """

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
    task: str | None = None


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task with what its turns have used of it; money in nano-dollars ≥ 0.

    Attributes:
        id: of the task.
        state: HELD while it is open, RELEASED once it was ended, EXPIRED once its time ran out.
        created: when it began, UTC.
        expires: when it ends by itself, UTC.
        labels: of its request, and those that every model has that it may use.
        cap: the most that its turns may cost together.
        left: what turns can still draw; of a task that is over, what was freed at its end.
        turns: number of its turns that were not released, ≥ 0.
        held: the open holds of its turns.
        spent: the settled cost of its turns.
        record: of the :class:`Hold`, as JSON text.
        covered: limit, series and key of each balance on which it holds.
    """

    id: str
    state: HoldState
    created: datetime
    expires: datetime
    labels: Mapping[str, str]
    cap: int
    left: int
    turns: int
    held: int
    spent: int
    record: str
    covered: tuple[tuple[str, str, str], ...] = ()


@dataclass(slots=True)
class Totals:
    """Sums over decisions; money in nano-dollars.

    Attributes:
        decisions: number of decisions.
        settled: number of settled decisions.
        overruns: number of settled decisions that cost more than their hold.
        tokens: reported input and output tokens.
        spent: reported spend.
        held: open holds.
        quoted: expected prices of the settled decisions.
        reserved: holds of the settled decisions.
        unused: the part of ``reserved`` that was not spent.
        overage: the spend of settled decisions beyond their holds.
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

    Every method raises ``Unavailable`` if the store cannot be reached or written in time (disk full,
    read-only, locked, server down). Nothing was acknowledged then; the caller may repeat the same call.
    """

    def now(self) -> datetime:
        """The store's time; never goes backwards, unless it lies more than an hour ahead of the clock."""
        ...

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        """For each set of labels, the limits that apply with their current balances, by limit id."""
        ...

    def earlier_reply(self, decision_id: str, fingerprint: str, tenant: str) -> bytes | None:
        """The reply of an earlier request with this id; ``None`` for a new id.

        Args:
            decision_id: of the request.
            fingerprint: hash of the request's body.
            tenant: who asks.

        Raises:
            Conflict: the id was used for another request.
            NotFound: the id belongs to another tenant.
        """
        ...

    def hold(self, hold: Hold) -> HoldResult:
        """Check every limit that applies, and hold on all of them or on none.

        A turn draws its money from its task, whose cap is checked like a limit (:func:`task_cap.cap_state`);
        where the task holds, nothing else is checked.

        Raises:
            Conflict: the id was used for another request.
            NotFound: ``replaces`` is unknown, belongs to another tenant or is no longer held; or there is no
                such task of this tenant.
            NotPossible: the task is over, or ``replaces`` is the turn of another task that is open.
        """
        ...

    def settle(self, settlement: Settlement) -> SettleResult:
        """Record the actual usage in the period of the hold, and free the rest of the hold.

        The rest of a turn goes back to its task while that is open; what it had too little is drawn there.

        Raises:
            NotFound: the tenant has no such decision.
            Conflict: another report has settled it.
            NotPossible: it was released.
        """
        ...

    def amend(self, amendment: Amendment) -> AmendResult:
        """Correct what a settled decision spent, in the period of its hold.

        Its row keeps what was booked before, and why. What is added counts as overage: what was not spent at
        first was free for others.

        Raises:
            NotFound: the tenant has no such decision.
            NotPossible: it is not settled.
        """
        ...

    def release(self, decision_id: str, tenant: str) -> bool:
        """Free a hold without spend; false if it was already released or expired.

        Raises:
            NotFound: the tenant has no such decision.
            NotPossible: it was settled.
        """
        ...

    def end_task(self, task_id: str, tenant: str) -> bool:
        """Free what is left of a task; false if it was over. Its open turns keep their holds.

        Raises:
            NotFound: the tenant has no such task.
        """
        ...

    def task(self, task_id: str) -> StoredTask | None:
        """A task, open or over; ``None`` if there is none."""
        ...

    def tasks(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        state: HoldState | None = None,
        count: int = 100,
    ) -> list[StoredTask]:
        """The newest tasks, newest first.

        Args:
            labels: only tasks with all of these labels.
            state: only tasks in this state.
            count: the most, 1 to 10,000.
        """
        ...

    def expire(self) -> int:
        """Free every hold and task that has expired, and return their number. Every hold does this first."""
        ...

    def set_limit(self, limit: Limit) -> None:
        """Create or replace a limit; a replaced one keeps its balances."""
        ...

    def delete_limit(self, limit_id: str) -> bool:
        """Delete a limit; false if there is none. Open holds on it can still be settled."""
        ...

    def limits(self) -> list[Limit]:
        """Every limit, by id."""
        ...

    def decision(self, decision_id: str) -> StoredDecision | None:
        """One row of the decision log; ``None`` if there is none."""
        ...

    def owner(self, decision_id: str) -> str | None:
        """The tenant of a decision, empty without one; ``None`` if there is no such decision.

        Takes as long for a decision as for none, since whoever asks may be of another tenant.
        """
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
        """A page of the decision log, ordered by (created, id).

        Args:
            labels: only decisions with all of these labels.
            since: only decisions created at or after this moment.
            until: only decisions created before this moment.
            state: only decisions in this state.
            after: id of the last row of the previous page; ``None`` for the first page.
            count: length of the page, 1 to 10,000.
            newest_first: descending order instead of ascending.

        Raises:
            NotFound: there is no decision ``after``.
        """
        ...

    def totals(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        state: HoldState | None = None,
        by_time: bool = False,
    ) -> list[tuple[Mapping[str, str], datetime | None, Totals]]:
        """Sums over decisions, grouped by their labels.

        Args:
            labels: as for :meth:`decisions`, like the next three.
            since: see ``labels``.
            until: see ``labels``.
            state: see ``labels``.
            by_time: group by the quarter of an hour of creation too, at whose multiples the days of
                every time zone begin.

        Returns:
            For each group its labels, the start of its quarter of an hour (``None`` without ``by_time``)
            and its totals.
        """
        ...

    def open_holds(self) -> tuple[int, int]:
        """The number of open holds and tasks, and their money in nano-dollars."""
        ...

    def erase(self, labels: Mapping[str, str], before: datetime) -> int:
        """Delete final decisions with these labels that were created before a moment.

        Balances keep what was spent. Returns the number of decisions deleted.
        """
        ...

    def publish(self, rows: Sequence[SharedRow]) -> None:
        """Share rows with the other processes, all or none; of two with the same key, the newer one stays.

        Raises:
            InvalidInput: a row cannot be kept, or there are more than 1,000.
        """
        ...

    def published(self, kinds: Sequence[str], since: int = 0) -> SharedChanges:
        """Rows of these kinds that were written since the last question, this process's own among them.

        Args:
            kinds: of the rows; the same in each question.
            since: the ``until`` of the last question; 0: every row.
        """
        ...

    def check(self) -> None:
        """Write to the store without changing anything, to see whether that works."""
        ...

    def close(self) -> None:
        """Finish accepted operations, then close the store."""
        ...
