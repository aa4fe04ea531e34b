"""A world with a known truth, in which a share of the decisions is left to chance.

Every model has an outcome for every prompt, so that what a single model would have brought is known, and the
log can be held against it: :func:`calibration` counts how often the intervals hold the truth. Prices are
skewed (lognormal). Quotes are wrong by a factor, and P(adequate) is too high: estimates must not rest on
either.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from router.core.decision import decide
from router.core.savings import Sample, total
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Exploration,
    Importance,
    LatencyRange,
    MissCost,
    Model,
    PriceRange,
    Quote,
    Speed,
    TokenCount,
)
from router.decision_log.reader import LoggedDecision
from router.decision_log.record import (
    VERSION,
    DecisionRecord,
    LatencySeconds,
    LoggedCandidate,
    LoggedConstraints,
    LoggedExploration,
    LoggedMissCost,
    LoggedUsage,
    OutputTokens,
    PriceNanos,
    ReasoningTokens,
)

__all__ = ["MODELS", "Calibration", "World", "calibration", "make_world"]

MODELS = ("small", "middle", "large")
_TYPICAL_USD = (0.0005, 0.003, 0.012)
_STRENGTH = (1.2, 2.0, 3.0)
_STAKE = MissCost(50_000_000)
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_TOKENS = TokenCount(100, True, 100)

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """``n`` prompts and what each of :data:`MODELS` brings.

    Attributes:
        prices: int64 ``(n, 3)``, quoted, nano-dollars.
        p_adequate: float64 ``(n, 3)``, as the classifier promises.
        costs: int64 ``(n, 3)``, what the call really costs, nano-dollars.
        quality: float64 ``(n, 3)``, 0 or 1.
    """

    prices: npt.NDArray[np.int64]
    p_adequate: Values
    costs: npt.NDArray[np.int64]
    quality: Values

    def decision(self, row: int, exploration: Exploration | None) -> Decision:
        """What serving decides on a prompt.

        Args:
            row: of the prompt.
            exploration: what is left to chance.
        """
        candidates = [
            _candidate(name, int(price), float(p))
            for name, price, p in zip(MODELS, self.prices[row], self.p_adequate[row], strict=True)
        ]
        return decide(candidates, Constraints(), _STAKE, exploration=exploration)

    def chances(self, share: float, regret: float) -> Values:
        """The probability with which serving chooses each model, float64 ``(n, 3)``; rows sum to 1.

        Args:
            share: of the decisions that is left to chance, 0..1.
            regret: as a share of the least expected cost, ≥ 0.
        """
        found = np.zeros(self.prices.shape)
        for row in range(len(found)):
            made = self.decision(row, Exploration(share, regret, 0.0))
            known = {made.chosen.model.id: 1.0} if made.explored is None else made.explored.chances
            for model, chance in known.items():
                found[row, MODELS.index(model)] = chance
        return found

    def log(self, share: float, regret: float, *, seed: int = 0) -> list[LoggedDecision]:
        """The log of serving on this traffic: every decision settled at its true cost and quality.

        Args:
            share: of the decisions that is left to chance, 0..1.
            regret: as a share of the least expected cost, ≥ 0.
            seed: of the draws.
        """
        draws, rows = np.random.default_rng(seed).random(len(self.prices)), []
        for row, draw in enumerate(draws):
            made = self.decision(row, Exploration(share, regret, float(draw)))
            place = MODELS.index(made.chosen.model.id)
            usage = LoggedUsage(outcome="success", quality=float(self.quality[row, place]))
            rows.append(
                LoggedDecision(
                    f"d{row:06}",
                    "settled",
                    _MOMENT,
                    {},
                    int(self.costs[row, place]),
                    _record(made, usage),
                )
            )
        return rows


def make_world(prompts: int, *, skew: float, seed: int, bias: float = 1.3) -> World:
    """A world with skewed prices and quotes that are wrong.

    Args:
        prompts: how many, > 0.
        skew: standard deviation of the logarithm of the prices, ≥ 0; a cost varies by half of it around its
            quote.
        seed: of the world.
        bias: of the mean cost over the quote, > 0.
    """
    rng = np.random.default_rng(seed)
    shape = (prompts, len(MODELS))
    usd = np.array(_TYPICAL_USD) * np.exp(
        rng.normal(0, skew, (prompts, 1)) + rng.normal(0, 0.3, shape)
    )
    difficulty = rng.normal(0, 1.5, (prompts, 1))
    promised = 1 / (1 + np.exp(difficulty - np.array(_STRENGTH)))
    prices = np.maximum(np.rint(usd * 1e9), 1).astype(np.int64)
    return _with_outcomes(
        World(prices, promised, prices, promised), skew=skew, bias=bias, seed=seed + 1
    )


def _with_outcomes(world: World, *, skew: float, bias: float, seed: int) -> World:
    """The same prompts with outcomes of this seed; P(adequate) is too high by a fifth of what the bias is."""
    rng = np.random.default_rng(seed)
    spread = skew / 2
    factor = bias * np.exp(rng.normal(-(spread**2) / 2, spread, world.prices.shape))
    true_p = world.p_adequate / (1 + (bias - 1) / 5)
    quality = (rng.random(world.prices.shape) < true_p).astype(np.float64)
    return World(
        world.prices, world.p_adequate, np.rint(world.prices * factor).astype(np.int64), quality
    )


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well the estimates of many logs hold the truth.

    Attributes:
        told: share of the logs that could tell, 0..1.
        cost_covered: of these, share whose interval of the single model's cost holds the truth.
        quality_covered: likewise of its quality.
        cost_error: mean of estimate / truth − 1 of the cost.
        half_width: median half width of the interval of the cost, as a share of the truth.
    """

    told: float
    cost_covered: float
    quality_covered: float
    cost_error: float
    half_width: float


