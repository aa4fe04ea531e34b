"""Periodic jobs beside the calls: expire holds, erase old decisions, learn corrections, share, reload."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import TracebackType

from pydantic import BaseModel, ConfigDict, Field, field_validator

from router.core.corrections import LEARN_EVERY_S
from router.core.errors import MitsumoriError
from router.core.limits import LABEL_NAME
from router.ledger.base import Ledger
from router.logs import logger
from router.routing.correction_learner import CorrectionLearner
from router.routing.label_names import LabelNames
from router.routing.provider_load import ProviderLoad
from router.routing.state_exchange import StateExchange

__all__ = [
    "BackgroundJobs",
    "PeriodicJob",
    "RetentionRule",
    "correction_job",
    "expiry_job",
    "label_names_job",
    "load_job",
    "reload_job",
    "retention_job",
    "sharing_job",
    "store_job",
]

_LOAD_EVERY_S = 5.0
_RETENTION_EVERY_S = 3600.0
_LABEL_NAMES_EVERY_S = 60.0
_STORE_EVERY_S = 2.0
_RETRY_S = 30.0
"""Seconds until a rare job that failed is tried again."""
_MAX_WAIT_S = 3600.0
_STOP_S = 5.0
"""Seconds that the stop waits for a running job; closing the ledger ends it."""


class RetentionRule(BaseModel):
    """How long the log keeps decisions with all of these labels; every decision where no label is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int = Field(ge=1, le=36_500, description="age at which decisions are erased, days")
    labels: dict[str, str] = Field(default={}, description="labels that they carry")

    @field_validator("labels")
    @classmethod
    def _labels_have_names(cls, labels: dict[str, str]) -> dict[str, str]:
        for name, value in labels.items():
            if not LABEL_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is not a label: a lower-case letter, then a-z, 0-9 and _"
                )
            if not 1 <= len(value) <= 1000:
                raise ValueError(f"the value of {name} must be 1 to 1000 characters")
        return labels


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """Work that is done at the start and then periodically.

    Attributes:
        name: as in the log.
        every_s: seconds between two runs, > 0; infinite: only at the start and on request.
        do: does the work; may raise.
    """

    name: str
    every_s: float
    do: Callable[[], None]


def expiry_job(ledger: Ledger, every_s: float) -> PeriodicJob:
    """Expire the holds whose time has run out.

    The ledger does this before every hold. Without traffic only this job does it; balances and the log would
    otherwise show free money as held.

    Args:
        ledger: whose holds.
        every_s: seconds between two runs, > 0.
    """

    def expire() -> None:
        holds = ledger.expire()
        if holds:
            logger().info("expired", holds=holds)

    return PeriodicJob("expiry", every_s, expire)


def retention_job(ledger: Ledger, rules: Callable[[], Sequence[RetentionRule]]) -> PeriodicJob:
    """Erase decisions older than the rules in force allow, hourly, by the clock of the store.

    Where several rules match a decision, the shortest time applies. Decisions that are not final stay until
    they are. Balances keep what was spent.
    """

    def erase() -> None:
        for rule in rules():
            before = ledger.now() - timedelta(days=rule.days)
            decisions = ledger.erase(rule.labels, before)
            if decisions:
                logger().info("erased", decisions=decisions, days=rule.days)

    return PeriodicJob("retention", _RETENTION_EVERY_S, erase)


def correction_job(learner: CorrectionLearner) -> PeriodicJob:
    """Learn the corrections of quotes from the newest settled decisions, every five minutes."""
    return PeriodicJob("corrections", LEARN_EVERY_S, learner.refresh)


def load_job(load: ProviderLoad, ledger: Ledger, *, shared: bool) -> PeriodicJob:
    """Read which calls are in flight: at the start, and every five seconds where others decide, too.

    Args:
        load: counts them.
        ledger: knows them.
        shared: whether other processes decide or settle on this ledger.
    """
    every_s = _LOAD_EVERY_S if shared else math.inf
    return PeriodicJob("load", every_s, lambda: load.sync(ledger))


