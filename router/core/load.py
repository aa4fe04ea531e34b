"""Load: how full the accounts of providers are, and what a decision makes of it. Pure.

A provider bounds what an account may do: requests and tokens in a minute, or at once. A call that would pass
a bound is not sent there. Less important work stops before the bound is reached, so that there is room for
what matters; batch work waits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from router.core.errors import Deferred, Exhausted
from router.core.goals import by_price, quote_of
from router.core.money import format_usd
from router.core.types import Candidate, Importance, Quote, Reason

__all__ = [
    "NO_LOAD",
    "PROVIDER_FULL",
    "WINDOW_S",
    "AccountLimits",
    "Full",
    "Gauge",
    "Leaving",
    "Load",
    "LoadShares",
    "ProviderLimits",
    "RateLimit",
    "RateLimits",
    "full_accounts",
    "load_refusal",
    "load_shifted",
    "quoted_tokens",
    "usable",
]

PROVIDER_FULL: Final = "provider_full"
"""The exclusion of a candidate for which its provider has no room."""
WINDOW_S: Final = 60
"""What "per minute" means, seconds."""


@dataclass(frozen=True)
class AccountLimits:
    """What a provider allows an account; each > 0, ``None``: not bounded.

    Attributes:
        requests_per_minute: requests that begin in any minute.
        tokens_per_minute: input and output tokens of these.
        requests_in_flight: requests at once.
        tokens_in_flight: input and output tokens of these.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_in_flight: int | None = None
    tokens_in_flight: int | None = None


@dataclass(frozen=True)
class ProviderLimits(AccountLimits):
    """The limits of an account over all its models, and of single models.

    Attributes:
        models: catalog id → limits of this model, which hold besides those of the account.
    """

    models: Mapping[str, AccountLimits] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadShares:
    """The share of a limit of a provider up to which work may use it, each above 0 and at most 1.

    Attributes:
        batch: work that can wait, whatever its importance.
        low: other work of low importance.
        medium: likewise.
        high: likewise.
    """

    batch: float = 0.7
    low: float = 0.8
    medium: float = 0.9
    high: float = 1.0

    def of(self, importance: Importance, *, batch: bool) -> float:
        """The share of a request."""
        share: float = self.batch if batch else getattr(self, importance.value)
        return share


class RateLimit(NamedTuple):
    """What a provider says of one of its limits, in the headers of an answer.

    Attributes:
        limit: what it allows, > 0.
        remaining: of it, 0 to ``limit``.
        reset_s: until all of it is there again, seconds ≥ 0.
    """

    limit: int
    remaining: int
    reset_s: float = float(WINDOW_S)

    def used(self, age_s: float) -> int:
        """How much is used after a time; it comes back evenly until the reset.

        Args:
            age_s: since the answer, seconds ≥ 0.
        """
        if age_s >= self.reset_s:
            return 0
        return math.ceil((self.limit - self.remaining) * (1 - age_s / self.reset_s))


class RateLimits(NamedTuple):
    """What a provider says of its limits; ``None``: it does not say.

    Attributes:
        requests: that may be made.
        tokens: of these.
    """

    requests: RateLimit | None = None
    tokens: RateLimit | None = None


class Leaving(NamedTuple):
    """When what is used stops to count.

    Attributes:
        first_s: seconds from now until the first of the amounts does.
        amounts: each stops a second after the one before, all ≥ 0.
    """

    first_s: float
    amounts: tuple[int, ...]


