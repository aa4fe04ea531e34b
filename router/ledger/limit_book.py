"""The limit book: which limits apply to a decision, and which balances they use."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from router.core.bounded_cache import BoundedCache
from router.core.limits import ANY, Limit, LimitState, Period, balance_key, period_of
from router.ledger.rows import Account

__all__ = ["ApplicableLimit", "LimitBook", "series_of", "states_of"]

_ALWAYS = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_CACHE_BYTES = 16 << 20
_APPLICABLE_BYTES = 400
"""What a limit that applies takes besides the key of its balance, roughly."""
_Looked: TypeAlias = tuple[str | None, ...]
"""Values of the labels that limits look at; ``None`` for one that is absent."""


class ApplicableLimit(NamedTuple):
    """A limit that applies to a decision.

    Attributes:
        limit: the limit; it bounds nothing where only the whole is counted of which another one is a share.
        account: of its balance.
        period: the current one.
        whole: account of the balance of which it is a share; ``None`` for a limit without a share.
        counts_only: whether it only counts the whole for another limit.
    """

    limit: Limit
    account: Account
    period: Period
    whole: Account | None = None
    counts_only: bool = False


def states_of(
    applying: Iterable[ApplicableLimit], sums_of: Callable[[Account], tuple[int, int]]
) -> tuple[LimitState, ...]:
    """Limits that apply, with their balances; without those that only count.

    Args:
        applying: to a decision.
        sums_of: what is spent and held on an account.
    """
    return tuple(
        [
            LimitState(
                limit,
                account.key,
                period,
                *sums_of(account),
                0 if whole is None else sum(sums_of(whole)),
            )
            for limit, account, period, whole, counts_only in applying
            if not counts_only
        ]
    )


class _Counted(NamedTuple):
    """A limit with the series of its balances, and with what counts the whole of which it is a share."""

    limit: Limit
    series: str
    whole: tuple[Limit, str] | None = None
    counts_only: bool = False


class LimitBook:
    """The limits, indexed so that finding those that apply takes the same time however many there are.

    Immutable and safe to share between threads. Limits are grouped by the shape of their scope: the
    label names, and which of them match any value. Labels are looked up once per shape.

    Attributes:
        names: the labels that some limit looks at, sorted; no other label makes a difference.
    """

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self._by_id = {limit.id: limit for limit in limits}
        self._shapes: dict[tuple[tuple[str, bool], ...], dict[tuple[str, ...], list[_Counted]]] = {}
        for limit in self._by_id.values():
            if limit.share is None:
                self._add(_Counted(limit, series_of(limit)))
                continue
            counting = Limit(limit.id, limit.whole_scope, limit.unit, limit.window, limit.time_zone)
            whole = counting, series_of(counting, "whole")
            self._add(_Counted(limit, series_of(limit), whole))
            self._add(_Counted(*whole, counts_only=True))
        self.names = tuple(sorted({name for limit in self._by_id.values() for name in limit.scope}))
        self._cache = BoundedCache[_Looked, _Cached](_CACHE_BYTES)

    def _add(self, counted: _Counted) -> None:
        scope = counted.limit.scope
        names = sorted(scope)
        shape = tuple((name, scope[name] == ANY) for name in names)
        fixed = tuple(scope[name] for name in names if scope[name] != ANY)
        self._shapes.setdefault(shape, {}).setdefault(fixed, []).append(counted)

    def __iter__(self) -> Iterator[Limit]:
        return iter(sorted(self._by_id.values(), key=lambda limit: limit.id))

    def get(self, limit_id: str) -> Limit | None:
        """The limit with this id; ``None`` if there is none."""
        return self._by_id.get(limit_id)

    def with_limit(self, limit: Limit) -> LimitBook:
        """A book in which this limit is added or replaced."""
        return LimitBook({**self._by_id, limit.id: limit}.values())

    def without(self, limit_id: str) -> LimitBook:
        """A book without the limit with this id."""
        return LimitBook(limit for limit in self._by_id.values() if limit.id != limit_id)

    def looked_at(self, labels: Mapping[str, str]) -> _Looked:
        """The values of the labels that some limit looks at: where these are equal, the same limits apply."""
        return tuple(map(labels.get, self.names))

    def applying(self, labels: Mapping[str, str], moment: datetime) -> Sequence[ApplicableLimit]:
        """The limits that apply to these labels at a moment, by limit id."""
        # Most decisions have labels that were seen before, in the same periods.
        key = self.looked_at(labels)
        cached = self._cache.get(key)
        if cached is None or not cached.start <= moment < cached.end:
            found = tuple(self._find(labels, moment))
            cached = _Cached(
                found,
                max((each.period.start for each in found), default=_ALWAYS[0]),
                min((each.period.end for each in found), default=_ALWAYS[1]),
            )
            keys = sum(sys.getsizeof(each.account.key) + _APPLICABLE_BYTES for each in found)
            self._cache.put(key, cached, sum(map(sys.getsizeof, key)) + keys)
        return cached.applying

    def _find(self, labels: Mapping[str, str], moment: datetime) -> list[ApplicableLimit]:
        found = []
        for shape, group in self._shapes.items():
            if not all(name in labels for name, _ in shape):
                continue
            fixed = tuple(labels[name] for name, is_any in shape if not is_any)
            for limit, series, counting, counts_only in group.get(fixed, ()):
                key = balance_key(limit, labels)
                if key is None:
                    continue
                period = period_of(limit.window, limit.time_zone, moment)
                account, whole = Account(limit.id, series, key, period.key), None
                if counting is not None:
                    # It applies wherever its share does.
                    of_whole = balance_key(counting[0], labels) or ""
                    whole = Account(limit.id, counting[1], of_whole, period.key)
                found.append(ApplicableLimit(limit, account, period, whole, counts_only))
        return sorted(found, key=lambda each: each.limit.id)


class _Cached(NamedTuple):
    """The limits that apply to some labels from ``start`` (inclusive) to ``end`` (exclusive)."""

    applying: tuple[ApplicableLimit, ...]
    start: datetime
    end: datetime


def series_of(limit: Limit, role: str = "") -> str:
    """A hash of what a limit counts (scope, unit, window, time zone), as 16 hexadecimal digits.

    A limit that is changed to count something else, or that gets or loses a share, gets a new series and
    starts at zero; a limit with new values only keeps its balances.

    Args:
        limit: the limit.
        role: ``whole`` for what counts that of which a limit is a share; empty for a limit itself.
    """
    counted = [dict(limit.scope), limit.unit.value, limit.window.value, limit.time_zone]
    if limit.share is not None:
        role = "share"
    if role:
        counted.append(role)
    return hashlib.blake2b(
        json.dumps(counted, sort_keys=True, separators=(",", ":")).encode(), digest_size=8
    ).hexdigest()
