"""The canary: other parts decide a share of the requests, until they turn out to be worse than the rest."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, get_args

from router.clock import utc_now
from router.core.bounded_cache import BoundedCache
from router.core.canary import Check, CountedCall, Side, Tally, draw_of, evidence, halt_of
from router.core.errors import BadArtifact, MitsumoriError
from router.core.sequential_test import Stream
from router.core.types import Reason
from router.decision_log.record import LoggedCanary
from router.decision_log.record_json import canary_of
from router.ledger.base import StoredDecision
from router.logs import logger
from router.routing.canary_state import CanaryMemory, CanaryState
from router.routing.router import RouteQuery, Router
from router.routing.trial import FittedTrial, Trial
from router.routing.trial_plan import CanaryPlan
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["Canary", "CanaryReport", "HaltedRun", "Split"]

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


@dataclass(frozen=True, slots=True)
class HaltedRun:
    """A canary that was halted.

    Attributes:
        check: which comparison it lost.
        text: why, for people.
        time: when, aware.
    """

    check: Check
    text: str
    time: datetime


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
        state: survives a restart, and is shared by all processes.
        process: names this one among them.
        observer: is told which side decided.
        now: the clock; returns an aware datetime.
    """

    def __init__(
        self,
        state: CanaryState | None = None,
        process: str = "1",
        observer: Observer = UNOBSERVED,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._state, self._process = state or CanaryMemory(), process
        self._observer, self._now = observer, now
        self._fitted = FittedTrial[CanaryPlan]("canary", _notes)
        self._trial: Trial[CanaryPlan] | None = None
        self._lock = threading.Lock()
        self._own, self._others = Tally(), Tally()
        self._unsaved = False
        self._halted: HaltedRun | None = None
        self._counted = BoundedCache[str, bool](_COUNTED_BYTES)

    # ── what is tried ─────────────────────────────────────────────────────────────────────────────

    def adopt(self, trial: Trial[CanaryPlan] | None, live: Router) -> None:
        """Take another canary, or none. One whose run was halted stays halted.

        Args:
            trial: from now on.
            live: decides the rest.

        Raises:
            BadArtifact: its parts do not fit, or its state is damaged; the canary that is there stays.
            Unavailable: its state cannot be read.
        """
        own, others, halted = Tally(), Tally(), None
        if trial is not None:
            own, others, halted = self._known(trial)
        self._fitted.adopt(trial, live)
        with self._lock:
            self._trial = trial
            self._own, self._others, self._halted = own, others, halted
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
        tenant = decided.labels.get("tenant", "")
        key = f"{len(tenant)} {tenant} {conversation or decided.id}"
        with self._lock:
            if self._trial is not trial or self._counted.get(key):
                return
            self._counted.put(key, True, len(key))
            self._own = self._own.with_call(call, took=logged.took)
            self._unsaved = True
        self._judge(trial)

    def failed(self, error: Exception) -> None:
        """The canary could not decide on a request on which the live parts then could."""
        trial = self._trial
        if trial is None or self._halted is not None:
            return
        reason = error.reason if isinstance(error, MitsumoriError) else type(error).__name__
        logger().warning("canary_failed", reason=reason, canary=trial.version)
        with self._lock:
            self._own = self._own.with_call(CountedCall(failed=True), took=True)
            self._unsaved = True
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

    def sync(self) -> None:
        """Save what was counted here, and take over what other processes counted or decided.

        Raises:
            Unavailable, BadArtifact: the state cannot be used; this process goes on by itself.
        """
        trial = self._trial
        if trial is None:
            return
        with self._lock:
            own, unsaved, self._unsaved = self._own, self._unsaved, False
        try:
            if unsaved:
                self._save(trial, own)
            _, others, halted = self._known(trial)
        except MitsumoriError:
            self._unsaved = True
            raise
        with self._lock:
            if self._trial is not trial:
                return
            self._others = others
            if others.usual is not None:
                self._own = self._own.with_usual(others.usual)
            self._halted = self._halted or halted
        self._judge(trial)

    def close(self) -> None:
        """Save what was counted last."""
        try:
            self.sync()
        except MitsumoriError as error:
            logger().warning("canary_counts_lost", reason=error.reason, detail=error.message)

    def _judge(self, trial: Trial[CanaryPlan]) -> None:
        """Halt if there is evidence enough."""
        with self._lock:
            if self._trial is not trial or self._halted is not None:
                return
            halt = halt_of(self._own + self._others, trial.plan.margins)
            if halt is None:
                return
            halted = self._halted = HaltedRun(halt.check, halt.text, self._now())
            own = self._own
        logger().error("canary_halted", canary=trial.version, detail=halt.text)
        try:
            self._save(trial, own, halted)
        except MitsumoriError as error:
            # It is halted here all the same, and saved with the next counts.
            self._unsaved = True
            logger().error("canary_halt_not_saved", reason=error.reason, detail=error.message)

    # ── what survives a restart ───────────────────────────────────────────────────────────────────

    def _save(self, trial: Trial[CanaryPlan], own: Tally, halted: HaltedRun | None = None) -> None:
        rows = {f"{trial.id} tally {self._process}": json.dumps(asdict(own))}
        halted = halted or self._halted
        if halted is not None:
            told = {"check": halted.check, "text": halted.text, "time": halted.time.isoformat()}
            rows[f"{trial.plan.version} halted"] = json.dumps(told)
        self._state.write(rows, (f"{trial.id} ", f"{trial.plan.version} "))

    def _known(self, trial: Trial[CanaryPlan]) -> tuple[Tally, Tally, HaltedRun | None]:
        """The tally of this process, those of the others, and whether the run was halted."""
        rows = self._state.read()
        halted = rows.get(f"{trial.plan.version} halted")
        mine, prefix = f"{trial.id} tally {self._process}", f"{trial.id} tally "
        try:
            tallies = {
                key: _tally(json.loads(row))
                for key, row in sorted(rows.items())
                if key.startswith(prefix)
            }
            # Of two usual costs all processes take the one of the same process.
            usual = next((each.usual for each in tallies.values() if each.usual), None)
            own, others = tallies.pop(mine, Tally()), Tally(usual=usual)
            for each in tallies.values():
                others += each if usual is None else each.with_usual(usual)
            return own, others, None if halted is None else _halted(json.loads(halted))
        except (ValueError, KeyError, TypeError):
            raise BadArtifact(
                "the state of the canary is damaged; change run of its settings to count anew",
                reason="CANARY_STATE_DAMAGED",
                field="canary",
            ) from None


def _notes(trial: Trial[CanaryPlan]) -> tuple[Reason, ...]:
    share = trial.plan.share
    text = f"decided by a canary, which has {100 * share:g}% of the requests: {trial.parts}"
    return (Reason("CANARY", text, {"canary": trial.id, "share": f"{share:g}"}),)


def _halted(values: Mapping[str, Any]) -> HaltedRun:
    if values["check"] not in get_args(Check):
        raise ValueError("another check")
    time = datetime.fromisoformat(values["time"])
    return HaltedRun(values["check"], str(values["text"]), time)


def _tally(values: Mapping[str, Any]) -> Tally:
    usual = values["usual"]
    calls, nanos = values["learning"]
    return Tally(
        _side(values["canary"]),
        _side(values["rest"]),
        None if usual is None else int(usual),
        (int(calls), int(nanos)),
    )


def _side(values: Mapping[str, Any]) -> Side:
    return Side(
        **{
            check: Stream(int(each["count"]), float(each["total"]), float(each["spread"]))
            for check, each in values.items()
        }
    )