class Gauge(NamedTuple):
    """How far one limit of an account is used.

    Attributes:
        account: name of the provider, or ``provider/model``.
        limit: name of the limit, such as ``tokens_per_minute``.
        most: what it allows, > 0.
        used: of it, ≥ 0.
        counts_tokens: whether it counts tokens; otherwise requests.
        rate: how much of it comes back in a second, > 0; 0: as calls end.
        leaving: when what is used stops to count; ``None``: evenly, at the rate.
    """

    account: str
    limit: str
    most: int
    used: int
    counts_tokens: bool
    rate: float
    leaving: Leaving | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How far limits of providers are used at one moment, for one request.

    Attributes:
        providers: name → gauges of its account.
        models: id → gauges of this model alone.
        share: up to which the request may use a limit, above 0 and at most 1.
        queues: name of a queue of batch work → seconds from now until its next turn, > 0.
    """

    providers: Mapping[str, tuple[Gauge, ...]] = field(default_factory=dict)
    models: Mapping[str, tuple[Gauge, ...]] = field(default_factory=dict)
    share: float = 1.0
    queues: Mapping[str, float] = field(default_factory=dict)

    def gauges(self, provider: str, model: str) -> tuple[Gauge, ...]:
        """The gauges that a call to a model counts on; ``model`` is its id."""
        return self.providers.get(provider, ()) + self.models.get(model, ())


NO_LOAD: Final = Load()


class Full(NamedTuple):
    """A limit that has no room for a call.

    Attributes:
        gauge: how far it is used.
        needed: what the call needs of it.
        wait_s: until there is room, seconds ≥ 0; ``None``: there never is, the limit is too small.
        spacing_s: how long the limit needs for one call like this, seconds ≥ 0.
    """

    gauge: Gauge
    needed: int
    wait_s: float | None
    spacing_s: float

    @property
    def queue(self) -> str:
        """Names the batch work that waits for it."""
        return f"{self.gauge.account} {self.gauge.limit}"


def quoted_tokens(quote: Quote) -> int:
    """What a call is taken to count on a limit of tokens: input and the 90th percentile of the output."""
    return quote.input_tokens.tokens + quote.output_tokens_p90


def usable(most: int, share: float) -> int:
    """The share of a limit as a whole number.

    Args:
        most: the limit, > 0.
        share: above 0 and at most 1.
    """
    return int(round(most * share, 6))  # 0.29 × 100 is 28.999…


def full_accounts(eligible: Sequence[Candidate], load: Load) -> dict[str, Full]:
    """For each candidate without room, by id, the limit for which it would wait longest."""
    found = {}
    providers, models = (
        {
            name: [(each, usable(each.most, load.share)) for each in gauges]
            for name, gauges in accounts.items()
        }
        for accounts in (load.providers, load.models)
    )
    for each in eligible:
        model, quote = each.model, quote_of(each)
        tokens = quoted_tokens(quote)
        full = [
            _lack(
                gauge, tokens if gauge.counts_tokens else 1, quote.latency.p50_s, bound, load.share
            )
            for gauges in (providers.get(model.provider, ()), models.get(model.id, ()))
            for gauge, bound in gauges
            if gauge.used + (tokens if gauge.counts_tokens else 1) > bound
        ]
        lacking = [one for one in full if one is not None]
        if lacking:
            # max takes the first of equals: the account before the model.
            found[model.id] = max(lacking, key=_wait)
    return found


def _wait(full: Full) -> float:
    return float("inf") if full.wait_s is None else full.wait_s


def _lack(gauge: Gauge, needed: int, latency: float, bound: int, share: float) -> Full | None:
    """The gauge as full for a call that would pass the bound; ``None`` where it may be sent all the same.

    A call that needs more than the share, but not more than the limit, has room where nothing else counts:
    it would never be sent otherwise.
    """
    excess = gauge.used - max(bound - needed, 0)
    if needed <= gauge.most and excess <= 0:
        return None
    rate = gauge.rate or (gauge.most / latency if latency > 0 else 0.0)
    spacing = needed / (rate * share) if rate > 0 else 0.0
    wait = None if needed > gauge.most else _frees_in(gauge, excess, latency)
    return Full(gauge, needed, wait, spacing)


def _frees_in(gauge: Gauge, amount: int, latency_s: float) -> float:
    """Seconds until so much of what is used counts no more."""
    if gauge.leaving is not None:
        for seconds, leaving in enumerate(gauge.leaving.amounts):
            amount -= leaving
            if amount <= 0:
                return gauge.leaving.first_s + seconds
    if gauge.rate:
        return amount / gauge.rate
    # Calls in flight end one after the other, half of them within the median of their latency.
    return latency_s * amount / gauge.used if gauge.used else 0.0


def load_shifted(best: Candidate, chosen: Candidate, full: Mapping[str, Full]) -> Iterator[Reason]:
    """Why another model was chosen than without load, where that is so.

    Args:
        best: what would be chosen if there were room.
        chosen: what is.
        full: of :func:`full_accounts`.
    """
    found = full.get(best.model.id)
    if found is None:
        return
    gauge, needed = found.gauge, found.needed
    yield Reason(
        "LOAD_SHIFTED",
        f"{best.model.id} has no room for this call: {gauge.limit} of {gauge.account} is "
        f"{gauge.used:,} of {gauge.most:,}; {chosen.model.id} was chosen instead",
        {"without_load": best.model.id, **_facts(gauge, needed)},
    )


def _facts(gauge: Gauge, needed: int) -> dict[str, str]:
    return {
        "account": gauge.account,
        "provider_limit": gauge.limit,
        "most": str(gauge.most),
        "used": str(gauge.used),
        "needed": str(needed),
    }


def load_refusal(
    eligible: Sequence[Candidate],
    full: Mapping[str, Full],
    load: Load,
    *,
    batch: bool,
    moment: datetime | None,
) -> Exhausted:
    """The error where no candidate has room: the one that has room soonest, and when.

    Args:
        eligible: candidates that could be chosen otherwise, at least one.
        full: of :func:`full_accounts`, with all of them.
        load: for the same request.
        batch: whether the work can wait; then it waits for those who wait already.
        moment: the current time; ``None``: the error says only how long to wait.
    """
    queues = load.queues if batch else {}

    def turn(each: Candidate) -> float:
        found = full[each.model.id]
        return max(_wait(found), queues.get(found.queue, 0.0))

    nearest = min(eligible, key=lambda each: (turn(each), by_price(each)))
    gauge, needed, wait_s, spacing_s = full[nearest.model.id]
    facts = _facts(gauge, needed)
    if wait_s is None:
        return Exhausted(
            f"the call needs {needed:,} tokens, more than {gauge.limit} of {gauge.account}, {gauge.most:,}; "
            "shorten the prompt, set constraints.max_output_tokens or allow other models",
            reason="PROVIDER_LIMIT_NEVER_FITS",
            metadata=facts,
        )
    facts |= {
        "model": nearest.model.id,
        "expected_price_usd": format_usd(quote_of(nearest).price.expected)[1:],
    }
    if batch:
        return Deferred(
            f"{gauge.limit} of {gauge.account}: batch work waits",
            reason="LOAD_DEFERRED",
            metadata=facts,
            queue=full[nearest.model.id].queue,
            retry_after_s=wait_s,
            spacing_s=spacing_s,
        )
    when = ""
    if moment is not None:
        free = moment + timedelta(seconds=wait_s)
        facts["not_before"] = free.isoformat(timespec="milliseconds")
        when = f" from {free:%H:%M:%S} UTC"
    return Exhausted(
        f"no model that could be chosen has room within the limits of its provider; {nearest.model.id} has"
        f" some{when}, for {facts['expected_price_usd']} USD",
        reason="PROVIDERS_FULL",
        metadata=facts,
        retry_after_s=wait_s,
    )
