"""The ledger in memory: the reference that tests compare the other stores with. Nothing outlives it."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from router.core.errors import NotFound, Unavailable
from router.core.limits import Limit, LimitState, Unit
from router.ledger import rules, storage_format
from router.ledger.base import (
    Hold,
    HoldResult,
    HoldState,
    Settlement,
    SettleResult,
    StoredDecision,
    Tally,
)
from router.ledger.limit_book import LimitBook
from router.ledger.rows import Account, Balance, Row

__all__ = ["MemoryLedger"]

_TICK = timedelta(microseconds=1)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryLedger:
    """One lock and dictionaries. Implements :class:`base.Ledger`.

    Args:
        clock: what time it is; may go backwards.
    """

    def __init__(self, clock: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        self._last = clock()
        self._lock = threading.RLock()
        self._books = _Books()
        self._closed = False

    def now(self) -> datetime:
        """See :meth:`Ledger.now`."""
        with self._lock:
            self._check_open()
            self._last = max(self._last, self._clock())
            return self._last

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        """See :meth:`Ledger.view`."""
        with self._lock:
            moment = self._expired()
            return [
                tuple(
                    LimitState(limit, account.key, period, balance.spent, balance.held)
                    for limit, account, period in self._books.limits.applying(labels, moment)
                    for balance in [self._books.balance(account, limit.unit)]
                )
                for labels in options
            ]

    def replay(self, decision_id: str, fingerprint: str, tenant: str) -> bytes | None:
        """See :meth:`Ledger.replay`."""
        with self._lock:
            self._check_open()
            row = self._books.row(decision_id)
            if row is None:
                return None
            rules.check_same(decision_id, (row.tenant, row.fingerprint), (tenant, fingerprint))
            return row.reply

    def hold(self, hold: Hold) -> HoldResult:
        """See :meth:`Ledger.hold`."""
        storage_format.check_hold(hold)
        with self._lock:
            # Two decisions never share a moment, so that the log has one order.
            self._last = self._expired() + _TICK
            return rules.hold(self._books, hold, self._last)

    def settle(self, settlement: Settlement) -> SettleResult:
        """See :meth:`Ledger.settle`."""
        storage_format.check_settlement(settlement)
        with self._lock:
            self._expired()
            return rules.settle(self._books, settlement)

    def release(self, decision_id: str, tenant: str) -> bool:
        """See :meth:`Ledger.release`."""
        with self._lock:
            self._expired()
            return rules.release(self._books, decision_id, tenant)

    def expire(self) -> int:
        """See :meth:`Ledger.expire`."""
        with self._lock:
            moment = self.now()
            due = [row for row in self._books.held.values() if row.expires <= moment]
            return rules.expire(self._books, due)

    def set_limit(self, limit: Limit) -> None:
        """See :meth:`Ledger.set_limit`."""
        storage_format.check_limit(limit)
        with self._lock:
            self._check_open()
            self._books.limits = self._books.limits.with_limit(limit)

    def delete_limit(self, limit_id: str) -> bool:
        """See :meth:`Ledger.delete_limit`."""
        with self._lock:
            self._check_open()
            there = self._books.limits.get(limit_id) is not None
            self._books.limits = self._books.limits.without(limit_id)
            return there

    def limits(self) -> list[Limit]:
        """See :meth:`Ledger.limits`."""
        with self._lock:
            self._check_open()
            return list(self._books.limits)

    def decision(self, decision_id: str) -> StoredDecision | None:
        """See :meth:`Ledger.decision`."""
        with self._lock:
            self._check_open()
            row = self._books.row(decision_id)
            return None if row is None else self._books.decided(row)

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
        """See :meth:`Ledger.decisions`."""
        storage_format.check_count(count)
        storage_format.check_labels(labels or {})
        with self._lock:
            self._check_open()
            if after is not None:
                last = self._books.row(after)
                if last is None:
                    raise NotFound(f"there is no decision {after} to go on behind")
                if newest_first:
                    until = min(until or last.created, last.created)
                else:
                    since = max(since or last.created, last.created + _TICK)
            rows = self._books.find(labels or {}, since, until, state)
            if newest_first:
                rows = reversed(list(rows))
            return [self._books.decided(row) for row in itertools.islice(rows, count)]

    def tally(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        state: HoldState | None = None,
        by_time: bool = False,
    ) -> list[tuple[Mapping[str, str], datetime | None, Tally]]:
        """See :meth:`Ledger.tally`."""
        storage_format.check_labels(labels or {})
        with self._lock:
            self._expired()
            tallies: dict[tuple[str, datetime | None], Tally] = {}
            for row in self._books.find(labels or {}, since, until, state):
                slot = storage_format.slot_of(row.created) if by_time else None
                key = (self._books.papers[row.id][0], slot)
                _count(tallies.setdefault(key, Tally()), row)
            return [(json.loads(text), slot, tally) for (text, slot), tally in tallies.items()]

    def erase(self, labels: Mapping[str, str], before: datetime) -> int:
        """See :meth:`Ledger.erase`."""
        storage_format.check_labels(labels)
        with self._lock:
            moment = self._expired()
            gone = [
                row
                for row in self._books.rows.values()
                if row.created < before
                and (row.state is not HoldState.QUOTED or row.expires <= moment)
                and row.state is not HoldState.HELD
                and self._books.carries(row, labels)
            ]
            for row in gone:
                rules.erase(row)
                del self._books.rows[row.id], self._books.papers[row.id]
            return len(gone)

    def close(self) -> None:
        """See :meth:`Ledger.close`."""
        with self._lock:
            self._closed = True

    def rows(self) -> Iterator[Row]:
        """Every decision with its entries, for the checker."""
        yield from list(self._books.rows.values())

    def balances(self) -> Iterator[Balance]:
        """Every balance, for the checker."""
        yield from list(self._books.balances.values())

    def _expired(self) -> datetime:
        self.expire()
        return self._last

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the ledger is closed")


def _count(tally: Tally, row: Row) -> None:
    tally.decisions += 1
    if row.state is HoldState.HELD and row.held is not None:
        tally.held += row.held.money
    if row.actual is None:
        return
    tally.settled += 1
    tally.tokens += row.actual.tokens
    tally.spent += row.actual.money
    tally.quoted += row.quoted
    tally.overage += row.overage
    if row.held is not None:
        tally.reserved += row.held.money
        tally.unused += max(row.held.money - row.actual.money, 0)
        tally.overruns += row.overage > 0


class _Books:
    """:class:`rules.Books` as dictionaries; ``rows`` in the order of their creation."""

    def __init__(self) -> None:
        self.limits = LimitBook()
        self.rows: dict[str, Row] = {}
        self.papers: dict[str, tuple[str, str, str]] = {}
        self.held: dict[str, Row] = {}
        self.balances: dict[Account, Balance] = {}

    def row(self, decision_id: str) -> Row | None:
        return self.rows.get(decision_id)

    def balance(self, account: Account, unit: Unit) -> Balance:
        return self.balances.setdefault(account, Balance(account, unit))

    def add(self, row: Row, new: Hold) -> None:
        self.papers[row.id] = storage_format.to_json(new.labels), new.record, "{}"
        self.rows[row.id] = row
        if row.state is HoldState.HELD:
            self.held[row.id] = row

    def change(self, row: Row, report: Settlement | None = None) -> None:
        if report is not None:
            labels, record, _ = self.papers[row.id]
            self.papers[row.id] = labels, record, storage_format.to_json(report.usage.record)
        self.held.pop(row.id, None)

    def decided(self, row: Row) -> StoredDecision:
        return storage_format.decided(row, *self.papers[row.id])

    def find(
        self,
        labels: Mapping[str, str],
        since: datetime | None,
        until: datetime | None,
        state: HoldState | None,
    ) -> Iterator[Row]:
        return (
            row
            for row in self.rows.values()
            if (since is None or row.created >= since)
            and (until is None or row.created < until)
            and (state is None or row.state is state)
            and self.carries(row, labels)
        )

    def carries(self, row: Row, labels: Mapping[str, str]) -> bool:
        found = self.decided(row).labels
        return all(found.get(name) == value for name, value in labels.items())
