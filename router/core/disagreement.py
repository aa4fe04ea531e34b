"""What two ways of choosing a model say about the same requests, in sums that take no more room as they grow.

Each side quotes and scores by parts of its own, so that its own figures cannot be compared: a bundle that is
sure of itself is not better for that. So the choices of both are also judged by each side's parts.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Choice", "Compared", "Disagreement", "Judgement", "Moments"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A model for a prompt, as one side sees it.

    Attributes:
        nanos: expected price, nano-dollars ≥ 0.
        p_adequate: 0..1.
    """

    nanos: int
    p_adequate: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The choice of one side.

    Attributes:
        model: id.
        tier: of the model.
        own: as the side that chose sees it.
        others: as the other side sees it; ``None``: it does not know the model, or its price or arm.
    """

    model: str
    tier: str
    own: Judgement
    others: Judgement | None


@dataclass
class Moments:
    """Mean and spread of some values, by Welford's updates.

    Attributes:
        count: of values, ≥ 0.
        mean: of the values; 0 where there are none.
    """

    count: int = 0
    mean: float = 0.0
    _squares: float = 0.0

    def add(self, value: float) -> None:
        """Count one more value."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self._squares += step * (value - self.mean)

    @property
    def standard_error(self) -> float | None:
        """Of the mean; ``None`` below two values."""
        if self.count < 2:
            return None
        return math.sqrt(self._squares / (self.count - 1) / self.count)


@dataclass
class Compared:
    """A price and a probability, each with mean and spread.

    Attributes:
        nanos: nano-dollars.
        p_adequate: a probability, or a difference of two.
    """

    nanos: Moments = field(default_factory=Moments)
    p_adequate: Moments = field(default_factory=Moments)

    def add(self, nanos: float, p_adequate: float) -> None:
        """Count one more of both."""
        self.nanos.add(nanos)
        self.p_adequate.add(p_adequate)


@dataclass
class Disagreement:
    """The sums over pairs of choices.

    Attributes:
        calls: pairs.
        same_model: pairs with one model.
        same_tier: pairs with one tier.
        tiers: tier of the live choice and of the other → pairs.
        live: the live choices by the live parts.
        shadow: the other choices by their own parts.
        by_live: by how much the other choice is above the live one, both by the live parts.
        by_shadow: the same, both by the other parts.
    """

    calls: int = 0
    same_model: int = 0
    same_tier: int = 0
    tiers: Counter[tuple[str, str]] = field(default_factory=Counter)
    live: Compared = field(default_factory=Compared)
    shadow: Compared = field(default_factory=Compared)
    by_live: Compared = field(default_factory=Compared)
    by_shadow: Compared = field(default_factory=Compared)

    def add(self, live: Choice, shadow: Choice) -> None:
        """Count the two choices for one request.

        Args:
            live: that was made.
            shadow: that would have been made.
        """
        self.calls += 1
        self.same_model += live.model == shadow.model
        self.same_tier += live.tier == shadow.tier
        self.tiers[live.tier, shadow.tier] += 1
        self.live.add(live.own.nanos, live.own.p_adequate)
        self.shadow.add(shadow.own.nanos, shadow.own.p_adequate)
        if shadow.others is not None:
            self.by_live.add(*_above(shadow.others, live.own))
        if live.others is not None:
            self.by_shadow.add(*_above(shadow.own, live.others))


def _above(one: Judgement, other: Judgement) -> tuple[int, float]:
    return one.nanos - other.nanos, one.p_adequate - other.p_adequate
