"""Latency: how long each model takes, learned from settled calls.

A call takes the time to its first token, then so long for each output token. Three steps find out how long:

1. *Shape.* Time to the first token and time per token. They begin as the catalog says. Tukey's resistant line
   through latency and length corrects them where calls differ in length; where the first token was reported,
   the medians of both parts do.
2. *Level.* The median and the 90th percentile of the ratio of what a call took to what its shape makes of the
   predicted length. So nine in ten calls are no slower than quoted, whatever the shape misses.
3. *Hours.* The level is that of each hour of the day (UTC). The newest calls of any hour stand beside those
   of the hour, with a weight of at most :data:`DAY_CALLS`: an hour with few calls gets the level of the day.

Before all that, what others in flight at the time made of a latency is taken out, where calls show such an
effect (:mod:`router.core.load_effect`); a quote puts in what those in flight at its own time make of it.

Everything is a quantile, so a single absurd report moves next to nothing, and a slow call never makes a quote
for calls like it faster. The catalog counts as :data:`PRIOR_CALLS` made-up calls. A call that failed or timed
out took at least its time (:mod:`router.core.survival`). Older calls fade by half in :data:`HOUR_HALF_LIFE`
in their hour, in :data:`DAY_HALF_LIFE` for the day, counted back from the newest call: no clock is read, so
that all who read the same log learn the same.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from router.core.corrections import Corrections
from router.core.load_effect import load_exponent, slowdown
from router.core.survival import survival_quantiles
from router.core.timing import HOURS, LATENCY_SPREAD, LearnedTiming, Timing
from router.core.types import Speed

__all__ = [
    "DAY_CALLS",
    "DAY_HALF_LIFE",
    "HOUR_HALF_LIFE",
    "PRIOR_CALLS",
    "TimedCall",
    "learn_timings",
]

PRIOR_CALLS = 10
"""How many calls the catalog's speed counts as."""
DAY_CALLS = 30
"""How many calls the calls of other hours count as, at most."""
HOUR_HALF_LIFE = timedelta(days=3)
"""The age at which a call has lost half of its weight in its hour of the day."""
DAY_HALF_LIFE = timedelta(hours=12)
"""The same for its weight among the calls of all hours; short, so that a slow-down is seen the same day."""

_MADE_UP = [NormalDist().inv_cdf(step / 10) for step in range(1, 10)] + [NormalDist().inv_cdf(0.97)]
"""Standard normal values of the made-up calls, the fifth at the median, the ninth at the 90th percentile."""
_Z90 = _MADE_UP[8]
_SPREAD = 2.0
"""p90 divided by p50 of the ratio of latency to prediction, where too few calls say it."""
_PACE_SPREAD = 1.5
"""The same of the time per token."""
_LENGTH_CONTRAST = 1.5
"""How many times the median length of the short answers that of the long ones must be to draw a line."""
_MAX_FACTOR = 20.0
"""The most by which a line leaves the catalog; beyond it, lengths say nothing."""
_LEAST_S = 1e-3
"""The shortest time to the first token, seconds: a ratio to none would be infinite."""

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class TimedCall(NamedTuple):
    """A settled call with what was predicted of it.

    Attributes:
        moment: when it was decided on, aware.
        model: that was called.
        scope: labels of the request.
        latency_s: until the whole answer, or until the call failed, seconds ≥ 0.
        first_token_s: until the first token; ``None``: not reported.
        output_tokens: that were reported; ``None``: not reported.
        answered: whether the whole answer came; otherwise the latency is a lower bound.
        p50: predicted median of the output length, hidden reasoning included, before correction and cap,
            tokens > 0.
        p90: the same for the 90th percentile, ≥ p50.
        cap: the longest output that the call allowed, tokens.
        quoted_p50_s: median of the latency in the quote; ``None`` where the record lacks it.
        quoted_p90_s: 90th percentile of the latency in the quote; likewise.
        in_flight: other calls to the model that had not ended when it was decided on, ≥ 0.
    """

    moment: datetime
    model: str
    scope: Mapping[str, str]
    latency_s: float
    first_token_s: float | None
    output_tokens: int | None
    answered: bool
    p50: float
    p90: float
    cap: int
    quoted_p50_s: float | None = None
    quoted_p90_s: float | None = None
    in_flight: int = 0


def learn_timings(
    calls: Iterable[TimedCall], speeds: Mapping[str, Speed], corrections: Corrections
) -> dict[str, LearnedTiming]:
    """Learn the timing of every model among the calls.

    Args:
        calls: settled calls, in any order.
        speeds: of the catalog, by model; calls of other models are left out.
        corrections: of the output lengths, by which later calls will be quoted.
    """
    grouped: defaultdict[str, list[TimedCall]] = defaultdict(list)
    for each in calls:
        if each.model in speeds:
            grouped[each.model].append(each)
    newest = max((each.moment for some in grouped.values() for each in some), default=None)
    if newest is None:
        return {}
    return {
        model: _learned(_Calls(grouped[model], newest, corrections), speeds[model])
        for model in sorted(grouped)
    }


