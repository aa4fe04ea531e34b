"""The ledger in memory: nothing survives a restart. Tests compare the other stores with it."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from router.clock import utc_now
from router.core.errors import NotFound, Unavailable, shown
from router.core.limits import Limit, LimitState, Unit
from router.ledger import rules, storage_format
from router.ledger.base import (
    Amendment,
    AmendResult,
    Hold,
    HoldResult,
    HoldState,
    Settlement,
    SettleResult,
    StoredDecision,
    StoredTask,
    Totals,
)
from router.ledger.limit_book import LimitBook, states_of
from router.ledger.rows import Account, Balance, Row
from router.ledger.shared_state import MAX_PAGE, MAX_ROWS, SharedChanges, SharedRow
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["MemoryLedger"]

_TICK = timedelta(microseconds=1)


class MemoryLedger:
    """Implements :class:`base.Ledger` with dictionaries and one lock.

    Args:
        clock: gives the current time; may go backwards.
        observer: is told of holds that expire.
    """

    def __init__(
        self, clock: Callable[[], datetime] = utc_now, *, observer: Observer = UNOBSERVED
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._last = clock()
        self._lock = threading.RLock()
        self._tables = _Tables()
        self._closed = False

    def now(self) -> datetime:
        """See :meth:`Ledger.now`."""
        with self._lock:
            self._check_open()
            self._last = rules.later(self._last, self._clock())
            return self._last

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        """See :meth:`Ledger.view`."""
        with self._lock:
            moment = self._expire_due()
            return [
                states_of(self._tables.limits.applying(labels, moment), self._tables.sums)
                for labels in options
            ]

    def earlier_reply(self, decision_id: str, fingerprint: str, tenant: str) -> bytes | None:
        """See :meth:`Ledger.earlier_reply`."""
        with self._lock:
            self._check_open()
            row = self._tables.row(decision_id)
            if row is None:
                return None
            rules.check_same(decision_id, (row.tenant, row.fingerprint), (tenant, fingerprint))
            return row.reply

    def hold(self, hold: Hold) -> HoldResult:
        """See :meth:`Ledger.hold`."""
        storage_format.check_hold(hold)
        with self._lock:
            # No two decisions have the same time of creation, so that the order of the log is unique.
            self._last = self._expire_due() + _TICK
            while (
                self._last in self._tables.moments
            ):  # of a clock that ran wild, and was right for once
                self._last += _TICK
            return rules.hold(self._tables, hold, self._last)

    def settle(self, settlement: Settlement) -> SettleResult:
        """See :meth:`Ledger.settle`."""
        storage_format.check_settlement(settlement)
        with self._lock:
            self._expire_due()
            return rules.settle(self._tables, settlement)

    def amend(self, amendment: Amendment) -> AmendResult:
        """See :meth:`Ledger.amend`."""
        storage_format.check_amendment(amendment)
        with self._lock:
            result = rules.amend(self._tables, amendment, self._expire_due())
            if not result.repeated:
                self._tables.amend(self._tables.rows[amendment.id])
            return result

    def release(self, decision_id: str, tenant: str) -> bool:
        """See :meth:`Ledger.release`."""
        with self._lock:
            self._expire_due()
            return rules.release(self._tables, decision_id, tenant)

    def end_task(self, task_id: str, tenant: str) -> bool:
        """See :meth:`Ledger.end_task`."""
        with self._lock:
            self._expire_due()
            return rules.end_task(self._tables, task_id, tenant)

    def task(self, task_id: str) -> StoredTask | None:
        """See :meth:`Ledger.task`."""
        with self._lock:
            self._expire_due()
            row = self._tables.row(task_id)
            return self._tables.stored_task(row) if row is not None and row.is_task else None

    def tasks(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        state: HoldState | None = None,
        count: int = 100,
    ) -> list[StoredTask]:
        """See :meth:`Ledger.tasks`."""
        storage_format.check_count(count)
        storage_format.check_labels(labels or {})
        with self._lock:
            self._expire_due()
            found = list(self._tables.find(labels or {}, None, None, state, tasks=True))
            return [self._tables.stored_task(row) for row in found[: -count - 1 : -1]]

    def expire(self) -> int:
        """See :meth:`Ledger.expire`."""
        with self._lock:
            moment = self.now()
            due = [row for row in self._tables.held.values() if rules.is_due(row, moment)]
            count = rules.expire(self._tables, due)
            self._observer.expired(count)
            return count

    def set_limit(self, limit: Limit) -> None:
        """See :meth:`Ledger.set_limit`."""
        storage_format.check_limit(limit)
        with self._lock:
            self._check_open()
            self._tables.limits = self._tables.limits.with_limit(limit)

    def delete_limit(self, limit_id: str) -> bool:
        """See :meth:`Ledger.delete_limit`."""
        with self._lock:
            self._check_open()
            exists = self._tables.limits.get(limit_id) is not None
            self._tables.limits = self._tables.limits.without(limit_id)
            return exists

    def limits(self) -> list[Limit]:
        """See :meth:`Ledger.limits`."""
        with self._lock:
            self._check_open()
            return list(self._tables.limits)

    def decision(self, decision_id: str) -> StoredDecision | None:
        """See :meth:`Ledger.decision`."""
        with self._lock:
            self._check_open()
            row = self._tables.row(decision_id)
            return None if row is None or row.is_task else self._tables.stored(row)

    def owner(self, decision_id: str) -> str | None:
        """See :meth:`Ledger.owner`."""
        with self._lock:
            self._check_open()
            row = self._tables.row(decision_id)
            return None if row is None else row.tenant

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
                last = self._tables.row(after)
                if last is None:
                    raise NotFound(f"there is no decision {shown(after)} to continue after")
                if newest_first:
                    until = min(until or last.created, last.created)
                else:
                    since = max(since or last.created, last.created + _TICK)
            rows = self._tables.find(labels or {}, since, until, state)
            if newest_first:
                rows = reversed(list(rows))
            return [self._tables.stored(row) for row in itertools.islice(rows, count)]

    def totals(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        state: HoldState | None = None,
        by_time: bool = False,
    ) -> list[tuple[Mapping[str, str], datetime | None, Totals]]:
        """See :meth:`Ledger.totals`."""
        storage_format.check_labels(labels or {})
        with self._lock:
            self._expire_due()
            totals: dict[tuple[str, datetime | None], Totals] = {}
            for row in self._tables.find(labels or {}, since, until, state):
                begin = storage_format.quarter_hour_of(row.created) if by_time else None
                key = (self._tables.payloads[row.id][0], begin)
                _add(totals.setdefault(key, Totals()), row)
            return [(json.loads(labels), begin, each) for (labels, begin), each in totals.items()]

    def open_holds(self) -> tuple[int, int]:
        """See :meth:`Ledger.open_holds`."""
        with self._lock:
            self._check_open()
            held = [
                row.held.money - row.drawn
                for row in self._tables.held.values()
                if row.held is not None
            ]
            return len(held), sum(held)

    def erase(self, labels: Mapping[str, str], before: datetime) -> int:
        """See :meth:`Ledger.erase`."""
        storage_format.check_labels(labels)
        with self._lock:
            moment = self._expire_due()
            erased = [
                row
                for row in self._tables.rows.values()
                if row.created < before
                and (row.state is not HoldState.QUOTED or row.expires <= moment)
                and row.state is not HoldState.HELD
                and self._tables.carries(row, labels)
            ]
            for row in erased:
                rules.erase(row)
                del self._tables.rows[row.id], self._tables.payloads[row.id]
                self._tables.moments.discard(row.created)
            return len(erased)

    def publish(self, rows: Sequence[SharedRow]) -> None:
        """See :meth:`Ledger.publish`."""
        storage_format.check_shared(rows)
        with self._lock:
            self._tables.shared.publish(rows, self.now())

    def published(self, kinds: Sequence[str], since: int = 0) -> SharedChanges:
        """See :meth:`Ledger.published`."""
        with self._lock:
            return self._tables.shared.published(kinds, since, self.now())

    def check(self) -> None:
        """See :meth:`Ledger.check`."""
        with self._lock:
            self._check_open()

    def close(self) -> None:
        """See :meth:`Ledger.close`."""
        with self._lock:
            self._closed = True

    def rows(self) -> Iterator[Row]:
        """Every decision with its entries, for the checker."""
        yield from list(self._tables.rows.values())

    def balances(self) -> Iterator[Balance]:
        """Every balance, for the checker."""
        yield from list(self._tables.balances.values())

    def _expire_due(self) -> datetime:
        """Free expired holds, and return the current time."""
        self.expire()
        return self._last

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the ledger is closed")


def _add(totals: Totals, row: Row) -> None:
    totals.decisions += 1
    if row.state is HoldState.HELD and row.held is not None:
        totals.held += row.held.money
    if row.actual is None:
        return
    totals.settled += 1
    totals.tokens += row.actual.tokens
    totals.spent += row.actual.money
    totals.quoted += row.quoted
    totals.overage += row.overage
    if row.held is not None:
        totals.reserved += row.held.money
        totals.unused += max(row.held.money - row.actual.money, 0)
        totals.overruns += row.actual.money > row.held.money


class _SharedTable:
    """The rows that processes share, in the order in which they were written."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], tuple[SharedRow, int, datetime]] = {}
        self._last = 0

    def publish(self, rows: Sequence[SharedRow], now: datetime) -> None:
        self._rows = {key: each for key, each in self._rows.items() if each[2] > now}
        for row in rows:
            key = row.kind, row.key
            if key in self._rows and row.age <= self._rows[key][0].age:
                continue
            self._rows.pop(key, None)
            self._last += 1
            self._rows[key] = row, self._last, now + timedelta(seconds=row.keep_s)
        for kind in {row.kind for row in rows}:
            for key in [each for each in self._rows if each[0] == kind][:-MAX_ROWS]:
                del self._rows[key]

    def published(self, kinds: Sequence[str], since: int, now: datetime) -> SharedChanges:
        begin = since if since <= self._last else 0
        found = [
            each
            for (kind, _), each in self._rows.items()
            if kind in kinds and each[1] > begin and each[2] > now
        ][:MAX_PAGE]
        return SharedChanges(tuple(each[0] for each in found), found[-1][1] if found else begin)