def label_names_job(names: LabelNames, ledger: Ledger) -> PeriodicJob:
    """Read every minute which labels limits and decisions use."""
    return PeriodicJob("label names", _LABEL_NAMES_EVERY_S, lambda: names.refresh(ledger))


def reload_job(name: str, refresh: Callable[[], object], every_s: float) -> PeriodicJob:
    """Look whether an input has changed.

    Args:
        name: of the input.
        refresh: looks; takes over what is new, or refuses it.
        every_s: seconds between two looks, ≥ 0; 0: only on request.
    """

    def look() -> None:
        refresh()

    return PeriodicJob(name, every_s or math.inf, look)


def store_job(check: Callable[[], None]) -> PeriodicJob:
    """Look every two seconds whether the store can be written."""
    return PeriodicJob("store", _STORE_EVERY_S, check)


def sharing_job(exchange: StateExchange, every_s: float) -> PeriodicJob:
    """Exchange with other processes what is shared beside money.

    Args:
        exchange: with what parts, and through which store.
        every_s: seconds between two exchanges, > 0.
    """
    return PeriodicJob("sharing", every_s, exchange.exchange)


class BackgroundJobs:
    """Runs periodic jobs one after the other in a thread of its own, from enter to exit.

    A job that fails is logged once, and once more when it works again. It is retried without end, because
    an unreachable store comes back.

    Args:
        jobs: the jobs.
        clock: monotonic seconds.
        wait: waits for a number of seconds, or less where the jobs stop or one is requested.
    """

    def __init__(
        self,
        jobs: Sequence[PeriodicJob],
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._clock = clock
        self._stop = threading.Event()
        # Not an event: a signal handler may call put while the same thread is inside put.
        self._requests: SimpleQueue[str] = SimpleQueue()
        self._wait = wait or self._wait_for_request
        self._due = [(clock(), job) for job in jobs]
        self._failing: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="background-jobs", daemon=True)

    def __enter__(self) -> BackgroundJobs:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to run the jobs."""
        self._thread.start()

    def stop(self) -> None:
        """End; a job that runs has five seconds."""
        self._stop.set()
        self._requests.put("")
        self._thread.join(_STOP_S)

    def request(self, name: str) -> None:
        """Run a job as soon as possible. Safe in a signal handler."""
        self._requests.put(name)

    def _wait_for_request(self, seconds: float) -> None:
        try:
            name = self._requests.get(timeout=min(seconds, _MAX_WAIT_S))
        except Empty:
            return
        self._due = [(self._clock() if job.name == name else due, job) for due, job in self._due]

    def _run(self) -> None:
        while self._due and not self._stop.is_set():
            self.run_due()
            self._wait(max(0.0, min(due for due, _ in self._due) - self._clock()))

    def run_due(self) -> None:
        """Run the jobs that are due."""
        for index, (due, job) in enumerate(self._due):
            if due <= self._clock() and not self._stop.is_set():
                pause = job.every_s if self._run_job(job) else min(job.every_s, _RETRY_S)
                self._due[index] = (self._clock() + pause, job)

    def _run_job(self, job: PeriodicJob) -> bool:
        """Run one job, log the beginning and the end of an outage, and return whether it worked."""
        try:
            job.do()
        except Exception as error:  # noqa: BLE001 — nobody would notice a dead thread
            if job.name not in self._failing and not self._stop.is_set():
                # Not the error's text, which could quote what is in the store.
                reason = error.reason if isinstance(error, MitsumoriError) else type(error).__name__
                logger().warning("job_failed", job=job.name, reason=reason)
                self._failing.add(job.name)
            return False
        if job.name in self._failing:
            self._failing.remove(job.name)
            logger().info("job_works_again", job=job.name)
        return True
