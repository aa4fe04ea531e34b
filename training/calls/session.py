"""A run of paid calls from end to end, for a command: opens the endpoint, runs the tasks, sums up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from training.calls.budget import Budget
from training.calls.journal import Answered, Failed, Journal
from training.calls.paid_calls import PaidCalls, Patience
from training.calls.run import Task, run_tasks
from training.calls.tariff import Tariff

__all__ = ["RunResult", "Terms", "doubts_of", "failures_of", "run_within"]


@dataclass(frozen=True)
class Terms:
    """On what terms a run may call models.

    Attributes:
        endpoint: base URL of the API.
        key: of the API; ``None``: without one.
        budget: nano-dollars for all runs of a journal together.
        concurrency: tasks at a time, ≥ 1.
        timeout_s: per request, > 0.
        stream: whether answers are streamed.
        patience: with failures.
    """

    endpoint: str
    key: str | None = field(repr=False)
    budget: int
    concurrency: int = 8
    timeout_s: float = 120.0
    stream: bool = False
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        stopped: why it stopped early; empty: it did not.
        left_out: why a model was left out, by model.
        not_asked: why tasks were not done, with how many each.
        used: outcomes taken from the journal of earlier runs.
    """

    stopped: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    not_asked: Mapping[str, int] = field(default_factory=dict)
    used: int = 0

    @property
    def complete(self) -> bool:
        """Whether every task was done."""
        return not self.stopped and not self.not_asked


def run_within(
    terms: Terms,
    tariffs: Mapping[str, Tariff],
    journal: Journal,
    tasks: Callable[[PaidCalls], Iterable[Task]],
    *,
    now: Callable[[], datetime],
    done: Callable[[Journal], None],
    notify: Callable[[str], None],
) -> RunResult:
    """Run tasks until all are done, the budget ends, or somebody interrupts.

    Args:
        terms: endpoint, budget and limits.
        tariffs: by model.
        journal: of the run.
        tasks: makes the tasks, given what they ask with.
        now: the time of day, aware.
        done: is called after each task, such as to show progress.
        notify: tells the user something while the run goes on.

    Raises:
        MitsumoriError: the journal cannot be written.
    """

    # Imported only to pay: the client takes half a second.
    from training.calls.endpoint import Endpoint

    async def main() -> tuple[PaidCalls, Counter[str]]:
        endpoint = Endpoint(terms.endpoint, terms.key, terms.timeout_s, terms.stream, now=now)
        budget = Budget(terms.budget, journal.spent)
        calls = PaidCalls(endpoint, tariffs, budget, journal, now, terms.patience)
        try:
            left = await run_tasks(
                calls,
                tasks(calls),
                concurrency=terms.concurrency,
                done=lambda: done(journal),
                notify=notify,
            )
        finally:
            await endpoint.close()
        return calls, left

    calls, left = asyncio.run(main())
    return RunResult(calls.stopped, calls.left_out, dict(left), calls.used)


def doubts_of(answers: Iterable[Answered]) -> dict[str, Counter[str]]:
    """Reports of usage that were not believed, by model: doubt → answers."""
    found: dict[str, Counter[str]] = {}
    for answer in answers:
        for doubt in answer.doubts:
            found.setdefault(str(answer.about.get("model")), Counter())[doubt] += 1
    return found


def failures_of(outcomes: Iterable[Answered | Failed]) -> Counter[str]:
    """Calls given up, by kind of failure."""
    return Counter(one.kind for one in outcomes if isinstance(one, Failed))
