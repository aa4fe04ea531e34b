"""What befalls the providers during the hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["CALM", "CONDITIONS", "Condition", "Victims"]

FROM_S, UNTIL_S = 1_200.0, 1_800.0
"""Outages and slow times last ten minutes, in the middle of the hour."""


@dataclass(frozen=True)
class Victims:
    """Whom it befalls: what is called most in the calm hour, so that it matters.

    Attributes:
        model: id of the model that is called most.
        provider: that is called most.
        calls_per_minute: by provider, in its busiest minute.
    """

    model: str
    provider: str
    calls_per_minute: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition:
    """A way in which an hour can go.

    Attributes:
        name: for tables.
        text: what happens, for people.
        outage: whether the provider that is called most fails for ten minutes.
        slowdown: how many times slower the model that is called most is for ten minutes, ≥ 1.
        rate_limit: calls per minute that the provider called most allows, as a share of its busiest minute;
            ``None``: plenty.
        batch: work that can wait and comes within one minute, as a share of the hour's requests.
    """

    name: str
    text: str
    outage: bool = False
    slowdown: float = 1.0
    rate_limit: float | None = None
    batch: float = 0.0

    def fails(self, provider: str, at_s: float, victims: Victims) -> bool:
        """Whether a provider is in an outage at a moment.

        Args:
            provider: by name.
            at_s: seconds since the start.
            victims: of the condition.
        """
        return self.outage and provider == victims.provider and FROM_S <= at_s < UNTIL_S

    def slower(self, model: str, at_s: float, victims: Victims) -> float:
        """How many times slower a model is at a moment, ≥ 1.

        Args:
            model: by id.
            at_s: seconds since the start.
            victims: of the condition.
        """
        return self.slowdown if model == victims.model and FROM_S <= at_s < UNTIL_S else 1.0

    def calls_per_minute(self, provider: str, victims: Victims) -> int | None:
        """What a provider allows; ``None``: plenty.

        Args:
            provider: by name.
            victims: of the condition.
        """
        if self.rate_limit is None:
            return None
        if self.batch:
            busiest = victims.calls_per_minute.get(provider, 0)
            return max(int(self.rate_limit * busiest), 5)
        if provider != victims.provider:
            return None
        return max(int(self.rate_limit * victims.calls_per_minute[provider]), 1)

    def allowed(self, providers: Iterable[str], victims: Victims) -> dict[str, int]:
        """Calls per minute, by provider that does not allow plenty.

        Args:
            providers: by name.
            victims: of the condition.
        """
        each = {name: self.calls_per_minute(name, victims) for name in sorted(providers)}
        return {name: calls for name, calls in each.items() if calls is not None}


CALM: Final = Condition("calm", "nothing happens")
CONDITIONS: Final = (
    CALM,
    Condition("outage", "the provider called most fails for ten minutes", outage=True),
    Condition(
        "throttled",
        "the provider called most allows 40 % of its busiest minute",
        rate_limit=0.4,
    ),
    Condition("slow", "the model called most is ten times slower for ten minutes", slowdown=10.0),
    Condition(
        "batch",
        "batch work of a third of the hour comes in one minute; providers allow twice their busiest minute",
        rate_limit=2.0,
        batch=1 / 3,
    ),
)
