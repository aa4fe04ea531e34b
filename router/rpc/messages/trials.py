"""Messages of what is on trial: the shadow beside what was chosen, the canary beside the rest."""

from __future__ import annotations

from mitsumori.v1 import admin_pb2
from router.core.canary import CAP, Check
from router.core.disagreement import Compared, Moments
from router.core.money import NANOS_PER_USD
from router.routing.canary import CanaryReport
from router.routing.shadow import ShadowReport

__all__ = ["canary_response", "shadow_response"]


def shadow_response(report: ShadowReport) -> admin_pb2.GetShadowResponse:
    """What a shadow has found."""
    found = report.found
    reply = admin_pb2.GetShadowResponse(
        version=report.version,
        parts=report.parts,
        problem=report.problem,
        calls=found.calls,
        same_model=found.same_model,
        same_tier=found.same_tier,
        failures=report.failures,
        dropped=report.dropped,
    )
    if report.since is not None:
        reply.since_time.FromDatetime(report.since)
    for (live, shadow), calls in sorted(found.tiers.items()):
        reply.tiers.add(live=live, shadow=shadow, calls=calls)
    for target, compared in (
        (reply.live, found.live),
        (reply.shadow, found.shadow),
        (reply.by_live, found.by_live),
        (reply.by_shadow, found.by_shadow),
    ):
        _fill_compared(target, compared)
    return reply


def _fill_compared(target: admin_pb2.ComparedChoices, compared: Compared) -> None:
    _fill_average(target.price_usd, compared.nanos, NANOS_PER_USD)
    _fill_average(target.p_adequate, compared.p_adequate, 1)


def _fill_average(target: admin_pb2.Average, moments: Moments, unit: int) -> None:
    target.count, target.mean = moments.count, moments.mean / unit
    if moments.standard_error is not None:
        target.standard_error = moments.standard_error / unit


def canary_response(report: CanaryReport) -> admin_pb2.GetCanaryResponse:
    """What a canary has come to."""
    reply = admin_pb2.GetCanaryResponse(
        version=report.version, parts=report.parts, problem=report.problem
    )
    if report.plan is None:
        return reply
    reply.share = report.plan.share
    reply.scope.update(report.plan.scope)
    if report.halted is not None:
        reply.halt.check, reply.halt.text = report.halted.check, report.halted.text
        reply.halt.halt_time.FromDatetime(report.halted.time)
    # A cost is counted as a share of so many usual ones.
    most = CAP * (report.tally.usual or 0) / NANOS_PER_USD
    units: dict[Check, float] = {"quality": 1, "cost": most, "errors": 1}
    for check, evidence in report.evidence.items():
        canary = getattr(report.tally.canary, check)
        rest = getattr(report.tally.rest, check)
        reply.comparisons.add(
            check=check,
            canary_calls=canary.count,
            canary_mean=canary.mean * units[check],
            rest_calls=rest.count,
            rest_mean=rest.mean * units[check],
            margin=getattr(report.plan.margins, check),
            evidence=evidence,
        )
    return reply
