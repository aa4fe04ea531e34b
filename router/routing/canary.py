"""The canary: other parts decide a share of the requests, until they turn out to be worse than the rest."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from router.clock import utc_now
from router.core.bounded_cache import BoundedCache
from router.core.canary import Check, CountedCall, Tally, draw_of, evidence, halt_of
from router.core.errors import MitsumoriError
from router.core.types import Reason
from router.decision_log.record import LoggedCanary
from router.decision_log.record_json import canary_of
from router.ledger.base import StoredDecision
from router.ledger.shared_state import SharedRow
from router.logs import logger
from router.routing.canary_state import KINDS, CanaryState, HaltedRun
from router.routing.router import RouteQuery, Router
from router.routing.trial import FittedTrial, Trial
from router.routing.trial_plan import CanaryPlan
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["Canary", "CanaryReport", "Split"]

_COUNTED_BYTES = 8 << 20
"""Some thirty thousand conversations or requests that have been counted; an older one may count again."""


class Split(NamedTuple):
    """On which side a request is.

    Attributes:
        router: of the canary; ``None``: the live one decides.
        logged: for the record.
    """

    router: Router | None
    logged: LoggedCanary


@dataclass(frozen=True)
class CanaryReport:
    """What a canary has come to.

    Attributes:
        version: of the canary; empty: there is none.
        parts: of the canary, for people.
        plan: of the canary; ``None``: there is none.
        halted: why it decides no more; ``None``: it decides.
        problem: why it does not decide at the moment; empty: it does.
        tally: of all processes, as far as this one knows.
        evidence: against it, by check: at 1 it is halted.
    """

    version: str = ""
    parts: str = ""
    plan: CanaryPlan | None = None
    halted: HaltedRun | None = None
    problem: str = ""
    tally: Tally = field(default_factory=Tally)
    evidence: Mapping[Check, float] = field(default_factory=dict)


class Canary:
    """Puts requests on sides, counts what became of them, and halts itself. Thread-safe.

    What is drawn to a side is what is counted, once: a conversation, by the first of its calls that is
    settled, or a request without one.

    Args:
        observer: is told which side decided.
        now: the clock; returns an aware datetime.
        process: names this one among all that share what they count, and no other ever; empty: its start and
            a random number.
    """

    kinds = KINDS
    """See :class:`state_exchange.SharedPart`."""

    def __init__(
        self,
        observer: Observer = UNOBSERVED,
        now: Callable[[], datetime] = utc_now,
        process: str = "",
    ) -> None:
        process = process or f"{now().timestamp():017.6f} {secrets.token_hex(8)}"
        self._state = CanaryState(process, lambda: self._now().timestamp())
        self._observer, self._now = observer, now
        self._fitted = FittedTrial[CanaryPlan]("canary", _notes)
        self._trial: Trial[CanaryPlan] | None = None
        self._lock = threading.Lock()
        self._own, self._others = Tally(), Tally()
        self._halted: HaltedRun | None = None
        self._counted = BoundedCache[str, bool](_COUNTED_BYTES)

    # ── what is tried ─────────────────────────────────────────────────────────────────────────────

    def adopt(self, trial: Trial[CanaryPlan] | None, live: Router) -> None:
        """Take another canary, or none. One whose run was halted stays halted.

        Args:
            trial: from now on.
            live: decides the rest.

        Raises:
            BadArtifact: its parts do not fit; the canary that is there stays.
        """
        self._fitted.adopt(trial, live)
        with self._lock:
            if self._trial is not None:
                self._state.count(self._trial.id, self._own)
            self._own, self._others, halted = Tally(), Tally(), None
            if trial is not None:
                self._own = self._state.own(trial.id)
                self._add_others(trial)
                halted = self._state.halted(trial.plan.version)
            # In this order: before, it decides nothing.
            self._halted = halted
            self._trial = trial
            self._counted = BoundedCache[str, bool](_COUNTED_BYTES)
        if trial is not None:
            log, told = logger(), {"canary": trial.version}
            if halted is None:
                log.info("canary_begins", share=trial.plan.share, **told)
            else:
                log.warning("canary_stays_halted", detail=halted.text, **told)

    def fit(self, live: Router) -> None:
        """Stand beside another live router."""
        self._fitted.fit(live)

    def split(self, live: Router, query: RouteQuery, decision_id: str) -> Split | None:
        """On which side a request is; ``None``: there is no canary for it.

        Args:
            live: the router of the call.
            query: the request.
            decision_id: of the decision that is to be made.
        """
        fitted = self._fitted.current
        if (
            fitted is None
            or fitted.trial is not self._trial
            or self._halted is not None
            or fitted.live is not live
            or query.quote_only
            or any(
                query.scope.get(name) != value for name, value in fitted.trial.plan.scope.items()
            )
        ):
            return None
        share = fitted.trial.plan.share
        took = draw_of(query.tenant, query.conversation_id or decision_id) < share
        self._observer.split(took=took)
        return Split(fitted.router if took else None, LoggedCanary(fitted.trial.id, share, took))

    # ── what became of it ─────────────────────────────────────────────────────────────────────────

    def settled(self, decided: StoredDecision, call: CountedCall) -> None:
        """Count what became of a decision, if it was one of this canary or of the rest.

        Args:
            decided: the decision.
            call: its call.
        """
        trial = self._trial
        if trial is None or self._halted is not None:
            return
        found = canary_of(decided.record)
        if found is None or found[0].id != trial.id:
            return
        logged, conversation = found
        key = _unit(decided.labels.get("tenant", ""), conversation or decided.id)
        with self._lock:
            if self._trial is not trial or self._counted.get(key):
                return
            self._counted.put(key, True, len(key))
            self._own = self._own.with_call(call, took=logged.took)
        self._judge(trial)

    def failed(self, error: Exception, query: RouteQuery, decision_id: str) -> None:
        """The canary could not decide on a request on which the live parts then could.

        Args:
            error: why.
            query: the request.
            decision_id: of the decision that was made.
        """
        trial = self._trial
        if trial is None or self._halted is not None:
            return
        reason = error.reason if isinstance(error, MitsumoriError) else type(error).__name__
        logger().warning("canary_failed", reason=reason, canary=trial.version)
        key = _unit(query.tenant, query.conversation_id or decision_id)
        with self._lock:
            if self._trial is not trial or self._counted.get(key):
                return
            self._counted.put(key, True, len(key))
            self._own = self._own.with_call(CountedCall(failed=True), took=True)
        self._judge(trial)

    def report(self) -> CanaryReport:
        """What it has come to."""
        with self._lock:
            trial, tally, halted = self._trial, self._own + self._others, self._halted
        if trial is None:
            return CanaryReport()
        plan = trial.plan
        return CanaryReport(
            trial.version,
            trial.parts,
            plan,
            halted,
            self._fitted.problem,
            tally,
            evidence(tally, plan.margins),
        )

    @property
    def is_halted(self) -> bool:
        """Whether there is a canary that was halted."""
        return self._halted is not None

    # ── shared with other processes ───────────────────────────────────────────────────────────────

    def unpublished(self) -> list[SharedRow]:
        """See :meth:`state_exchange.SharedPart.unpublished`."""
        with self._lock:
            if self._trial is not None:
                self._state.count(self._trial.id, self._own)
                self._state.renew(self._trial.id, self._trial.plan.version)
            return self._state.untold()

    def published(self, rows: Sequence[SharedRow]) -> None:
        """See :meth:`state_exchange.SharedPart.published`."""
        with self._lock:
            self._state.told(rows)

    def take_over(self, rows: Sequence[SharedRow]) -> None:
        """See :meth:`state_exchange.SharedPart.take_over`."""
        with self._lock:
            self._state.take_over(rows)
            trial, before = self._trial, self._halted
            if trial is None:
                return
            self._add_others(trial)
            halted = self._halted = self._state.halted(trial.plan.version) or before
        if before is None and halted is not None:
            logger().error(
                "canary_halted", canary=trial.version, detail=halted.text, told_by_another=True
            )
        self._judge(trial)

    # ── details ───────────────────────────────────────────────────────────────────────────────────

    def _add_others(self, trial: Trial[CanaryPlan]) -> None:
        self._others = self._state.others(trial.id, self._own)
        if self._others.usual is not None:
            self._own = self._own.with_usual(self._others.usual)

    def _judge(self, trial: Trial[CanaryPlan]) -> None:
        """Halt if there is evidence enough."""
        with self._lock:
            if self._trial is not trial or self._halted is not None:
                return
            halt = halt_of(self._own + self._others, trial.plan.margins)
            if halt is None:
                return
            halted = self._halted = HaltedRun(halt.check, halt.text, self._now())
            self._state.halt(trial.plan.version, halted)
        logger().error("canary_halted", canary=trial.version, detail=halt.text)


def _unit(tenant: str, name: str) -> str:
    """A conversation of a tenant, or a request of it without one, as a key."""
    return f"{len(tenant)} {tenant} {name}"


def _notes(trial: Trial[CanaryPlan]) -> tuple[Reason, ...]:
    share = trial.plan.share
    text = f"decided by a canary, which has {100 * share:g}% of the requests: {trial.parts}"
    return (Reason("CANARY", text, {"canary": trial.id, "share": f"{share:g}"}),)
