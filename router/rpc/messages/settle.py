"""Messages of settlements."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.type.money_pb2 import Money

from mitsumori.v1 import router_pb2
from router.core.breaker import Outcome
from router.core.money import NANOS_PER_USD
from router.ledger.storage_format import MAX_AMOUNT
from router.routing.settlement import UsageReport
from router.rpc.messages.outcome import MAX_MODEL_CHARACTERS, outcome_of, parse_retry_after
from router.rpc.messages.rate_limits import parse_rate_limits
from router.rpc.messages.values import identifier, nanos, wrong

__all__ = ["check_tokens", "parse_cost", "parse_settle"]

_MAX_SETTLED_TOKENS = 100_000_000
"""Of one call: a hundred times the longest context window."""


def parse_settle(request: router_pb2.SettleRequest) -> UsageReport:
    """A validated report of usage.

    Raises:
        InvalidInput: names the field.
    """
    if not request.decision_id:
        raise wrong("decision_id", "must not be empty")
    identifier(request.decision_id, "decision_id")
    counts = {
        name: getattr(request, name)
        for name in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    }
    for name, count in counts.items():
        check_tokens(count, name)
    for part, whole in (
        ("cached_input_tokens", "input_tokens"),
        ("reasoning_tokens", "output_tokens"),
    ):
        if counts[part] > counts[whole]:
            raise wrong(part, f"must not be more than {whole}")
    outcome = outcome_of(request.outcome, Outcome.SUCCESS)
    if len(request.model) > MAX_MODEL_CHARACTERS:
        raise wrong("model", f"must have at most {MAX_MODEL_CHARACTERS} characters")
    details = {**counts, "outcome": outcome.value, **_details(request)}
    return UsageReport(
        model=request.model,
        input_tokens=counts["input_tokens"],
        cached_input_tokens=counts["cached_input_tokens"],
        output_tokens=counts["output_tokens"],
        cost=_cost(request),
        details=details,
        outcome=outcome,
        retry_after_s=parse_retry_after(request),
        rate_limits=parse_rate_limits(request),
    )


def check_tokens(count: int, field: str) -> None:
    """Refuse a number of tokens that no call can have used.

    Raises:
        InvalidInput: names the field.
    """
    if not 0 <= count <= _MAX_SETTLED_TOKENS:
        raise wrong(field, f"must be 0 to {_MAX_SETTLED_TOKENS:,}")


def parse_cost(amount: Money, field: str) -> int:
    """A cost that a ledger can book, nano-dollars.

    Raises:
        InvalidInput: names the field.
    """
    cost = nanos(amount, field)
    if cost > MAX_AMOUNT:
        raise wrong(field, f"must be at most {MAX_AMOUNT // NANOS_PER_USD:,} USD")
    return cost


def _cost(request: router_pb2.SettleRequest) -> int | None:
    if not request.HasField("cost"):
        return None
    return parse_cost(request.cost, "cost")


def _seconds(duration: Duration, field: str) -> float:
    seconds: float = duration.seconds + duration.nanos / 1e9
    if seconds < 0:
        raise wrong(field, "must not be negative")
    return seconds


def _details(request: router_pb2.SettleRequest) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if request.HasField("latency"):
        details["latency_s"] = _seconds(request.latency, "latency")
    if request.HasField("first_token_latency"):
        first = _seconds(request.first_token_latency, "first_token_latency")
        if first > details.get("latency_s", math.inf):
            raise wrong("first_token_latency", "must not be more than latency")
        details["first_token_s"] = first
    if request.HasField("quality"):
        if not (math.isfinite(request.quality) and 0 <= request.quality <= 1):
            raise wrong("quality", "must be a number from 0 to 1")
        details["quality"] = request.quality
    return details
