"""Quality against cost of a router over many arms, as pure functions of numpy arrays.

The protocol is that of RouterBench (Hu et al. 2024: AIQ). Notation: ``n`` prompts, ``k`` arms, ``b``
bootstrap resamples, ``l`` points of a sweep. Qualities and probabilities are in 0..1, measured costs are
int64 nano-dollars.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.evaluation.metrics import Floats, unit_counts

__all__ = [
    "Points",
    "Sweep",
    "aiq",
    "aiq_over_singles",
    "cost_at_quality",
    "hull",
    "quality_at_cost",
    "single_arms",
    "sweep",
]

LAMBDAS = 200


@dataclass(frozen=True)
class Points:
    """Where the points of a sweep lie on ``b`` resamples.

    Attributes:
        cost: float64 ``(b, l)``, mean cost in USD.
        quality: float64 ``(b, l)``, mean quality.
    """

    cost: Floats
    quality: Floats

    @classmethod
    def of(cls, values: Floats) -> Points:
        """From what :meth:`Sweep.statistic` gave, float64 ``(b, 2, l)``."""
        return cls(values[:, 0], values[:, 1])


@dataclass(frozen=True)
class Sweep:
    """A router at every willingness to pay.

    Attributes:
        quality: float32 ``(l, n)``, quality of the arm chosen for each prompt.
        cost: float32 ``(l, n)``, its cost in USD.
    """

    quality: npt.NDArray[np.float32]
    cost: npt.NDArray[np.float32]

    def statistic(self, counts: Floats) -> Floats:
        """Mean cost in USD and mean quality of each point, float64 ``(b, 2, l)``."""
        share = (counts / counts.sum(axis=0)).astype(np.float32)
        return np.stack([(self.cost @ share).T, (self.quality @ share).T], axis=1).astype(
            np.float64
        )

    def points(self) -> Points:
        """The points on all prompts, ``b`` = 1."""
        return Points.of(self.statistic(unit_counts(self.quality.shape[1])))


def _lambdas(p_adequate: Floats, decision_cost: Floats) -> Floats:
    """RouterBench's range of λ, and the values where the choices in question really change."""
    turns = []
    for weak in range(p_adequate.shape[1]):
        for strong in range(weak + 1, p_adequate.shape[1]):
            gain = p_adequate[:, strong] - p_adequate[:, weak]
            price = decision_cost[:, strong] - decision_cost[:, weak]
            same_sign = (gain * price) > 0
            turns.append(price[same_sign] / gain[same_sign])
    found = np.concatenate(turns)
    middle = np.quantile(found, np.linspace(0, 1, LAMBDAS)) if len(found) else np.zeros(0)
    # A hair above each turn, so that the prompt that defines it has turned.
    return np.unique(np.concatenate([np.logspace(-10, 9, 20), middle * (1 + 1e-9)]))


def sweep(
    p_adequate: Floats,
    decision_cost: Floats,
    quality: Floats,
    cost_nanos: npt.NDArray[np.int64],
    again: Callable[[float], Floats] | None = None,
) -> Sweep:
    """Choose argmax(λ·P − cost) for every λ (RouterBench, section 4).

    Args:
        p_adequate: float64 ``(n, k)``, the router's predictions.
        decision_cost: float64 ``(n, k)`` or ``(1, k)``, USD, the expected cost of a call.
        quality: float64 ``(n, k)``, what really happened.
        cost_nanos: int64 ``(n, k)``, what it really cost.
        again: λ → the router's predictions, float64 ``(n, k)``, where they depend on λ.
    """
    expected_cost = np.broadcast_to(decision_cost, p_adequate.shape)
    # In order of cost, so that of equally good choices argmax takes the cheaper.
    arms = np.argsort(expected_cost.mean(axis=0), kind="stable")
    price = expected_cost[:, arms]
    rows = np.arange(len(quality))
    usd = (cost_nanos[:, arms] / 1e9).astype(np.float32)
    good = quality[:, arms].astype(np.float32)
    choices = [np.full(len(rows), -1)]
    for value in _lambdas(p_adequate, expected_cost):
        probability = p_adequate if again is None else again(value)
        choice = np.argmax(value * probability[:, arms] - price, axis=1)
        if (choice != choices[-1]).any():
            choices.append(choice)
    return Sweep(
        np.stack([good[rows, choice] for choice in choices[1:]]),
        np.stack([usd[rows, choice] for choice in choices[1:]]),
    )


