"""Schedule: how soon many calls can be made within the limits of their providers. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from router.core.load import Gauge, Load, quoted_tokens, usable
from router.core.types import Quote

__all__ = ["Demand", "Finish", "earliest_finish"]


@dataclass
class Demand:
    """What many calls need together.

    Attributes:
        calls: how many.
        tokens: input, and the 90th percentile of the output.
        seconds: sum of the medians of their latencies.
        token_seconds: the same, each times its tokens.
        longest_s: the longest of the medians, seconds.
    """

    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    token_seconds: float = 0.0
    longest_s: float = 0.0

    def add(self, quote: Quote) -> None:
        """Add one call."""
        tokens, latency = quoted_tokens(quote), quote.latency.p50_s
        self.calls += 1
        self.tokens += tokens
        self.seconds += latency
        self.token_seconds += tokens * latency
        self.longest_s = max(self.longest_s, latency)

    def include(self, other: Demand) -> None:
        """Add the calls of another."""
        self.calls += other.calls
        self.tokens += other.tokens
        self.seconds += other.seconds
        self.token_seconds += other.token_seconds
        self.longest_s = max(self.longest_s, other.longest_s)


class Finish(NamedTuple):
    """When all calls have their answers at the earliest.

    Attributes:
        seconds: from now, ≥ 0.
        limit: that says so, as a phrase; empty: all calls can be made at once.
    """

    seconds: float
    limit: str


def earliest_finish(demands: Iterable[tuple[tuple[str, str], Demand]], load: Load) -> Finish | None:
    """When calls to some models can be finished; ``None`` where no limit of their providers is known.

    Args:
        demands: (provider, model) → what the calls to it need.
        load: how far limits are used, and up to which share these calls may use them.
    """
    providers: defaultdict[str, Demand] = defaultdict(Demand)
    pairs: list[tuple[Gauge, Demand]] = []
    longest = 0.0
    for (provider, model), demand in demands:
        providers[provider].include(demand)
        pairs += [(each, demand) for each in load.models.get(model, ())]
        longest = max(longest, demand.longest_s)
    pairs += [
        (each, all_) for name, all_ in providers.items() for each in load.providers.get(name, ())
    ]
    if not pairs:
        return None
    waits = [
        (_seconds(gauge, demand, load.share), f"{gauge.limit} of {gauge.account}")
        for gauge, demand in pairs
    ]
    wait, limit = max(waits, key=lambda one: one[0])
    return Finish(wait + longest, limit if wait > 0 else "")


def _seconds(gauge: Gauge, demand: Demand, share: float) -> float:
    """How long a limit makes the last call wait."""
    bound = max(usable(gauge.most, share), 1)
    if gauge.rate:
        needed = demand.tokens if gauge.counts_tokens else demand.calls
        over = needed - max(bound - gauge.used, 0)
        return max(over, 0) / (gauge.rate * share)
    busy = demand.token_seconds if gauge.counts_tokens else demand.seconds
    # The last call needs no other to end after it.
    return max(busy / bound - demand.longest_s, 0.0)
