"""What is known of the load of provider accounts: calls in flight, and in the last minute."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from router.clock import utc_now
from router.core.limits import Amounts
from router.core.load import (
    NO_LOAD,
    WINDOW_S,
    AccountLimits,
    Gauge,
    Load,
    ProviderLimits,
    RateLimit,
    RateLimits,
)
from router.core.rate_window import RateWindow
from router.ledger.base import HoldState, Ledger, StoredDecision

__all__ = ["ProviderLoad"]

_MOST_IN_FLIGHT = 100_000
"""Calls that are remembered; of more, the oldest count as ended."""
_PAGE = 100
"""Decisions that are read together; each may hold a prompt."""
_MOST_READ = 20_000
"""Decisions of a kind that are read at once."""
_OVERLAP_S = 5.0
"""A decision may be committed so long after it was made, and clocks may differ so much."""
_BELIEVED_S = 300.0
"""What a caller reported counts no longer, so that a wrong report leaves no model out for days."""
_REMEMBERED_S = WINDOW_S + 2 * _OVERLAP_S
_MOST_TENANTS = 100
"""Of whom reports are kept for a model: those that reported last."""


class _Call(NamedTuple):
    """A call in flight: where, the tokens that are expected, when it began and when it counts as lost."""

    model: str
    provider: str
    tokens: int
    began: float
    until: float


class _Stored(NamedTuple):
    """A decision of the ledger, without what takes memory."""

    id: str
    held: bool
    call: _Call


@dataclass(slots=True)
class _Traffic:
    """What an account, or a model of it, does at the moment."""

    calls: int = 0
    tokens: int = 0
    minute: RateWindow = field(default_factory=RateWindow)


@dataclass(slots=True)
class _Reported:
    """What a provider said of its limits for a model, and what was sent to it since."""

    limits: RateLimits
    at: float
    calls: int = 0
    tokens: int = 0

    @property
    def until(self) -> float:
        """When it says nothing any more: a call then finds out what is so."""
        told = [each.reset_s for each in self.limits if each is not None]
        return self.at + min(max(told, default=0.0), _BELIEVED_S)


class ProviderLoad:
    """The load of the accounts of one process. Thread-safe; each call takes constant time.

    Args:
        limits: provider → what its account allows; may be replaced at any time. Where there is none, minutes
            are not counted: after the first ones come, :meth:`sync` counts what the ledger knows.
        now: the clock; returns an aware datetime.
    """

    def __init__(
        self,
        limits: Mapping[str, ProviderLimits] | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.limits = limits or {}
        self._now = now
        self._lock = threading.Lock()
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        self._counted: OrderedDict[str, float] = OrderedDict()
        self._synced = 0.0
        self._latest = 0.0
        self._one_sync = threading.Lock()
        self._ended_meanwhile: set[str] | None = None
        self._providers: dict[str, _Traffic] = {}
        self._models: dict[str, _Traffic] = {}
        self._reported: dict[str, OrderedDict[str, _Reported]] = {}
        self._provider_of: dict[str, str] = {}

    def in_flight(self, model: str) -> int:
        """Calls to a model that have not ended, as far as is known."""
        with self._lock:
            self._drop_lost(self._time())
            found = self._models.get(model)
            return 0 if found is None else found.calls

    def all_in_flight(self) -> dict[str, int]:
        """The same for every model that was called, by id."""
        with self._lock:
            self._drop_lost(self._time())
            return {model: each.calls for model, each in self._models.items()}

    def began(
        self, decision_id: str, model: str, provider: str, *, tokens: int, ttl_s: float
    ) -> None:
        """Count a call that is about to be made.

        Args:
            decision_id: of the decision that led to it.
            model: catalog id.
            provider: of the model.
            tokens: input and output that are expected, ≥ 0.
            ttl_s: after which it counts as lost, seconds > 0.
        """
        with self._lock:
            now = self._time()
            self._drop_lost(now)
            self._begin(decision_id, _Call(model, provider, tokens, now, now + ttl_s), now)

    def ended(
        self,
        decision_id: str,
        *,
        tokens: int | None = None,
        by: tuple[str, str] | None = None,
    ) -> None:
        """Count the end of a call; of one that is not known, nothing.

        Args:
            decision_id: of the decision that led to it.
            tokens: that it really took; ``None``: that is not known.
            by: model and provider that really answered; ``None``: as decided.
        """
        with self._lock:
            now = self._time()
            call = self._end(decision_id)
            if call is None:
                return
            if decision_id not in self._counted:
                return
            if by is not None and by[0] != call.model:
                self._count(call, -1, -call.tokens, now)
                call = call._replace(model=by[0], provider=by[1])
                self._count(call, 1, call.tokens, now)
            if tokens is not None:
                self._count(call, 0, tokens - call.tokens, now)

    def cancelled(self, decision_id: str) -> None:
        """Count a call no more that was never made."""
        with self._lock:
            call = self._end(decision_id)
            if call is not None and decision_id in self._counted:
                self._count(call, -1, -call.tokens, self._time())

    def reported(self, model: str, provider: str, limits: RateLimits, tenant: str = "") -> None:
        """Take note of what a provider said of its limits with its latest answer to a tenant.

        It is the word of this tenant, and counts for its own requests alone: true or not, it takes no model
        from another.

        Args:
            model: catalog id.
            provider: of the model.
            limits: as it said.
            tenant: who reports it; empty: the decision has none.
        """
        with self._lock:
            now = self._time()
            self._provider_of[model] = provider
            of_model = self._reported.setdefault(model, OrderedDict())
            of_model[tenant] = _Reported(limits, now)
            of_model.move_to_end(tenant)
            if len(of_model) > _MOST_TENANTS:
                of_model.popitem(last=False)

    def view(self, share: float, tenant: str | None = "") -> Load:
        """How far limits are used now, for a request.

        Args:
            share: of the limits that it may use, 0..1.
            tenant: of the request; empty: it has none; ``None``: for operators, with the newest report of
                each model, whoever made it.
        """
        if not self.limits and not self._reported:
            return NO_LOAD
        with self._lock:
            now = self._time()
            self._drop_lost(now)
            reports = self._reports_to(tenant, now) if self._reported else {}
            if not self.limits and not reports:
                return NO_LOAD
            providers, models = {}, {}
            for provider, its in self.limits.items():
                traffic = _of(self._providers, provider)
                providers[provider] = tuple(_gauges(provider, its, traffic, now))
                for model, own in its.models.items():
                    traffic = _of(self._models, model)
                    models[model] = tuple(_gauges(f"{provider}/{model}", own, traffic, now))
            for model, told in reports.items():
                account = f"{self._provider_of[model]}/{model}"
                models[model] = models.get(model, ()) + tuple(_reported(account, told, now))
            return Load(providers, models, share)

    def sync(self, ledger: Ledger) -> None:
        """Count what a ledger knows: the calls in flight, and where limits are set those of the last minute.

        Done at a start, where limits are set, and now and then where other processes decide and settle, too.
        At most the newest 20,000 decisions of each kind are read.

        Raises:
            Unavailable: the store cannot be read; what was counted stays.
        """
        with self._one_sync:
            self._ended_meanwhile = set()
            try:
                self._sync(ledger)
            finally:
                self._ended_meanwhile = None

    def _sync(self, ledger: Ledger) -> None:
        began = self._seconds()
        recent: list[_Stored] = []
        if self.limits:
            since = max(self._synced, began - WINDOW_S) - _OVERLAP_S
            recent = list(_stored(ledger, since=datetime.fromtimestamp(since, UTC)))
        open_ = list(_stored(ledger, state=HoldState.HELD))
        with self._lock:
            now = self._time()
            held = {each.id for each in open_}
            if len(held) < _MOST_READ:
                for decision_id, call in list(self._calls.items()):
                    if decision_id not in held and call.began < began - _OVERLAP_S:
                        self._end(decision_id)
            known = self._calls.keys() | (self._ended_meanwhile or set())
            for each in sorted((*recent, *open_), key=lambda one: (one.call.until, one.id)):
                if each.held and each.id not in known:
                    self._begin(each.id, each.call, now)
                else:
                    self._count_new(each.id, each.call, now)
            self._synced = began
            self._drop_lost(now)

    def _seconds(self) -> float:
        return self._now().timestamp()

    def _time(self) -> float:
        """The current time. Where the clock was set back, what is known begins anew at it."""
        now = self._seconds()
        if now < self._latest - WINDOW_S:
            for name, call in self._calls.items():
                lasts = call.until - call.began
                self._calls[name] = call._replace(began=now, until=now + lasts)
            for each in (*self._providers.values(), *self._models.values()):
                each.minute = RateWindow()
            self._reported.clear()
            self._counted.clear()
            self._latest, self._synced = now, 0.0
        self._latest = max(self._latest, now)
        return now

    def _traffic(self, call: _Call) -> tuple[_Traffic, _Traffic]:
        return _of(self._providers, call.provider), _of(self._models, call.model)

    def _begin(self, decision_id: str, call: _Call, now: float) -> None:
        self._end(decision_id)  # a repeated one counts once
        self._calls[decision_id] = call
        for each in self._traffic(call):
            each.calls += 1
            each.tokens += call.tokens
        self._count_new(decision_id, call, now)
        if len(self._calls) > _MOST_IN_FLIGHT:
            self._end(next(iter(self._calls)))

    def _count_new(self, decision_id: str, call: _Call, now: float) -> None:
        if decision_id in self._counted or not (self.limits or self._reported):
            return
        self._counted[decision_id] = call.began
        self._count(call, 1, call.tokens, now)
        while self._counted and next(iter(self._counted.values())) < now - _REMEMBERED_S:
            self._counted.popitem(last=False)
        if len(self._counted) > _MOST_IN_FLIGHT:
            self._counted.popitem(last=False)

    def _count(self, call: _Call, calls: int, tokens: int, now: float) -> None:
        """Count in the minute in which a call began."""
        for each in self._traffic(call):
            each.minute.add(calls, tokens, call.began, now)
        of_model = self._reported.get(call.model)
        for told in of_model.values() if of_model else ():
            if call.began >= told.at:
                told.calls += calls
                told.tokens += tokens

    def _end(self, decision_id: str) -> _Call | None:
        call = self._calls.pop(decision_id, None)
        if call is not None:
            if self._ended_meanwhile is not None:
                self._ended_meanwhile.add(decision_id)
            for each in self._traffic(call):
                each.calls -= 1
                each.tokens -= call.tokens
        return call

    def _drop_lost(self, now: float) -> None:
        """End the calls whose holds have expired.

        They expire in the order in which they began, unless the time to live has changed.
        """
        while self._calls:
            oldest = next(iter(self._calls))
            if self._calls[oldest].until > now:
                return
            self._end(oldest)

    def _reports_to(self, tenant: str | None, now: float) -> dict[str, _Reported]:
        """By model, what a tenant reported and is still to be believed; what is not is forgotten."""
        found = {}
        for model, of_model in list(self._reported.items()):
            while of_model and next(iter(of_model.values())).until <= now:
                of_model.popitem(last=False)
            if not of_model:
                del self._reported[model]
                continue
            told = of_model.get(next(reversed(of_model)) if tenant is None else tenant)
            if told is not None and told.until > now:
                found[model] = told
        return found


def _of(known: dict[str, _Traffic], name: str) -> _Traffic:
    """The traffic of an account or a model, from now on known."""
    found = known.get(name)
    if found is None:
        found = known[name] = _Traffic()
    return found


def _gauges(name: str, limits: AccountLimits, traffic: _Traffic, now: float) -> Iterator[Gauge]:
    """The limits that are set, with what counts on them."""
    calls, tokens = traffic.minute.totals(now)
    most = limits.requests_per_minute
    if most is not None:
        # When it leaves matters only where much is used.
        leaving = traffic.minute.leaving(now)[0] if 2 * calls >= most else None
        yield Gauge(name, "requests_per_minute", most, calls, False, most / WINDOW_S, leaving)
    most = limits.tokens_per_minute
    if most is not None:
        leaving = traffic.minute.leaving(now)[1] if 2 * tokens >= most else None
        yield Gauge(name, "tokens_per_minute", most, tokens, True, most / WINDOW_S, leaving)
    most = limits.requests_in_flight
    if most is not None:
        yield Gauge(name, "requests_in_flight", most, traffic.calls, False, 0.0)
    most = limits.tokens_in_flight
    if most is not None:
        yield Gauge(name, "tokens_in_flight", most, traffic.tokens, True, 0.0)


def _reported(name: str, told: _Reported, now: float) -> Iterator[Gauge]:
    """What a provider said, with what was sent to it since."""
    age = max(now - told.at, 0.0)
    pairs: Iterable[tuple[str, RateLimit | None, int, bool]] = (
        ("reported_requests", told.limits.requests, told.calls, False),
        ("reported_tokens", told.limits.tokens, told.tokens, True),
    )
    for limit, said, since, counts_tokens in pairs:
        if said is not None and age < said.reset_s:
            used = said.used(age) + max(since, 0)
            rate = (said.limit - said.remaining) / said.reset_s or said.limit / WINDOW_S
            yield Gauge(name, limit, said.limit, used, counts_tokens, rate)


def _stored(
    ledger: Ledger, *, since: datetime | None = None, state: HoldState | None = None
) -> Iterator[_Stored]:
    """The newest decisions that were held and not released, a bounded number."""
    after: str | None = None
    for _ in range(_MOST_READ // _PAGE):
        page = ledger.decisions(
            since=since, state=state, after=after, count=_PAGE, newest_first=True
        )
        for each in page:
            if each.held is not None and each.state is not HoldState.RELEASED:
                yield _Stored(each.id, each.state is HoldState.HELD, _call_of(each, each.held))
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _call_of(decided: StoredDecision, held: Amounts) -> _Call:
    labels, tokens = decided.labels, (decided.actual or held).tokens
    times = decided.created.timestamp(), decided.expires.timestamp()
    return _Call(labels.get("model", ""), labels.get("provider", ""), tokens, *times)
