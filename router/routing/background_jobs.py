"""What has to be done while nobody asks: holds run out, and decisions grow old."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import TracebackType

from router.classifier.hot_swap import ServedBundle
from router.core.errors import MitsumoriError
from router.ledger.base import Ledger
from router.logs import logger
from router.routing.correction_learner import CorrectionLearner
from router.settings import RetentionRule

__all__ = [
    "BackgroundJobs",
    "PeriodicJob",
    "correction_job",
    "expiry_job",
    "reload_job",
    "retention_job",
]

_RETENTION_EVERY_S = 3600.0
_CORRECTIONS_EVERY_S = 300.0
_RETRY_S = 30.0
"""How soon a rare chore is tried again where it failed."""
_LONGEST_WAIT_S = 3600.0
_STOP_S = 5.0
"""How long the stop waits for a chore that is under way; the ledger ends it when it closes."""


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """Something to do at the start and then every ``every_s`` seconds, > 0; infinite: when told to."""

    name: str
    every_s: float
    do: Callable[[], None]


def expiry_job(ledger: Ledger, every_s: float) -> PeriodicJob:
    """Give back the holds whose time has run out.

    Also done before every hold; without traffic nobody else does it, and balances and logs would
    show money as held that is free.
    """

    def expire() -> None:
        holds = ledger.expire()
        if holds:
            logger().info("expired", holds=holds)

    return PeriodicJob("expiry_job", every_s, expire)


def retention_job(ledger: Ledger, rules: Sequence[RetentionRule]) -> PeriodicJob:
    """Erase what is older than the rules let it grow, hourly, by the time of the store.

    Each rule erases what it matches: where several match a decision, the shortest wins. Decisions
    that are not final stay until they are; balances keep what was spent.
    """

    def erase() -> None:
        for rule in rules:
            before = ledger.now() - timedelta(days=rule.days)
            decisions = ledger.erase(rule.labels, before)
            if decisions:
                logger().info("erased", decisions=decisions, days=rule.days)

    return PeriodicJob("retention_job", _RETENTION_EVERY_S, erase)


def correction_job(learner: CorrectionLearner) -> PeriodicJob:
    """Learn from the newest settled decisions how to correct quotes, every few minutes."""
    return PeriodicJob("correction_job", _CORRECTIONS_EVERY_S, learner.refresh)


def reload_job(served: ServedBundle, every_s: float) -> PeriodicJob:
    """Look for another bundle every ``every_s`` seconds, ≥ 0; 0: only when told to."""
    return PeriodicJob("reload_job", every_s or math.inf, served.refresh)


class BackgroundJobs:
    """Does chores in a thread of its own, one after the other, from enter to exit.

    A chore that fails is said once in the log, and again once it works; it is tried on and on, for
    a store that is away comes back.

    Args:
        chores: what to do, and how often.
        clock: seconds that only grow.
        wait: waits for so many seconds, shorter where it is time to stop.
    """

    def __init__(
        self,
        chores: Sequence[PeriodicJob],
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._clock = clock
        self._stop = threading.Event()
        # Its put may interrupt itself, as a signal handler does; that of an event may not.
        self._told: SimpleQueue[str] = SimpleQueue()
        self._wait = wait or self._wait_or_told
        self._due = [(clock(), chore) for chore in chores]
        self._failing: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def __enter__(self) -> BackgroundJobs:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._told.put("")
        self._thread.join(_STOP_S)

    def tell(self, name: str) -> None:
        """Let a chore be done at once. Safe in a signal handler."""
        self._told.put(name)

    def _wait_or_told(self, seconds: float) -> None:
        try:
            name = self._told.get(timeout=min(seconds, _LONGEST_WAIT_S))
        except Empty:
            return
        self._due = [
            (self._clock() if chore.name == name else due, chore) for due, chore in self._due
        ]

    def _run(self) -> None:
        while self._due and not self._stop.is_set():
            self.tick()
            self._wait(max(0.0, min(due for due, _ in self._due) - self._clock()))

    def tick(self) -> None:
        """Do the chores that are due."""
        for place, (due, chore) in enumerate(self._due):
            if due <= self._clock() and not self._stop.is_set():
                done = self._did(chore)
                pause = chore.every_s if done else min(chore.every_s, _RETRY_S)
                self._due[place] = (self._clock() + pause, chore)

    def _did(self, chore: PeriodicJob) -> bool:
        try:
            chore.do()
        except Exception as error:  # noqa: BLE001 — a thread that died would be missed by nobody
            if chore.name not in self._failing and not self._stop.is_set():
                # Not the error's text: it could quote what is in the store.
                reason = error.reason if isinstance(error, MitsumoriError) else type(error).__name__
                logger().warning("chore_failed", chore=chore.name, reason=reason)
                self._failing.add(chore.name)
            return False
        if chore.name in self._failing:
            self._failing.remove(chore.name)
            logger().info("chore_works_again", chore=chore.name)
        return True