class _Calls:
    """The calls of one model as arrays ``(n,)``, in an order that does not depend on theirs.

    Args:
        calls: n ≥ 1.
        newest: the moment from which their age counts.
        corrections: as for :func:`learn_timings`.
    """

    def __init__(
        self, calls: Sequence[TimedCall], newest: datetime, corrections: Corrections
    ) -> None:
        self.calls = calls = sorted(calls, key=_order)
        self.latency_s = self.reported_s = np.array([each.latency_s for each in calls])
        self.answered = np.array([each.answered for each in calls])
        # NaN compares with nothing, so what was not reported meets no condition.
        self.first_s = np.array([_known(each.first_token_s) for each in calls])
        self.tokens = np.array([_known(each.output_tokens) for each in calls])
        self.p50, self.p90 = np.array([_lengths(each, corrections) for each in calls]).T
        ages = np.array([(newest - each.moment).total_seconds() for each in calls])
        self.weights = _faded(ages, HOUR_HALF_LIFE)
        recent = _faded(ages, DAY_HALF_LIFE)
        hours = np.array([each.moment.astimezone(UTC).hour for each in calls])
        of_hour = np.where(hours == np.arange(HOURS)[:, None], self.weights, 0.0)
        self.hourly = of_hour + recent * min(1.0, DAY_CALLS / float(recent.sum()))

    def unload(self, speed: Speed) -> float:
        """Make the times as if no others had been in flight; returns the exponent of their effect, 0..1.

        Args:
            speed: about how fast the model is; the length of an answer explains a part of its latency.
        """
        in_flight = np.array([float(each.in_flight) for each in self.calls])
        used = self.answered & (self.latency_s > 0)
        if not in_flight.any():
            return 0.0
        lengths = np.where(self.tokens > 0, self.tokens, self.p50)
        expected = speed.first_token_s + lengths / speed.output_tokens_per_s
        exponent = load_exponent(
            in_flight[used], (self.latency_s / expected)[used], self.weights[used]
        )
        if exponent:
            slower = slowdown(in_flight, exponent)
            self.latency_s, self.first_s = self.latency_s / slower, self.first_s / slower
        return exponent


def _order(call: TimedCall) -> tuple[object, ...]:
    return (
        call.moment,
        call.latency_s,
        _known(call.first_token_s, -1.0),
        _known(call.output_tokens, -1.0),
        call.answered,
        call.p50,
        call.p90,
        call.cap,
        call.in_flight,
        sorted(call.scope.items()),
    )


def _known(value: float | None, unknown: float = math.nan) -> float:
    return unknown if value is None else value


def _faded(ages: Floats, half_life: timedelta) -> Floats:
    return np.asarray(np.exp2(-ages / half_life.total_seconds()))


def _lengths(call: TimedCall, corrections: Corrections) -> tuple[float, float]:
    """The predicted length as a quote of today would have it, capped as the call was."""
    correction = corrections.of(call.model, call.scope)
    p50 = call.p50 * correction.p50
    return min(p50, call.cap), min(max(call.p90 * correction.p90, p50), call.cap)


def _learned(calls: _Calls, speed: Speed) -> LearnedTiming:
    prior = Speed(max(speed.first_token_s, _LEAST_S), speed.output_tokens_per_s)
    exponent = calls.unload(prior)
    shape = _refined(calls, _line(calls, prior))
    first, rate = shape.first_token_s, shape.output_tokens_per_s
    most_first = first * LATENCY_SPREAD
    expected = first + calls.p50 / rate, most_first + calls.p90 / rate
    p50, p90 = (
        _quantiles(calls.latency_s / each, calls.answered, calls.hourly, share, _SPREAD)
        for each, share in zip(expected, (0.5, 0.9), strict=True)
    )
    first_p50, first_p90 = _first_levels(calls, first, (p50, p90))
    hours = [
        Timing(
            first * a, max(most_first * b, first * a), first * c, most_first * d, rate / c, rate / d
        )
        for a, b, c, d in np.array((first_p50, first_p90, p50, p90)).T.tolist()
    ]
    return LearnedTiming(
        calls.calls[0].model,
        len(calls.calls),
        int((~calls.answered).sum()),
        int((~np.isnan(calls.first_s)).sum()),
        _within(calls, [_known(each.quoted_p50_s) for each in calls.calls]),
        _within(calls, [_known(each.quoted_p90_s) for each in calls.calls]),
        tuple(hours),
        exponent,
    )


