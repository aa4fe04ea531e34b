"""The shadow: other parts decide on copies of requests in a thread of their own, and nothing follows."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import NamedTuple

from router.core.canary import draw_of
from router.core.disagreement import Choice, Disagreement, Judgement
from router.core.errors import MitsumoriError
from router.core.quotes import amounts_to_hold
from router.core.types import Candidate
from router.logs import logger
from router.routing.router import RoutedDecision, RouteQuery, Router
from router.routing.trial import Fitted, FittedTrial, Trial
from router.routing.trial_plan import ShadowPlan
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["DecidedCopy", "Shadow", "ShadowReport"]

_MAX_WAITING = 100
_MAX_CHARACTERS = 4 << 20
"""Of the prompts that wait, together."""
_STOP_S = 5.0


class DecidedCopy(NamedTuple):
    """A decided request, with the values that the decision rested on.

    Attributes:
        decision_id: of the decision.
        live: decided.
        query: the request.
        moment: when it was decided, aware.
        candidates: of the decision, with the limits that apply to each.
        routed: the decision.
        strict: whether the worst case is held.
    """

    decision_id: str
    live: Router
    query: RouteQuery
    moment: datetime
    candidates: Sequence[Candidate]
    routed: RoutedDecision
    strict: bool


@dataclass
class ShadowReport:
    """What a shadow has found so far.

    Attributes:
        version: of the shadow; empty: there is none.
        parts: of the shadow, for people.
        since: when its counts began, aware; ``None``: there is no shadow.
        problem: why it does not decide at the moment; empty: it does.
        found: the sums.
        failures: reason → copies on which it could not decide.
        dropped: copies that it was too slow for.
    """

    version: str = ""
    parts: str = ""
    since: datetime | None = None
    problem: str = ""
    found: Disagreement = field(default_factory=Disagreement)
    failures: Counter[str] = field(default_factory=Counter)
    dropped: int = 0


class Shadow:
    """Decides on copies, and keeps sums of how its choices differ. :meth:`offer` is of any thread.

    Copies wait in a bounded queue; what does not fit is dropped and counted. No text is kept beyond it.

    Args:
        observer: is told of each copy what became of it.
        max_waiting: copies that may wait, > 0.
    """

    def __init__(self, observer: Observer = UNOBSERVED, max_waiting: int = _MAX_WAITING) -> None:
        self._observer, self._most = observer, max_waiting
        self._fitted = FittedTrial[ShadowPlan]("shadow")
        self._waiting: SimpleQueue[DecidedCopy | None] = SimpleQueue()
        self._characters = 0
        self._stopping = False
        self._lock = threading.Lock()
        self._report = ShadowReport()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def __enter__(self) -> Shadow:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping = True
        self._waiting.put(None)
        self._thread.join(_STOP_S)

    def adopt(self, trial: Trial[ShadowPlan] | None, live: Router) -> None:
        """Take another shadow, whose counts begin at nothing, or none.

        Args:
            trial: from now on.
            live: decides now.

        Raises:
            BadArtifact: its parts do not fit; the shadow that is there stays.
        """
        self._fitted.adopt(trial, live)
        report = ShadowReport()
        if trial is not None:
            report = ShadowReport(trial.version, trial.parts, live.now())
        with self._lock:
            self._report = report

    def fit(self, live: Router) -> None:
        """Stand beside another live router."""
        self._fitted.fit(live)

    def offer(self, copy: DecidedCopy) -> None:
        """Leave a copy of a decided request. Takes microseconds, never waits and never fails."""
        fitted = self._fitted.current
        if fitted is None or fitted.live is not copy.live:
            return
        share, query = fitted.trial.plan.share, copy.query
        # By the number of the conversation, as a canary of this share would take them.
        if share < 1 and draw_of(query.tenant, query.conversation_id or copy.decision_id) >= share:
            return
        size = query.prompt.characters
        with self._lock:
            full = self._waiting.qsize() >= self._most or self._characters + size > _MAX_CHARACTERS
            if full:
                self._report.dropped += 1
            else:
                self._characters += size
        if full:
            self._observer.shadowed("dropped")
        else:
            self._waiting.put(copy)

    def report(self) -> ShadowReport:
        """What it has found so far."""
        with self._lock:
            return replace(deepcopy(self._report), problem=self._fitted.problem)

    def work(self) -> None:
        """Decide on all copies that wait."""
        while True:
            try:
                copy = self._waiting.get_nowait()
            except Empty:
                return
            if copy is not None:
                self._take(copy)

    def _run(self) -> None:
        while (copy := self._waiting.get()) is not None and not self._stopping:
            self._take(copy)
            del copy  # no text stays while it waits for the next

    def _take(self, copy: DecidedCopy) -> None:
        with self._lock:
            self._characters -= copy.query.prompt.characters
        fitted = self._fitted.current
        if fitted is None or fitted.live is not copy.live:
            return
        try:
            pair = _choices(fitted, copy)
        except Exception as error:  # noqa: BLE001 — nobody would notice a dead thread
            reason = error.reason if isinstance(error, MitsumoriError) else type(error).__name__
            self._count(fitted, reason)
            return
        with self._lock:
            if self._report.version == fitted.trial.version:
                self._report.found.add(*pair)
        live, shadow = pair
        self._observer.shadowed("agrees" if live.model == shadow.model else "differs")

    def _count(self, fitted: Fitted[ShadowPlan], reason: str) -> None:
        with self._lock:
            if self._report.version != fitted.trial.version:
                return
            new = reason not in self._report.failures
            self._report.failures[reason] += 1
        self._observer.shadowed("failed")
        if new:
            logger().warning("shadow_failed", reason=reason, shadow=fitted.trial.version)


def _choices(fitted: Fitted[ShadowPlan], copy: DecidedCopy) -> tuple[Choice, Choice]:
    """The choice of the live parts and that of the shadow, neither left to chance.

    The shadow sees the balances and the health that the decision saw; of a model that only its catalog has
    there are no balances, and no limit applies.

    Raises:
        MitsumoriError: the shadow cannot choose.
    """
    query = copy.query
    before = {each.model.id: each for each in copy.candidates}
    assessed = fitted.router.assess(query, copy.moment)
    candidates = [
        each._replace(
            amounts=amounts_to_hold(each.quote, strict=copy.strict),
            limits=before[each.model.id].limits if each.model.id in before else (),
        )
        for each in assessed.candidates
    ]
    # A model that is due to be tried again was taken by the live decision, if it was its turn.
    decided = fitted.router.decide(
        query,
        assessed,
        candidates,
        copy.routed.health,
        conversation=copy.routed.conversation,
    )
    chosen = decided.decision.chosen
    explored = copy.routed.decision.explored
    best = copy.routed.decision.chosen if explored is None else before[explored.best]
    after = {each.model.id: each for each in candidates}
    return (
        _choice(best, after.get(best.model.id)),
        _choice(chosen, before.get(chosen.model.id)),
    )


def _choice(own: Candidate, others: Candidate | None) -> Choice:
    judged = _judged(own)
    assert judged is not None  # noqa: S101 — a chosen candidate has a quote and an arm
    return Choice(own.model.id, own.model.tier, judged, None if others is None else _judged(others))


def _judged(candidate: Candidate) -> Judgement | None:
    if candidate.quote is None or candidate.p_adequate is None:
        return None
    return Judgement(candidate.quote.price.expected, candidate.p_adequate)
