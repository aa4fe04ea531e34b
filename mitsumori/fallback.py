"""What a caller who chose to fail open gets where the service gives no answer: a decision that says so."""

from __future__ import annotations

import logging
from dataclasses import replace

from mitsumori.decision import Decision, Reason
from mitsumori.errors import CallFailed
from mitsumori.v1 import router_pb2

__all__ = ["fallback_decision", "is_fallback"]

_PREFIX = "fallback/"
"""Begins the ids of such decisions. No server takes an id with a slash, so none has one of them."""
_LOG = logging.getLogger("mitsumori")


def fallback_decision(model: str, request_id: str, failure: CallFailed) -> Decision:
    """A decision that only names a model and says why. Nothing was quoted: all its amounts are zero.

    Args:
        model: to call; by the caller's choice.
        request_id: of the request without an answer.
        failure: why there is none.
    """
    _LOG.warning("no answer (%s %s): %s is used", failure.code, failure.reason, model)
    reason = Reason(
        code="FALLBACK",
        text=f"{model} is the fallback model: {failure.message}",
        facts={"code": failure.code, "reason": failure.reason},
    )
    reply = router_pb2.RouteResponse(
        decision_id=f"{_PREFIX}{request_id}", chosen=router_pb2.Option(model=model)
    )
    return replace(Decision.of(reply), reasons=(reason,), fallback=True)


def is_fallback(decision_id: str) -> bool:
    """Whether the client alone made a decision, so that no server knows it."""
    return decision_id.startswith(_PREFIX)
