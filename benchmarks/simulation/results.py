"""What came out of the hours: figures of each, their intervals, and a table per condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.report import Figure
from benchmarks.simulation.hour import Hour
from benchmarks.simulation.variants import BASELINES, EVERYTHING
from router.cli.render import FittedTable, table
from router.core.types import Importance, MissCosts

__all__ = ["Result", "figures_of", "result_of", "table_of"]

Floats = npt.NDArray[np.float64]
_RESAMPLES: Final = 1_000
_PER = 1_000
"""Amounts are told for so many requests."""
_NANOS = 1e9
FAILED_AT_MOST: Final = 0.01


@dataclass(frozen=True)
class Result:
    """The figures of one hour.

    Attributes:
        hour: that was simulated.
        losses: by request, USD: what the provider charged, and the risk of a miss. An answer that never came
            is a miss, and so is one that came after the bound of its request.
        cost_usd: charged by the providers, for 1,000 requests.
        quality: mean true P(adequate); 0 without an answer.
        adequate: share of the requests with an adequate answer.
        p50_s: simulated seconds from the request to the answer, retries and waits included, of work that
            cannot wait.
        p99_s: likewise.
        late: of the answers to requests with a bound on the latency, the share that came after it.
        deferred: share that was put off at least once.
        refused: share that the server refused.
        failed: share whose calls all failed.
        reroutes: for 1,000 requests.
        mispriced: bookings that differ from what the provider charged.
    """

    hour: Hour
    losses: Floats
    cost_usd: float
    quality: float
    adequate: float
    p50_s: float
    p99_s: float
    late: float
    deferred: float
    refused: float
    failed: float
    reroutes: float
    mispriced: int

    @property
    def loss_usd(self) -> float:
        """For 1,000 requests."""
        return float(self.losses.mean()) * _PER


def result_of(hour: Hour) -> Result:
    """The figures of an hour."""
    pairs = list(zip(hour.traffic, hour.answers, strict=True))
    late = np.array(
        [
            a.answered
            and asked.max_latency_s is not None
            and a.done_s - a.at_s > asked.max_latency_s
            for asked, a in pairs
        ]
    )
    costs = np.array([answer.cost_nanos for _, answer in pairs]) / _NANOS
    p = np.array([answer.p_adequate for _, answer in pairs])
    stakes = np.array(
        [
            MissCosts().of(Importance(asked.importance)).nanos * asked.complexity
            for asked, _ in pairs
        ]
    )
    waits = [a.done_s - a.at_s for asked, a in pairs if a.answered and not asked.batch] or [0.0]
    bound = [asked.max_latency_s is not None and a.answered for asked, a in pairs]

    def share(held: Iterable[bool]) -> float:
        return float(np.mean([*held] or [False]))

    return Result(
        hour,
        costs + stakes / _NANOS * (1 - np.where(late, 0.0, p)),
        float(costs.mean()) * _PER,
        float(p.mean()),
        share(a.adequate for _, a in pairs),
        float(np.quantile(waits, 0.5)),
        float(np.quantile(waits, 0.99)),
        share(late[bound]),
        share(a.deferred > 0 for _, a in pairs),
        share(bool(a.refused) and not a.attempts for _, a in pairs),
        share(not a.answered and a.attempts > 0 for _, a in pairs),
        float(np.mean([a.reroutes for _, a in pairs])) * _PER,
        sum(a.mispriced for _, a in pairs),
    )


def interval(differences: Floats, seed: int) -> tuple[float, float]:
    """95 % of the means of resampled requests.

    Args:
        differences: by request.
        seed: of the resampling.
    """
    chance = np.random.default_rng(seed)
    size = len(differences)
    means = [differences[chance.integers(0, size, size)].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def table_of(results: Sequence[Result], seed: int) -> FittedTable:
    """The hours of one condition, side by side.

    Args:
        results: of one condition; one of them has everything on.
        seed: of the intervals.
    """
    whole = next(each for each in results if each.hour.variant == EVERYTHING)
    headings = (
        "variant", ">loss $", ">more than with everything $", ">price $", ">quality", ">adequate",
        ">p50 s", ">p99 s", ">late", ">deferred", ">refused", ">failed", ">rerouted",
    )  # fmt: skip
    rows = []
    for each in results:
        more = ""
        if each is not whole:
            differences = (each.losses - whole.losses) * _PER
            low, high = interval(differences, seed)
            more = f"{differences.mean():+.2f} [{low:.2f}, {high:.2f}]"
        rows.append(
            [
                each.hour.variant.name,
                f"{each.loss_usd:.2f}",
                more,
                f"{each.cost_usd:.2f}",
                f"{each.quality:.3f}",
                f"{each.adequate:.3f}",
                f"{each.p50_s:.1f}",
                f"{each.p99_s:.1f}",
                *(
                    f"{share:.1%}"
                    for share in (each.late, each.deferred, each.refused, each.failed)
                ),
                f"{each.reroutes / _PER:.1%}",
            ]
        )
    condition = results[0].hour.condition
    return table(f"{condition.name}: {condition.text}", headings, rows)


def figures_of(results: Sequence[Result]) -> Iterator[Figure]:
    """Every figure of every hour; what must hold has a target."""
    for each in results:
        at = f"{each.hour.condition.name}, {each.hour.variant.name}"
        everything = each.hour.variant == EVERYTHING
        yield Figure(f"{at}: price + risk of a miss", each.loss_usd, "USD/1,000")
        yield Figure(f"{at}: price", each.cost_usd, "USD/1,000")
        yield Figure(f"{at}: quality", each.quality, "")
        yield Figure(f"{at}: adequate", each.adequate, "")
        yield Figure(f"{at}: p50", each.p50_s, "s")
        yield Figure(f"{at}: p99", each.p99_s, "s")
        yield Figure(f"{at}: late", each.late * 100, "%")
        yield Figure(f"{at}: deferred", each.deferred * 100, "%")
        yield Figure(f"{at}: refused", each.refused * 100, "%")
        most = FAILED_AT_MOST * 100 if everything else None
        yield Figure(f"{at}: failed", each.failed * 100, "%", most)
        yield Figure(f"{at}: rerouted", each.reroutes / _PER * 100, "%")
        if each.hour.variant.fixed is None:
            yield Figure(f"{at}: bookings off", float(each.mispriced), "calls", 0.0)
        if everything:
            rivals = [
                other.loss_usd
                for other in results
                if other.hour.condition == each.hour.condition and other.hour.variant in BASELINES
            ]
            if rivals:
                ratio = each.loss_usd / min(rivals)
                yield Figure(f"{at}: price + risk over the best baseline", ratio, "×", 1.0)
