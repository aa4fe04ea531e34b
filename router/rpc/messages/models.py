"""The models of a catalog as messages of the AdminService."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from mitsumori.v1 import admin_pb2
from router.catalog.catalog import Catalog
from router.classifier.manifest import BundleManifest
from router.classifier.model_ability import ability_of, arm_names, arm_of
from router.core.breaker import BreakerState
from router.core.timing import LearnedTiming
from router.routing.model_health import ModelHealth, ModelStatus
from router.rpc.messages.admin import fill_speed

__all__ = ["models_response"]


_STATES = {
    BreakerState.CLOSED: admin_pb2.HEALTH_STATE_HEALTHY,
    BreakerState.OPEN: admin_pb2.HEALTH_STATE_UNHEALTHY,
    BreakerState.HALF_OPEN: admin_pb2.HEALTH_STATE_TRIED,
}


def _text(rate: Decimal | None) -> str:
    return "" if rate is None else str(rate)


def models_response(
    catalog: Catalog,
    manifest: BundleManifest,
    bundle_version: str,
    now: datetime,
    timings: Mapping[str, LearnedTiming],
    health: ModelHealth | None = None,
) -> admin_pb2.ListModelsResponse:
    """Every model with its prices at a moment, and its ability by what a bundle knows.

    Args:
        catalog: the models.
        manifest: of the bundle.
        bundle_version: its name and hash.
        now: an aware moment.
        timings: how fast models are by their settled calls, by id.
        health: of the models, as a server knows it; ``None``: no server is asked.
    """
    reply = admin_pb2.ListModelsResponse(
        price_table_version=catalog.price_table, bundle_version=bundle_version
    )
    arms = arm_names(manifest)
    for entry in catalog.entries:
        model = entry.at(now)
        rates = model.rates
        ability = ability_of(model, arm_of(model.id, model.tier, arms), manifest)
        told = reply.models.add(
            model=model.id,
            provider=model.provider,
            tier=model.tier,
            input_usd_per_mtok=_text(rates.input if rates else None),
            output_usd_per_mtok=_text(rates.output if rates else None),
            cache_read_usd_per_mtok=_text(rates.cache_read if rates else None),
            context_window=model.context_window,
            max_output_tokens=model.max_output_tokens,
            exact_tokens=entry.exact_tokens,
            capabilities=sorted(model.capabilities),
            regions=sorted(model.regions),
            retires=str(entry.spec.retires or ""),
            replaced_by=entry.spec.replaced_by or "",
            ability=admin_pb2.ModelAbility(
                points=ability.points,
                uncertainty=ability.uncertainty,
                source=ability.source,
                basis=ability.basis,
            ),
            speed=admin_pb2.ModelSpeed(
                first_token_s=model.speed.first_token_s,
                output_tokens_per_s=model.speed.output_tokens_per_s,
            ),
        )
        if (timing := timings.get(model.id)) is not None:
            fill_speed(told.learned_speed, timing)
        if (allowed := model.reasoning) is not None:
            told.reasoning_tokens.p50 = allowed.p50
            told.reasoning_tokens.p90 = allowed.p90
            told.reasoning_tokens.p99 = allowed.p99
        if health is not None:
            _fill_health(told.health, health.status(model.id, model.provider))
    return reply


def _fill_health(target: admin_pb2.ModelHealth, status: ModelStatus) -> None:
    target.state = _STATES[status.state]
    target.failures, target.cause = status.failures, status.cause
    if status.since is not None:
        target.since_time.FromDatetime(status.since)
    if status.retry is not None:
        target.retry_time.FromDatetime(status.retry)
