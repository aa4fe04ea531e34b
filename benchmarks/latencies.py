"""How often calls stay within the latency that they were quoted, beside the catalog's constants.

Simulated calls have a known truth: log-normal times that follow the hour of the day, a catalog that is wrong
by a factor, timeouts, and two days in the middle on which everything takes 1.8 times as long. Each hour is
quoted by what the calls before it have taught. Histories with real latencies, where the folder ``HISTORIES``
has them, are quoted likewise, call after call.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.report import Figure
from router.core.corrections import Corrections
from router.core.latency import TimedCall, learn_timings
from router.core.quotes import quote
from router.core.rates import Rates
from router.core.timing import timing_at
from router.core.types import Lengths, Model, Quote, Speed, TokenCount

START = datetime(2026, 11, 2, tzinfo=UTC)
DAYS = 14
SLOW_DAYS = range(7, 9)
SLOW_DOWN = 1.8
TIMEOUT_S = 60.0
NEWEST = 5_000
"""How many of the newest settled decisions a server learns from."""
TRUTH = Speed(1.2, 40.0)
CATALOG = Speed(0.6, 80.0)
MODEL = Model(
    "simulated",
    "nobody",
    "low",
    Rates(Decimal(1), Decimal(4)),
    200_000,
    4_000,
    frozenset(),
    CATALOG,
)
HISTORIES = Path(os.environ.get("HISTORIES", "../shared/data/history"))
WITH_LATENCY = ("llmdrift_latency", "bfcl_tools")
_Z90 = 1.2815515655446004


@dataclass(frozen=True)
class Traffic:
    """Simulated traffic of one model.

    Attributes:
        calls_per_hour: in the mean, > 0.
        streams: whether callers report the time to the first token.
        seed: of the chance.
    """

    calls_per_hour: float
    streams: bool
    seed: int = 16

    def hours(self) -> Iterator[tuple[datetime, list[TimedCall]]]:
        """The calls of each hour in turn."""
        chance = np.random.default_rng(self.seed)
        for hour in range(24 * DAYS):
            moment = START + timedelta(hours=hour)
            count = chance.poisson(self.calls_per_hour)
            yield moment, [self._call(moment, chance) for _ in range(count)]

    def _call(self, hour: datetime, chance: np.random.Generator) -> TimedCall:
        """A call within an hour: what a settled decision says of it."""
        day = (hour - START).days
        # Twice as slow in the early afternoon as at night.
        pace = math.exp(0.35 * math.sin((hour.hour - 8) / 24 * 2 * math.pi))
        pace *= SLOW_DOWN if day in SLOW_DAYS else 1.0
        foretold = float(np.exp(chance.normal(math.log(250), 0.8)))
        spread = math.log(3) / _Z90
        tokens = min(max(round(foretold * math.exp(chance.normal(0, spread))), 1), 4_000)
        first = TRUTH.first_token_s * pace * math.exp(chance.normal(0, 0.6))
        rest = tokens / TRUTH.output_tokens_per_s * pace * math.exp(chance.normal(0, 0.25))
        latency = first + rest
        answered = latency < TIMEOUT_S
        return TimedCall(
            hour + timedelta(seconds=float(chance.uniform(0, 3600))),
            MODEL.id,
            {},
            min(latency, TIMEOUT_S),
            first if self.streams and first < TIMEOUT_S else None,
            tokens if answered else 0,
            answered,
            foretold,
            3 * foretold,
            4_000,
        )


@dataclass
class Coverage:
    """How many calls stayed within their quotes: whole answer and first token, at p50 and p90."""

    calls: int = 0
    whole_p50: int = 0
    whole_p90: int = 0
    first_p90: int = 0
    first_calls: int = 0
    quoted_p90_s: float = 0.0

    def add(self, call: TimedCall, offer: Quote) -> None:
        """Count a call. One that timed out is beyond every quote below the timeout."""
        self.calls += 1
        self.whole_p50 += call.latency_s <= offer.latency.p50_s and call.answered
        self.whole_p90 += call.latency_s <= offer.latency.p90_s and call.answered
        self.quoted_p90_s += offer.latency.p90_s
        if call.first_token_s is not None and offer.first_token is not None:
            self.first_calls += 1
            self.first_p90 += call.first_token_s <= offer.first_token.p90_s


def offered(call: TimedCall, model: Model, learned: Corrections) -> Quote:
    """The quote of a call by what was learned before it."""
    return quote(
        model,
        model.rates or MODEL.rates,  # type: ignore[arg-type]  # MODEL has rates
        TokenCount(100, True, 100),
        Lengths(call.p50, call.p90, 2 * call.p90),
        timing=timing_at(learned.timings, model.id, model.speed, call.moment.hour),
        max_output_tokens=call.cap,
        expires=call.moment,
        price_table="simulated",
    )


def simulated(traffic: Traffic, *, learns: bool = True) -> dict[str, Coverage]:
    """Coverage over all days but the first, and over the slow days alone.

    Args:
        traffic: to quote.
        learns: whether quotes learn from the calls before, hourly.
    """
    seen: list[TimedCall] = []
    found = {"all": Coverage(), "slow": Coverage()}
    for moment, calls in traffic.hours():
        timings = (
            learn_timings(seen[-NEWEST:], {MODEL.id: CATALOG}, Corrections()) if learns else {}
        )
        learned = Corrections(timings=timings)
        day = (moment - START).days
        for call in calls if day else ():
            offer = offered(call, MODEL, learned)
            found["all"].add(call, offer)
            if day in SLOW_DAYS:
                found["slow"].add(call, offer)
        seen += calls
    return found


def replayed(calls: Sequence[TimedCall], *, learns: bool = True) -> Coverage:
    """Coverage over the second half of real calls, learned a hundred calls at a time.

    Args:
        calls: of one model, in order.
        learns: whether quotes learn from the calls before.
    """
    model = replace(MODEL, id=calls[0].model)
    found = Coverage()
    for start in range(len(calls) // 2, len(calls), 100):
        before = calls[max(start - NEWEST, 0) : start]
        timings = learn_timings(before, {model.id: CATALOG}, Corrections()) if learns else {}
        for call in calls[start : start + 100]:
            found.add(call, offered(call, model, Corrections(timings=timings)))
    return found


def real_calls() -> Iterator[list[TimedCall]]:
    """Calls by model of the histories that have latencies; they have no times, so one is made up per minute.

    The predicted length is the spread over all calls of the model, as of a classifier that knows nothing.
    """
    for name in WITH_LATENCY:
        path = HISTORIES / f"{name}.parquet"
        if not path.is_file():
            continue
        table = pd.read_parquet(path, columns=["model", "latency_s", "output_tokens"]).dropna()
        for model, rows in table[table.latency_s > 0].groupby("model", sort=True):
            rows = rows.sample(frac=1, random_state=16)
            p50, p90 = (max(float(rows.output_tokens.quantile(share)), 1.0) for share in (0.5, 0.9))
            yield [
                TimedCall(
                    START + timedelta(minutes=place),
                    str(model),
                    {},
                    float(latency),
                    None,
                    int(tokens),
                    True,
                    p50,
                    p90,
                    4_000,
                )
                for place, (latency, tokens) in enumerate(
                    zip(rows.latency_s, rows.output_tokens, strict=True)
                )
            ]


def measure() -> Iterator[Figure]:
    """Coverage of quoted latencies: simulated, then of real calls where there are any."""
    for name, traffic in {
        "60 calls an hour, streaming": Traffic(60, streams=True),
        "60 calls an hour": Traffic(60, streams=False),
        "6 calls an hour": Traffic(6, streams=True),
    }.items():
        plain, taught = simulated(traffic, learns=False), simulated(traffic)
        yield Figure(
            f"latency within p90, {name}, catalog",
            _share(plain["all"].whole_p90, plain["all"].calls),
            "%",
        )
        for kind in ("all", "slow"):
            one = taught[kind]
            told = f"{name}{', slow days' if kind == 'slow' else ''}"
            yield Figure(f"latency within p50, {told}", _share(one.whole_p50, one.calls), "%")
            yield from _between(
                f"latency within p90, {told}",
                _share(one.whole_p90, one.calls),
                bounded=kind == "all",
            )
            if one.first_calls:
                yield from _between(
                    f"first token within p90, {told}",
                    _share(one.first_p90, one.first_calls),
                    bounded=kind == "all",
                )
    shares = {
        learns: [
            _share(one.whole_p90, one.calls)
            for one in (replayed(calls, learns=learns) for calls in real_calls())
        ]
        for learns in (False, True)
    }
    if shares[True]:
        yield Figure("models with real latencies", len(shares[True]), "models")
        name = "real latency within p90, median model"
        yield Figure(f"{name}, constants", float(np.median(shares[False])), "%")
        yield from _between(name, float(np.median(shares[True])), bounded=True)
        lowest = float(np.quantile(shares[True], 0.1))
        yield Figure("real latency within p90, a tenth of the models is below", lowest, "%")


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else math.nan


def _between(name: str, value: float, *, bounded: bool) -> Iterator[Figure]:
    yield Figure(f"{name}, at least", value, "%", 85 if bounded else None, ">=")
    if bounded:
        yield Figure(f"{name}, at most", value, "%", 95, "<=")
