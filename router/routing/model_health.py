"""Keeps the circuit breakers of all models, and says what a decision shall know of them.

A model has a breaker per tenant, which that tenant alone feeds and which leaves the model out for it alone;
and a common one, in which each tenant has one vote. So what one tenant reports, true or not, never takes a
model away from another, and what many tenants see protects all. What opens, closes and tries breakers is
shared with the other processes of the service.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from router.clock import utc_now
from router.core.breaker import (
    Breaker,
    BreakerState,
    HealthPolicy,
    Outcome,
    Report,
    after,
    with_probe,
    without_probe,
)
from router.core.health import ALL_HEALTHY, Health, health_of
from router.core.load import RateLimits
from router.core.plurals import counted
from router.ledger.shared_state import SharedRow
from router.logs import logger
from router.routing.breaker_table import KINDS, UNKNOWN, BreakerTable, Place
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["Attempt", "ModelHealth", "ModelStatus", "OutcomeReport"]

_REMEMBERED = 10_000
"""Failures of which it is known that they were counted, so that a repeated report counts once."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call to a model, as its caller reports it.

    Attributes:
        model: catalog id.
        provider: of the model.
        outcome: how the call ended.
        decision_id: of the decision that led to it.
        decided: when that was made, aware.
        retry_after_s: how long the provider asked to wait, seconds ≥ 0; 0: it did not say.
        number: of this call among those of the decision, ≥ 0.
        tenant: of the decision; empty: it has none.
    """

    model: str
    provider: str
    outcome: Outcome
    decision_id: str
    decided: datetime
    retry_after_s: float = 0.0
    number: int = 0
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The health of one model, for operators.

    Attributes:
        state: closed: it can be chosen; open: it is left out; half open: one call at a time tries it.
        failures: in a row, up to now, ≥ 0.
        cause: why it is left out, as a phrase; empty: it is healthy.
        since: when it was left out first, aware; ``None``: it is healthy, or only its provider is not.
        retry: from when on a call may try it, aware; ``None`` likewise.
    """

    state: BreakerState
    failures: int
    cause: str
    since: datetime | None
    retry: datetime | None


@dataclass(frozen=True, slots=True)
class OutcomeReport:
    """What a caller reports about an attempt that it does not settle.

    Attributes:
        model: that was called; empty: the chosen one.
        outcome: how it ended.
        retry_after_s: how long the provider asked to wait, seconds ≥ 0; 0: it did not say.
        attempt: its number among those of the decision, ≥ 0.
        rate_limits: what the provider said of its limits; ``None``: nothing.
    """

    model: str
    outcome: Outcome
    retry_after_s: float = 0.0
    attempt: int = 0
    rate_limits: RateLimits | None = None