def single_arms(quality: Floats, cost_nanos: npt.NDArray[np.int64]) -> Sweep:
    """Each arm for every prompt, as a sweep of ``k`` points: the zero router."""
    return Sweep(
        np.ascontiguousarray(quality.T, dtype=np.float32),
        np.ascontiguousarray(cost_nanos.T / 1e9, dtype=np.float32),
    )


def hull(cost: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """The non-decreasing convex (upper) hull of points, in ascending order of cost.

    Args:
        cost: float64 ``(l,)``.
        quality: float64 ``(l,)``.
    """
    kept: list[tuple[float, float]] = []
    for x, y in sorted(
        zip(cost.tolist(), quality.tolist(), strict=True), key=lambda p: (p[0], -p[1])
    ):
        if kept and (x == kept[-1][0] or y <= kept[-1][1]):
            continue
        while len(kept) > 1 and (kept[-1][1] - kept[-2][1]) * (x - kept[-2][0]) <= (
            y - kept[-2][1]
        ) * (kept[-1][0] - kept[-2][0]):
            kept.pop()
        kept.append((x, y))
    points = np.asarray(kept, dtype=np.float64)
    return points[:, 0], points[:, 1]


def aiq(cost: Floats, quality: Floats, low: float, high: float) -> float:
    """Average improvement in quality (RouterBench): mean height of the hull over a range of cost.

    Args:
        cost: float64 ``(l,)``, mean cost of each point.
        quality: float64 ``(l,)``, mean quality of each point.
        low: cost of the cheapest single arm.
        high: cost of the most expensive single arm; the hull is extended flat up to it.

    Returns:
        0..1, or NaN where the range is empty.
    """
    if not high > low:
        return float("nan")
    xs, ys = hull(cost, quality)
    inside = xs[(xs > low) & (xs < high)]
    grid = np.concatenate([[low], inside, [high]])
    return float(np.trapezoid(np.interp(grid, xs, ys), grid) / (high - low))


def aiq_over_singles(router: Points, singles: Points) -> Floats:
    """:func:`aiq` over the range of the single arms' costs, per resample ``(b,)``."""
    low, high = singles.cost.min(axis=1), singles.cost.max(axis=1)
    return np.array([aiq(*row) for row in zip(router.cost, router.quality, low, high, strict=True)])


def cost_at_quality(router: Points, singles: Points, share: float) -> Floats:
    """The least cost that reaches a share of the strongest arm's quality, per resample ``(b,)``.

    Args:
        router: a sweep over willingness to pay.
        singles: the single arms; the last one is the strongest.
        share: part of the strongest arm's mean quality to reach, such as .99.

    Returns:
        Cost as a share of always using the strongest arm, at most 1: that can always be had.
    """
    # The tolerance is that of a mean in float32.
    enough = router.quality >= share * singles.quality[:, -1:] - 1e-6
    least = np.where(enough, router.cost, np.inf).min(axis=1)
    return np.asarray(np.minimum(least / singles.cost[:, -1], 1.0))


def quality_at_cost(router: Points, singles: Points, arm: int) -> Floats:
    """How much better than a single arm the router is for no more money, per resample ``(b,)``.

    Args:
        router: a sweep over willingness to pay.
        singles: the single arms.
        arm: place of the arm that is compared with.

    Returns:
        Difference of mean qualities, −1..1; NaN where no point of the sweep is as cheap.
    """
    affordable = router.cost <= singles.cost[:, arm : arm + 1] * (1 + 1e-6)
    best = np.where(affordable, router.quality, -np.inf).max(axis=1)
    gain = best - singles.quality[:, arm]
    return np.where(np.isfinite(gain), gain, np.nan)