def calibration(
    world: World,
    model: str,
    *,
    share: float,
    regret: float,
    logs: int,
    skew: float,
    bias: float = 1.3,
) -> Calibration:
    """Draw many logs on the prompts of a world, each with outcomes of its own; hold them against the truth.

    Args:
        world: the prompts.
        model: the single model.
        share: of the decisions that is left to chance, 0..1.
        regret: as a share of the least expected cost, ≥ 0.
        logs: how many.
        skew: of the world.
        bias: of the world.
    """
    chances, place = world.chances(share, regret), MODELS.index(model)
    covered = np.flatnonzero(chances[:, place] > 0)
    p = chances[covered, place]
    held: list[tuple[bool, bool]] = []
    errors, widths = [], []
    for seed in range(logs):
        drawn = _with_outcomes(world, skew=skew, bias=bias, seed=10_000 + seed)
        taken = np.random.default_rng(20_000 + seed).random(len(covered)) < p
        costs = drawn.costs[covered, place].astype(np.float64)
        prices = drawn.prices[covered, place].astype(np.float64)
        quality, promised = drawn.quality[covered, place], drawn.p_adequate[covered, place]
        # What another model brought does not enter the estimate of this one.
        cost = total(Sample(costs * taken, taken, p, np.zeros(len(p)), prices))
        good = total(Sample(quality * taken, taken, p, promised, np.ones(len(p))))
        if cost is None or good is None:
            continue
        truth = costs.sum()
        held.append(
            (
                cost.single.low <= truth <= cost.single.high,
                good.single.low <= quality.sum() <= good.single.high,
            )
        )
        errors.append(cost.single.value / truth - 1)
        widths.append((cost.single.high - cost.single.low) / 2 / truth)
    if not held:
        return Calibration(0.0, np.nan, np.nan, np.nan, np.nan)
    by_cost, by_quality = np.mean(held, axis=0)
    return Calibration(
        len(held) / logs,
        float(by_cost),
        float(by_quality),
        float(np.mean(errors)),
        float(np.median(widths)),
    )


def _candidate(name: str, price: int, p: float) -> Candidate:
    model = Model(name, "simulated", name, None, 10_000, 1_000, frozenset(), Speed(1.0, 100.0))
    quote = Quote(
        name, _TOKENS, 100, 200, 1_000, PriceRange(price, price, price, price), LatencyRange(1.0, 2.0),
        _MOMENT, "simulated", 100,
    )  # fmt: skip
    return Candidate(model, name, p, quote)


def _record(made: Decision, usage: LoggedUsage) -> DecisionRecord:
    explored = made.explored
    return DecisionRecord(
        version=VERSION,
        bundle="simulated",
        price_table="simulated",
        strict=False,
        importance=Importance.MEDIUM,
        goal=LoggedMissCost(_STAKE.nanos),
        constraints=LoggedConstraints(),
        conversation_id="",
        batch=False,
        complexity=1.0,
        features=(),
        p_adequate={each.model.id: each.p_adequate or 0.0 for each in made.ranked},
        label_distribution={},
        lengths={},
        propensity=made.propensity,
        reasons=tuple(reason.code for reason in made.reasons),
        limits=(),
        candidates=tuple(map(_logged, made.ranked)),
        usage=usage,
        exploration=None
        if explored is None
        else LoggedExploration(
            explored.given.share,
            explored.given.regret,
            explored.given.draw,
            dict(explored.chances),
        ),
    )


def _logged(one: Candidate) -> LoggedCandidate:
    assert one.quote is not None  # noqa: S101 — of _candidate
    return LoggedCandidate(
        one.model.id, one.model.tier, one.arm, one.p_adequate, 100, True, 100,
        OutputTokens(100, 200, 1_000), ReasoningTokens(0, 0), PriceNanos(*one.quote.price),
        LatencySeconds(1.0, 2.0),
    )  # fmt: skip