class ModelHealth:
    """The breakers of one process, and what other processes told of theirs. Thread-safe.

    Args:
        policy: says when a model is left out; may be replaced at any time.
        now: the clock; returns an aware datetime.
        observer: is told of models that are left out.
    """

    kinds = KINDS
    """See :class:`state_exchange.SharedPart`."""

    def __init__(
        self,
        policy: HealthPolicy | None = None,
        now: Callable[[], datetime] = utc_now,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._policy = policy or HealthPolicy()
        self._now = now
        self._observer = observer
        self._lock = threading.Lock()
        self._table = BreakerTable()
        self._latest = 0.0
        self._counted: OrderedDict[Hashable, None] = OrderedDict()
        self._views: dict[str | None, tuple[float, float, Health]] = {}

    @property
    def policy(self) -> HealthPolicy:
        """What is in force."""
        return self._policy

    @policy.setter
    def policy(self, policy: HealthPolicy) -> None:
        with self._lock:
            self._policy = policy
            self._views.clear()

    def view(self, tenant: str = "") -> Health:
        """The health of all models now, for requests of a tenant."""
        if not self._table.any_open:
            return ALL_HEALTHY  # time alone makes no model unhealthy
        now, table = self._seconds(), self._table
        with self._lock:
            # Tenants of which nothing particular is known share one view.
            particular = table.open_keys(tenant) or any(
                table.get(Place(None, key)).waits_for_others(_voter(tenant))
                for key in table.open_keys(None)
            )
            viewer = tenant if particular else None
            found = self._views.get(viewer)
            if found is None or not found[0] <= now < found[1]:
                found = self._views[viewer] = self._look(viewer, now)
            return found[2]

    def report(self, attempt: Attempt) -> bool:
        """Count an attempt; false if a failure of the same attempt was counted before."""
        key = attempt.provider, attempt.model
        changed = []
        with self._lock:
            if attempt.outcome.failed and not self._counts(attempt):
                return False
            now = self._time()
            own = Report(
                attempt.outcome,
                now,
                min(attempt.decided.timestamp(), now),
                _digest(attempt.decision_id),
                attempt.retry_after_s,
            )
            vote = replace(own, voter=_voter(attempt.tenant))
            for tenant, told in ((attempt.tenant, own), (None, vote)):
                place = Place(tenant, key)
                before = self._table.get(place)
                breaker = after(before, told, self._policy)
                self._put(place, breaker, now)
                changed.append((place, before, breaker))
        for place, before, breaker in changed:
            self._tell(place, before, breaker)
        return True

    def take_probe(self, model: str, provider: str, decision_id: str, tenant: str = "") -> bool:
        """Let the call of a decision try a model; false where another call tries it, or nothing is to try.

        Args:
            model: catalog id.
            provider: of the model.
            decision_id: of the decision.
            tenant: of the decision; empty: it has none.
        """
        places = [Place(each, (provider, model)) for each in (tenant, None)]
        with self._lock:
            now = self._time()
            found = {
                place: breaker
                for place in places
                if (breaker := self._table.get(place)).opened_at is not None
            }
            voter = _voter(tenant)
            if not found or not all(each.takes_probe(now, voter) for each in found.values()):
                return False
            for place, breaker in found.items():
                who = voter if place.tenant is None else ""
                tried = with_probe(breaker, _digest(decision_id), now, self._policy, who)
                self._put(place, tried, now)
        return True

    def drop_probe(self, decision_id: str) -> None:
        """Let another call try the model that the call of a decision was to try: it is not made."""
        if not self._table.any_open:
            return
        with self._lock:
            now, name = self._time(), _digest(decision_id)
            for place in self._table.probed_by(name):
                self._put(place, without_probe(self._table.get(place), name), now)

    def status(self, model: str, provider: str) -> ModelStatus:
        """What is known of a model: for all, or else for the tenant for which it is left out longest.

        Args:
            model: catalog id.
            provider: of the model.
        """
        with self._lock:
            found = self._table.of_model((provider, model))
            now = self._seconds()
        opened = {tenant: each for tenant, each in found.items() if each.opened_at is not None}
        if not opened:
            failures = max((each.failures for each in found.values()), default=0)
            cause = self.view().providers.get(provider, "")
            # It has not failed itself.
            state = BreakerState.OPEN if cause else BreakerState.CLOSED
            return ModelStatus(state, failures, cause, None, None)
        breaker = opened.get(None) or max(opened.values(), key=lambda each: each.retry_at)
        cause = breaker.cause
        if None not in opened and "" not in opened:
            cause += f"; for {counted(len(opened), 'tenant')} alone"
        since, retry = (datetime.fromtimestamp(at, UTC) for at in (breaker.since, breaker.retry_at))
        return ModelStatus(breaker.state(now), breaker.failures, cause, since, retry)

    @property
    def unhealthy(self) -> int:
        """How many models fail at the moment, for all or for a tenant, as far as they were called."""
        with self._lock:
            return len({place.key for place in self._table.open_places()})

    # ── shared with other processes ───────────────────────────────────────────────────────────────

    def unpublished(self) -> list[SharedRow]:
        """See :meth:`state_exchange.SharedPart.unpublished`."""
        with self._lock:
            return self._table.untold()

    def published(self, rows: Sequence[SharedRow]) -> None:
        """See :meth:`state_exchange.SharedPart.published`."""
        with self._lock:
            self._table.told(rows)

    def take_over(self, rows: Sequence[SharedRow]) -> None:
        """See :meth:`state_exchange.SharedPart.take_over`."""
        with self._lock:
            changed = self._table.take_over(rows, self._time(), self._policy)
            self._views.clear()
        for (tenant, (provider, model)), before, breaker in changed:
            if (before.opened_at is None) != (breaker.opened_at is None):
                event = "model_recovered" if breaker.opened_at is None else "model_left_out"
                logger().info(
                    event, model=model, provider=provider, tenant=tenant, told_by_another=True
                )

    # ── details ───────────────────────────────────────────────────────────────────────────────────

    def _seconds(self) -> float:
        return self._now().timestamp()

    def _time(self) -> float:
        """The current time; if the clock was set back, no model is left out for as long as that.

        Corrections within the window of the policy change nothing.
        """
        now = self._seconds()
        if now < self._latest - self._policy.window_s:
            self._table.set_back(now, self._policy)
            self._views.clear()
            self._latest = now
        self._latest = max(self._latest, now)
        return now

    def _counts(self, attempt: Attempt) -> bool:
        """Whether no failure of the attempt was counted before."""
        key = (attempt.decision_id, attempt.model, attempt.number)
        if key in self._counted:
            return False
        self._counted[key] = None
        if len(self._counted) > _REMEMBERED:
            self._counted.popitem(last=False)
        return True

    def _put(self, place: Place, breaker: Breaker, now: float) -> None:
        if self._table.put(place, breaker, now):
            self._views.clear()

    def _look(self, viewer: str | None, now: float) -> tuple[float, float, Health]:
        """The view of a tenant, or ``None`` of any other, with the span of time in which it holds."""
        breakers = dict(self._table.of(None))
        if viewer is not None:
            for key, own in self._table.of(viewer).items():
                breakers[key] = _stricter(own, breakers.get(key, UNKNOWN))
        voter = "" if viewer is None else _voter(viewer)
        health = health_of(breakers, now, self._policy, voter)
        changes = (at for each in breakers.values() for at in _changes(each, voter) if at > now)
        return now, min(changes, default=float("inf")), health

    def _tell(self, place: Place, before: Breaker, breaker: Breaker) -> None:
        tenant, (provider, model) = place
        if before.opened_at is not None and breaker.opened_at is None:
            logger().info("model_recovered", model=model, provider=provider, tenant=tenant)
        elif breaker.opened_at is not None and breaker.ejections > before.ejections:
            self._observer.ejected(model, provider)
            logger().warning(
                "model_left_out",
                model=model,
                provider=provider,
                tenant=tenant,
                cause=breaker.cause,
                seconds=round(breaker.retry_at - breaker.opened_at, 3),
            )


def _stricter(own: Breaker, common: Breaker) -> Breaker:
    """Of the breaker of a tenant and the common one, what holds for the tenant."""
    if own.opened_at is None and common.opened_at is None:
        return replace(own, answered_at=max(own.answered_at, common.answered_at))
    if own.opened_at is None or common.opened_at is None:
        return common if own.opened_at is None else own
    return max(own, common, key=lambda each: each.retry_at)


def _changes(breaker: Breaker, voter: str) -> Iterable[float]:
    """Times at which a breaker changes by itself."""
    if breaker.opened_at is not None:
        yield breaker.retry_at
        yield breaker.retry_at_of(voter)
        if breaker.probe is not None:
            yield breaker.probe.until
            yield breaker.probe.again


def _voter(tenant: str) -> str:
    return f"tenant {tenant}"


def _digest(decision_id: str) -> str:
    """A name for a decision that says nothing of it: callers choose ids, and shared rows may outlive them."""
    return hashlib.sha256(decision_id.encode(errors="replace")).hexdigest()[:16]
