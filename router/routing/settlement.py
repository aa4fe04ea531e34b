"""What a caller reports about a call, and the money that is booked for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from router.catalog.catalog import Catalog
from router.core.breaker import Outcome
from router.core.errors import InvalidInput
from router.core.load import RateLimits
from router.core.money import short_usd
from router.core.pricing import call_price

__all__ = ["UsageReport", "check_plausible", "money_of"]


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What a caller reports about a call.

    Attributes:
        model: the model that was called; empty: the chosen one.
        input_tokens: ≥ 0, the cached ones included.
        cached_input_tokens: of these, read from the provider's cache.
        output_tokens: ≥ 0, hidden reasoning included.
        cost: what the provider charged, nano-dollars; ``None`` where unknown: then the tokens are priced at
            the rates in force when the decision was made.
        details: written to the log as they are.
        outcome: how the call ended.
        retry_after_s: how long the provider asked to wait, seconds ≥ 0; 0: it did not say.
        rate_limits: what the provider said of its limits; ``None``: nothing.
    """

    model: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost: int | None
    details: Mapping[str, Any]
    outcome: Outcome = Outcome.SUCCESS
    retry_after_s: float = 0.0
    rate_limits: RateLimits | None = None


def money_of(report: UsageReport, model: str, decided: datetime, catalog: Catalog) -> int:
    """What a call cost, nano-dollars ≥ 0: as reported, else by the rates of its decision.

    Args:
        report: of the caller.
        model: that was called.
        decided: when the decision was made, aware.
        catalog: knows the rates.

    Raises:
        InvalidInput: no cost was given, and the model is not in the catalog or has no price.
    """
    if report.cost is not None:
        # Only here: a model outside the catalog is accepted where its cost is reported.
        return report.cost
    entry = catalog.priced(model)
    if entry is None:
        catalog.check_known("model", [model], catalog.ids)
    assert entry is not None  # noqa: S101 — an unknown name was refused
    rates = entry.rates_at(decided)
    if rates is None:
        raise InvalidInput(
            f"cost: {model} has no price, so the cost must be reported", field="cost"
        )
    return call_price(
        rates,
        report.input_tokens,
        report.output_tokens,
        cached_input_tokens=report.cached_input_tokens,
    )


def check_plausible(money: int, report: UsageReport, most: int) -> None:
    """Refuse a cost that can only be a mistake.

    Args:
        money: what a call cost, nano-dollars.
        report: of the caller.
        most: that one call may cost, nano-dollars.

    Raises:
        InvalidInput: it cost more.
    """
    if money <= most:
        return
    field = "output_tokens" if report.cost is None else "cost"
    raise InvalidInput(
        f"{field}: {short_usd(money)} is more than one call may cost here ({short_usd(most)},"
        " max_settle_usd); report what it really cost, or ask the administrator to raise the setting",
        reason="IMPLAUSIBLE",
        field=field,
    )