def _first_levels(
    calls: _Calls, first: float, whole: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """By hour, the factors on median and 90th percentile of the time to the first token.

    Where it was never reported, they are those of the whole answer.
    """
    told = ~np.isnan(calls.first_s)
    if not told.any():
        return whole
    # A failed call without a token waited for the first one all the time, if its caller would have seen it.
    streams = float(calls.weights[told].sum() / calls.weights.sum())
    waiting = ~told & ~calls.answered & ~(calls.tokens > 0)
    values = np.where(told, calls.first_s, calls.latency_s)
    weights = calls.hourly * np.where(told, 1.0, np.where(waiting, streams, 0.0))
    p50, p90 = (
        _quantiles(values / (first * factor), told, weights, share, LATENCY_SPREAD)
        for share, factor in ((0.5, 1.0), (0.9, LATENCY_SPREAD))
    )
    return p50, p90


def _quantiles(
    values: Floats, exact: Flags, weights: Floats, share: float, spread: float
) -> Floats:
    """A quantile of ratios under each weighting ``(m,)``, with made-up calls of which it is 1.

    Args:
        values: ``(n,)``.
        exact: ``(n,)``; otherwise the ratio is at least so large.
        weights: ``(m, n)``.
        share: .5 or .9.
        spread: p90 divided by p50 of the made-up calls.
    """
    made_up = np.exp(np.array(_MADE_UP) * (math.log(spread) / _Z90))
    made_up /= made_up[4 if share == 0.5 else 8]
    each = PRIOR_CALLS / len(made_up)
    return survival_quantiles(
        np.concatenate((values, made_up)),
        np.concatenate((exact, np.ones(len(made_up), dtype=np.bool_))),
        np.hstack((weights, np.full((len(weights), len(made_up)), each))),
        share,
    )


def _line(calls: _Calls, speed: Speed) -> Speed:
    """Tukey's resistant line through latency and length of the answered calls, pooled with the catalog.

    The medians of the shortest and the longest third give it. Where lengths differ too little, or the line
    makes no sense, the speed stays.
    """
    used = calls.answered & (calls.tokens > 0)
    weight = float(calls.weights[used].sum())
    if not used.any():
        return speed
    tokens, latency, weights = calls.tokens[used], calls.latency_s[used], calls.weights[used]
    shortest = tokens <= _median(tokens, weights, 1 / 3)
    longest = tokens >= _median(tokens, weights, 2 / 3)
    (x0, y0), (x1, y1) = (
        (_median(tokens[part], weights[part]), _median(latency[part], weights[part]))
        for part in (shortest, longest)
    )
    if x1 < x0 * _LENGTH_CONTRAST or y1 <= y0:
        return speed
    slope = (y1 - y0) / (x1 - x0)
    own = weight / (weight + PRIOR_CALLS)
    return Speed(
        _pooled(y0 - slope * x0, speed.first_token_s, own),
        1 / _pooled(slope, 1 / speed.output_tokens_per_s, own),
    )


def _pooled(own: float, prior: float, share: float) -> float:
    """The weighted geometric mean of two times, the first within :data:`_MAX_FACTOR` of the second."""
    factor = min(max(own / prior, 1 / _MAX_FACTOR), _MAX_FACTOR)
    return float(prior * factor**share)


def _refined(calls: _Calls, speed: Speed) -> Speed:
    """The medians of both parts where the first token was reported, among made-up calls of a speed."""
    used = calls.answered & (calls.tokens > 0) & (calls.first_s <= calls.latency_s)
    if not used.any():
        return speed
    first, weights = calls.first_s[used], calls.weights[None, used]
    pace = (calls.latency_s[used] - first) / calls.tokens[used]
    exact = np.ones(len(first), dtype=np.bool_)
    first_s, rate = speed.first_token_s, speed.output_tokens_per_s
    (of_first,) = _quantiles(first / first_s, exact, weights, 0.5, LATENCY_SPREAD)
    (of_pace,) = _quantiles(pace * rate, exact, weights, 0.5, _PACE_SPREAD)
    return Speed(
        max(first_s * float(of_first), _LEAST_S), rate / max(float(of_pace), 1 / _MAX_FACTOR)
    )


def _median(values: Floats, weights: Floats, share: float = 0.5) -> float:
    exact = np.ones(len(values), dtype=np.bool_)
    return float(survival_quantiles(values, exact, weights[None, :], share)[0])


def _within(calls: _Calls, quoted: Sequence[float]) -> float | None:
    """The share of calls within a quoted latency, among those of which it is known."""
    bounds = np.array(quoted)
    over = calls.reported_s > bounds
    known = ~np.isnan(bounds) & (calls.answered | over)
    return float(1 - over[known].mean()) if known.any() else None
