"""Messages that say how a call ended."""

from __future__ import annotations

from typing import Any

from mitsumori.v1 import router_pb2
from router.catalog.catalog import Catalog
from router.core.breaker import Outcome
from router.routing.model_health import OutcomeReport
from router.routing.router import FailedCall
from router.rpc.messages.rate_limits import parse_rate_limits
from router.rpc.messages.values import identifier, wrong

__all__ = [
    "MAX_MODEL_CHARACTERS",
    "outcome_of",
    "parse_failed",
    "parse_outcome",
    "parse_retry_after",
]

MAX_MODEL_CHARACTERS = 200
_MAX_ATTEMPT = 99
_NEEDS_NO_OTHER = frozenset({Outcome.SUCCESS, Outcome.TRUNCATED})


def outcome_of(value: int, unspecified: Outcome) -> Outcome:
    """How a call ended.

    Args:
        value: of the protocol.
        unspecified: what it means where none is given.

    Raises:
        InvalidInput: this server does not know the value.
    """
    if value not in router_pb2.Outcome.values():
        raise wrong("outcome", "must be a known outcome")
    if value == router_pb2.OUTCOME_UNSPECIFIED:
        return unspecified
    name = router_pb2.Outcome.Name(router_pb2.Outcome.ValueType(value))
    return Outcome(name.removeprefix("OUTCOME_").lower())


def parse_retry_after(request: Any) -> float:
    """How long the provider asked to wait, seconds ≥ 0; 0: it did not say.

    Raises:
        InvalidInput: it is negative.
    """
    if not request.HasField("retry_after"):
        return 0.0
    seconds: float = request.retry_after.seconds + request.retry_after.nanos / 1e9
    if seconds < 0:
        raise wrong("retry_after", "must not be negative")
    return seconds


def parse_outcome(request: router_pb2.ReportOutcomeRequest) -> OutcomeReport:
    """A validated report of an attempt.

    Raises:
        InvalidInput: names the field.
    """
    if not request.decision_id:
        raise wrong("decision_id", "must not be empty")
    identifier(request.decision_id, "decision_id")
    if request.outcome == router_pb2.OUTCOME_UNSPECIFIED:
        raise wrong("outcome", "must be set: it is all that is reported")
    if len(request.model) > MAX_MODEL_CHARACTERS:
        raise wrong("model", f"must have at most {MAX_MODEL_CHARACTERS} characters")
    if not 0 <= request.attempt <= _MAX_ATTEMPT:
        raise wrong("attempt", f"must be 0 to {_MAX_ATTEMPT}")
    return OutcomeReport(
        request.model,
        outcome_of(request.outcome, Outcome.SUCCESS),
        parse_retry_after(request),
        request.attempt,
        parse_rate_limits(request),
    )


def parse_failed(request: router_pb2.RerouteRequest, catalog: Catalog) -> FailedCall | None:
    """What is reported of the call that failed; ``None`` where no model is named.

    Args:
        request: whose failed models are in the catalog.
        catalog: knows their providers.

    Raises:
        InvalidInput: names the field.
    """
    outcome = outcome_of(request.outcome, Outcome.ERROR)
    if outcome in _NEEDS_NO_OTHER:
        raise wrong(
            "outcome", "must be one for which another model is needed; settle what succeeded"
        )
    retry_after = parse_retry_after(request)
    if not request.failed_models:
        if request.outcome or retry_after:
            raise wrong("failed_models", "must name the models that failed with this outcome")
        return None
    failed = set(request.failed_models)
    providers = {each.spec.provider for each in catalog.entries if each.spec.id in failed}
    return FailedCall(outcome, retry_after, frozenset(providers))
