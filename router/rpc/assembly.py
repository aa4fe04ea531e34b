"""Makes what calls run on from the settings: bundle, catalog, router and reservations, and their changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from router.catalog.catalog import Catalog, load_catalog, watch_catalog
from router.catalog.tokens import TokenCounter
from router.classifier.bundle import Bundle
from router.classifier.gadget_guard import load_guard
from router.classifier.hot_swap import ServedBundle, open_bundle_source
from router.clock import utc_now
from router.core.errors import BadArtifact, Unavailable
from router.core.money import NANOS_PER_USD
from router.decision_log.prompt_log import PromptLog
from router.ledger.base import Ledger
from router.logs import set_level
from router.routing.canary import Canary
from router.routing.chance import Chance
from router.routing.conversations import Conversations
from router.routing.correction_learner import CorrectionLearner
from router.routing.deferrals import Deferrals
from router.routing.label_names import LabelNames
from router.routing.model_health import ModelHealth
from router.routing.provider_load import ProviderLoad
from router.routing.reservations import Reservations
from router.routing.router import Router
from router.routing.shadow import Shadow
from router.routing.state_exchange import StateExchange
from router.rpc.live_state import LiveState, Parts, Sources
from router.rpc.messages.route import render_example
from router.rpc.settings_change import SettingsFile, settings_version, watch_settings
from router.rpc.snapshot import Snapshot
from router.rpc.trial_input import TrialInput
from router.rules.routing_table import Rules, load_rules, watch_rules
from router.settings import Settings
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = [
    "build_reservations",
    "build_router",
    "check_provider_limits",
    "exchange_of",
    "live_state_of",
    "sources_of",
]


def _open_bundle(settings: Settings) -> ServedBundle:
    """Load the bundle that the settings name.

    Raises:
        BadArtifact, Unavailable: no bundle can serve.
    """
    return ServedBundle(
        open_bundle_source(settings.bundle, settings.registry, settings.registry_cache),
        settings.encoders,
        settings.bundle_public_keys,
    )


def build_router(
    settings: Settings,
    now: Callable[[], datetime] = utc_now,
    *,
    catalog: Catalog | None = None,
    bundle: Bundle | None = None,
    tokens: TokenCounter | None = None,
    rules: Rules | None = None,
) -> Router:
    """Load everything that a Route call needs.

    Args:
        settings: of the service.
        now: the clock; returns an aware datetime.
        catalog: a loaded catalog; ``None`` loads that of the settings.
        bundle: a loaded bundle; ``None`` loads that of the settings.
        tokens: counts tokens; ``None`` makes a counter.
        rules: of the routing table; ``None`` loads those of the settings.

    Raises:
        BadArtifact, Unavailable: the bundle, encoder, guard, catalog, tokenizer or routing table is missing
            or damaged, the rules do not fit the catalog, or the registry does not answer and the cache is
            empty.
    """
    catalog = catalog or load_catalog(settings.catalog)
    serving = bundle or _open_bundle(settings).current()
    return Router(
        bundles=lambda: serving,
        catalog=catalog,
        tokens=tokens or TokenCounter(settings.tokenizer_dir),
        default_goals=settings.default_goals,
        quote_ttl=timedelta(seconds=settings.quote_ttl_s),
        now=now,
        target_regret=settings.target_regret,
        settings_version=settings_version(settings),
        rules=rules or load_rules(settings.rules),
        explore=settings.explore,
        explore_regret=settings.explore_regret,
        guard=load_guard() if settings.gadget_guard else None,
    )


def _labels_of_settings(settings: Settings) -> frozenset[str]:
    """Names of labels that mean something to the service whatever the limits are."""
    retained = (name for rule in settings.retention for name in rule.labels)
    return frozenset({"tenant", *settings.correct_by, *retained})


def build_reservations(
    settings: Settings,
    router: Router,
    ledger: Ledger,
    observer: Observer = UNOBSERVED,
    load: ProviderLoad | None = None,
) -> Reservations:
    """Combine a router and a ledger.

    Args:
        settings: say how much to hold, for how long, and what to log of prompts.
        router: decides.
        ledger: holds.
        observer: is told what is decided and settled.
        load: of the accounts of providers; ``None``: nothing is known of it yet.

    Raises:
        MitsumoriError: the settings need an extra that is not installed, or have limits of a provider that
            the catalog does not know.
    """
    check_provider_limits(settings, router.catalog)
    return Reservations(
        router,
        ledger,
        strict=settings.strict,
        hold_ttl_s=settings.hold_ttl_s,
        prompt_log=PromptLog(settings.log_prompts, settings.prompt_key.get_secret_value().encode()),
        label_names=LabelNames(_labels_of_settings(settings)),
        max_settle=int(settings.max_settle_usd * NANOS_PER_USD),
        observer=observer,
        chance=_chance(settings),
        render_example=render_example,
        health=ModelHealth(settings.health, router.now, observer),
        conversations=Conversations(settings.conversations, router.now),
        load=load or ProviderLoad(settings.provider_limits, router.now),
        load_shares=settings.load_shares,
        deferrals=Deferrals(router.now),
    )


def check_provider_limits(settings: Settings, catalog: Catalog) -> None:
    """Refuse limits of what the catalog does not know: they would bound nothing.

    Args:
        settings: with the limits.
        catalog: of the models that they may bound.

    Raises:
        BadArtifact: names the setting.
    """
    served: dict[str, set[str]] = {}
    for entry in catalog.entries:
        served.setdefault(entry.spec.provider, set()).add(entry.spec.id)
    for provider, limits in settings.provider_limits.items():
        models = served.get(provider)
        if models is None:
            raise _unknown(f"provider_limits.{provider}", "provider", served)
        for model in limits.models:
            if model not in models:
                field = f"provider_limits.{provider}.models.{model}"
                raise _unknown(field, f"model of {provider}", models)


def _unknown(field: str, kind: str, known: Iterable[str]) -> BadArtifact:
    return BadArtifact(
        f"{field}: the catalog has no such {kind}; it has {', '.join(sorted(known))}",
        reason="UNKNOWN_PROVIDER",
        field=field,
    )


def exchange_of(reservations: Reservations) -> StateExchange:
    """The exchange of what reservations share with those of other processes: the parts are named here.

    They are the same in every snapshot.
    """
    canary = [] if reservations.canary is None else [reservations.canary]
    return StateExchange(reservations.ledger, [reservations.health, *canary])


def _chance(settings: Settings) -> Chance:
    """Draws by the key of prompts where there is one, so that replicas draw alike, else by one of its own."""
    key = settings.prompt_key.get_secret_value().encode()
    return Chance(hashlib.sha256(key).digest()) if key else Chance()


def sources_of(settings: Settings, file: SettingsFile | None) -> Sources:
    """What the server follows: its settings file, a catalog and rules that do not ship, the bundle, trials.

    Args:
        settings: to begin with.
        file: where they came from; ``None``: there is none.

    Raises:
        BadArtifact, Unavailable: no bundle can serve, or a file cannot be used.
    """
    return Sources(
        None if file is None else watch_settings(file, settings),
        None if settings.catalog is None else watch_catalog(settings.catalog),
        None if settings.rules is None else watch_rules(settings.rules),
        _open_bundle(settings),
        TrialInput("shadow", settings),
        TrialInput("canary", settings),
    )


def _rebuilt(before: Reservations, settings: Settings, parts: Parts) -> Reservations:
    """Reservations of other settings and parts, with all else as it was.

    Args:
        before: what is served now.
        settings: from now on.
        parts: from now on.

    Raises:
        BadArtifact: the parts do not fit each other.
    """
    router = before.router
    made = build_router(
        settings,
        router.now,
        catalog=parts.catalog,
        bundle=parts.bundle,
        tokens=router.tokens,
        rules=parts.rules,
    )
    made = replace(made, corrections=router.corrections, in_flight=router.in_flight)
    found = build_reservations(settings, made, before.ledger, before.observer, before.load)
    return replace(
        found,
        label_names=before.label_names,
        health=before.health,
        conversations=before.conversations,
        chance=before.chance,
        deferrals=before.deferrals,
        shadow=before.shadow,
        canary=before.canary,
    )


def live_state_of(
    settings: Settings, sources: Sources, ledger: Ledger, observer: Observer
) -> tuple[LiveState, CorrectionLearner]:
    """What calls run on, and what learns their corrections.

    Nothing else keeps the first catalog and bundle: they go when others replace them.

    Args:
        settings: to begin with.
        sources: what is followed; the bundle always is.
        ledger: holds.
        observer: is told what is decided and settled.
    """
    assert sources.bundle is not None  # noqa: S101 — a bundle is always followed
    catalog = load_catalog() if sources.catalog is None else sources.catalog.current()[0]
    learner = CorrectionLearner(
        ledger,
        settings.correct_by,
        settings.correct_from,
        catalog.reasoning_allowances,
        catalog.speeds,
    )
    rules = None if sources.rules is None else sources.rules.current()[0]
    bundle = sources.bundle.current()
    router = build_router(settings, catalog=catalog, bundle=bundle, rules=rules)
    load = ProviderLoad(settings.provider_limits, router.now)
    router = replace(router, corrections=lambda: learner.corrections, in_flight=load.all_in_flight)
    reservations = replace(
        build_reservations(settings, router, ledger, observer, load),
        shadow=Shadow(observer),
        canary=Canary(observer, router.now),
    )
    first = Snapshot(settings, reservations)

    def applied(snapshot: Snapshot) -> None:
        set_level(snapshot.settings.log_level)
        reservations = snapshot.reservations
        catalog = reservations.router.catalog
        learner.allowances, learner.speeds = catalog.reasoning_allowances, catalog.speeds
        reservations.health.policy = snapshot.settings.health
        reservations.conversations.policy = snapshot.settings.conversations
        if reservations.load.limits != snapshot.settings.provider_limits:
            reservations.load.limits = snapshot.settings.provider_limits
            with suppress(Unavailable):  # then only calls from now on count
                reservations.load.sync(ledger)
        for trial in (reservations.shadow, reservations.canary):
            if trial is not None:
                trial.fit(reservations.router)
        reservations.label_names.configured = _labels_of_settings(snapshot.settings)

    return LiveState(first, sources, rebuild=_rebuilt, applied=applied), learner