class _Tables:
    """Implements :class:`unit_of_work.UnitOfWork` with dictionaries.

    Attributes:
        limits: the current limits.
        rows: decisions by id, in the order of arrival.
        moments: when they were created.
        payloads: labels, record and usage of each decision, as JSON.
        held: the decisions with an open hold, by id.
        balances: by account.
        shared: what processes share beside money.
    """

    def __init__(self) -> None:
        self.limits = LimitBook()
        self.rows: dict[str, Row] = {}
        self.moments: set[datetime] = set()
        self.payloads: dict[str, tuple[str, str, str]] = {}
        self.held: dict[str, Row] = {}
        self.balances: dict[Account, Balance] = {}
        self.shared = _SharedTable()

    def row(self, decision_id: str) -> Row | None:
        return self.rows.get(decision_id)

    def balance(self, account: Account, unit: Unit) -> Balance:
        return self.balances.setdefault(account, Balance(account, unit))

    def sums(self, account: Account) -> tuple[int, int]:
        """What is spent and held on an account."""
        found = self.balances.get(account)
        return (0, 0) if found is None else (found.spent, found.held)

    def add(self, row: Row, new: Hold) -> None:
        self.payloads[row.id] = storage_format.to_json(new.labels), new.record, "{}"
        self.rows[row.id] = row
        self.moments.add(row.created)
        if row.state is HoldState.HELD:
            self.held[row.id] = row

    def change(self, row: Row, report: Settlement | None = None) -> None:
        if report is not None:
            labels, record, _ = self.payloads[row.id]
            self.payloads[row.id] = labels, record, storage_format.to_json(report.usage.record)
        if row.state is not HoldState.HELD:
            self.held.pop(row.id, None)

    def amend(self, row: Row) -> None:
        labels, record, usage = self.payloads[row.id]
        self.payloads[row.id] = labels, record, storage_format.amended_usage(usage, row)

    def stored(self, row: Row) -> StoredDecision:
        return storage_format.stored_decision(row, *self.payloads[row.id])

    def stored_task(self, row: Row) -> StoredTask:
        turns = [
            each
            for each in self.rows.values()
            if each.task == row.id and each is not row and each.state is not HoldState.RELEASED
        ]
        held = sum(
            each.held.money
            for each in turns
            if each.state is HoldState.HELD and each.held is not None
        )
        spent = sum(each.actual.money for each in turns if each.actual is not None)
        labels, record, _ = self.payloads[row.id]
        covered = [entry.balance.account for entry in row.entries]
        return storage_format.stored_task(row, labels, record, (len(turns), held, spent), covered)

    def find(
        self,
        labels: Mapping[str, str],
        since: datetime | None,
        until: datetime | None,
        state: HoldState | None,
        *,
        tasks: bool = False,
    ) -> Iterator[Row]:
        return (
            row
            for row in sorted(self.rows.values(), key=lambda row: row.created)
            if (since is None or row.created >= since)
            and (until is None or row.created < until)
            and (state is None or row.state is state)
            and row.is_task is tasks
            and self.carries(row, labels)
        )

    def carries(self, row: Row, labels: Mapping[str, str]) -> bool:
        found = self.stored(row).labels
        return all(found.get(name) == value for name, value in labels.items())
