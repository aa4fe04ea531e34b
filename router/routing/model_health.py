"""Keeps the circuit breakers of all models, and says what a decision shall know of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
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
from router.logs import logger
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["Attempt", "ModelHealth", "ModelStatus", "OutcomeReport"]

_REMEMBERED = 10_000
"""Failures of which it is known that they were counted, so that a repeated report counts once."""

Key = tuple[str, str]
"""Provider and id of a model."""


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
    """

    model: str
    provider: str
    outcome: Outcome
    decision_id: str
    decided: datetime
    retry_after_s: float = 0.0
    number: int = 0


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
    """The breakers of one process. Thread-safe.

    Args:
        policy: says when a model is left out; may be replaced at any time.
        now: the clock; returns an aware datetime.
        observer: is told of models that are left out.
    """

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
        self._breakers: dict[Key, Breaker] = {}
        self._counted: OrderedDict[Hashable, None] = OrderedDict()
        self._view = ALL_HEALTHY
        self._view_begins = self._view_ends = 0.0

    @property
    def policy(self) -> HealthPolicy:
        """What is in force."""
        return self._policy

    @policy.setter
    def policy(self, policy: HealthPolicy) -> None:
        with self._lock:
            self._policy = policy
            self._look(self._seconds())

    def view(self) -> Health:
        """The health of all models now."""
        if self._view is ALL_HEALTHY:
            return ALL_HEALTHY  # time alone makes no model unhealthy
        now = self._seconds()
        with self._lock:
            if not self._view_begins <= now < self._view_ends:
                self._look(now)
            return self._view

    def report(self, attempt: Attempt) -> bool:
        """Count an attempt; false if the same failure of it was counted before."""
        key = attempt.provider, attempt.model
        with self._lock:
            if attempt.outcome.failed and not self._counts(attempt):
                return False
            now = self._seconds()
            told = Report(
                attempt.outcome,
                now,
                min(attempt.decided.timestamp(), now),
                attempt.decision_id,
                attempt.retry_after_s,
            )
            before = self._breakers.get(key, Breaker())
            breaker = self._breakers[key] = after(before, told, self._policy)
            if before.opened_at is None and breaker.opened_at is None:
                return True
            self._look(now)
        self._tell(attempt, before, breaker)
        return True

    def take_probe(self, model: str, provider: str, decision_id: str) -> bool:
        """Let the call of a decision try a model; false where another call tries it, or nothing is to try.

        Args:
            model: catalog id.
            provider: of the model.
            decision_id: of the decision.
        """
        with self._lock:
            now = self._seconds()
            breaker = self._breakers.get((provider, model), Breaker())
            if not breaker.takes_probe(now):
                return False
            self._breakers[provider, model] = with_probe(breaker, decision_id, now, self._policy)
            self._look(now)
        return True

    def drop_probe(self, decision_id: str) -> None:
        """Let another call try the model that the call of a decision was to try: it is not made."""
        if self._view is ALL_HEALTHY:
            return
        with self._lock:
            for key, breaker in self._breakers.items():
                self._breakers[key] = without_probe(breaker, decision_id)
            self._look(self._seconds())

    def status(self, model: str, provider: str) -> ModelStatus:
        """What is known of a model.

        Args:
            model: catalog id.
            provider: of the model.
        """
        breaker = self._breakers.get((provider, model), Breaker())
        state = breaker.state(self._seconds())
        if breaker.opened_at is None:
            cause = self.view().providers.get(provider, "")
            if cause:  # it has not failed itself
                state = BreakerState.OPEN
            return ModelStatus(state, breaker.failures, cause, None, None)
        since, retry = (datetime.fromtimestamp(at, UTC) for at in (breaker.since, breaker.retry_at))
        return ModelStatus(state, breaker.failures, breaker.cause, since, retry)

    @property
    def unhealthy(self) -> int:
        """How many models fail at the moment, as far as they were called."""
        view = self._view
        return len(view.models) + len(view.due)

    def _seconds(self) -> float:
        return self._now().timestamp()

    def _counts(self, attempt: Attempt) -> bool:
        """Whether a failure was not counted before."""
        key = (attempt.decision_id, attempt.model, attempt.outcome, attempt.number)
        if key in self._counted:
            return False
        self._counted[key] = None
        if len(self._counted) > _REMEMBERED:
            self._counted.popitem(last=False)
        return True

    def _look(self, now: float) -> None:
        """Make the view anew, and find until when it holds."""
        self._view = health_of(self._breakers, now, self._policy)
        changes = (at for each in self._breakers.values() for at in _changes(each) if at > now)
        self._view_begins, self._view_ends = now, min(changes, default=float("inf"))

    def _tell(self, attempt: Attempt, before: Breaker, breaker: Breaker) -> None:
        model, provider = attempt.model, attempt.provider
        if breaker.opened_at is None:
            logger().info("model_recovered", model=model, provider=provider)
        elif breaker.ejections > before.ejections:
            self._observer.ejected(model, provider)
            logger().warning(
                "model_left_out",
                model=model,
                provider=provider,
                cause=breaker.cause,
                seconds=round(breaker.retry_at - breaker.opened_at, 3),
            )


def _changes(breaker: Breaker) -> Iterable[float]:
    """Times at which a breaker changes by itself."""
    if breaker.opened_at is not None:
        yield breaker.retry_at
        if breaker.probe is not None:
            yield breaker.probe.until
