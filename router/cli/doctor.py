"""`mitsumori doctor`: check everything that the server needs, and say how to fix what is wrong."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from router.catalog.catalog import load_catalog
from router.catalog.freshness import STALE_DAYS, concerns
from router.catalog.prices import table_installed_at
from router.catalog.tokens import TokenCounter
from router.classifier.hot_swap import load_verified_bundle, open_bundle_source
from router.classifier.manifest import read_manifest
from router.classifier.model_ability import arm_names, arm_of
from router.classifier.registry import RegistryAddress, registry_address
from router.clock import utc_now
from router.core.addresses import host_port
from router.core.errors import BadArtifact, MitsumoriError, Unavailable
from router.core.plurals import counted
from router.decision_log.prompt_log import PromptLog
from router.ledger.address import check_ledger, ledger_place, sqlite_path
from router.rpc.assembly import check_provider_limits
from router.rpc.protection import protection_of
from router.rules.routing_table import load_rules
from router.settings import Settings

__all__ = ["Check", "examine"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: of the check.
        ok: whether it passed.
        detail: what was found; after a failure or a warning, how to fix it.
        warning: whether it passed, and will not forever.
    """

    name: str
    ok: bool
    detail: str
    warning: bool = False


class _Concern(str):
    """A detail that is a warning."""

    __slots__ = ()


def _directory(settings: Settings) -> tuple[Path, str]:
    """The bundle's directory, downloaded if it is in a registry, and its location as text for people."""
    source = open_bundle_source(settings.bundle, settings.registry, settings.registry_cache)
    found = source.find()
    return source.fetch(), found.location


def _bundle(settings: Settings) -> str:
    if settings.registry:
        registry_address(settings.registry)  # wrong even where the bundle is a directory
    directory, place = _directory(settings)
    bundle = load_verified_bundle(directory, settings.encoders, settings.bundle_public_keys)
    manifest = bundle.manifest
    arms = ", ".join(arm.name for arm in manifest.arms)
    kind = "DEMONSTRATION data, " if manifest.demonstration else ""
    named = f"{place} is " if isinstance(settings.bundle, RegistryAddress) else ""
    files = counted(len(manifest.files), "file")
    signed = ", signature valid" if settings.bundle_public_keys else ""
    return f"{named}{bundle.version}: {kind}arms {arms}; {files} and encoder intact{signed}"


def _scoring(settings: Settings) -> str:
    score = load_verified_bundle(_directory(settings)[0], settings.encoders).score("What is 2 + 2?")
    return f"scores a prompt: complexity {score.complexity:.2f}"


def _tokenizer(settings: Settings) -> str:
    counter = TokenCounter(settings.tokenizer_dir)
    tokens = counter.text_tokens("hello world").tokens
    return f"o200k_base counts «hello world» as {tokens} tokens, offline"


def _prices(settings: Settings) -> str:
    catalog = load_catalog(settings.catalog)
    now = utc_now()
    unpriced = [
        entry.spec.id
        for entry in catalog.entries
        if entry.rates_at(now) is None and entry.retired_at(now) is None
    ]
    if unpriced:
        raise BadArtifact(
            f"no price for {', '.join(unpriced)}: they are never chosen; add `prices` for "
            "them to the catalog"
        )
    priced = sum(entry.rates_at(now) is not None for entry in catalog.entries)
    return f"{counted(priced, 'model')} priced ({catalog.price_table})"


def _catalog(settings: Settings, stale_days: int = STALE_DAYS) -> str:
    catalog = load_catalog(settings.catalog)
    found = concerns(catalog, utc_now(), table_installed_at(), days=stale_days)
    if found:
        return _Concern("; ".join(found))
    return f"no model retires soon, no price is older than {counted(stale_days, 'day')} and another by now"


def _tiers(settings: Settings) -> str:
    manifest, _ = read_manifest(_directory(settings)[0])
    catalog = load_catalog(settings.catalog)
    arms = arm_names(manifest)
    specs = (entry.spec for entry in catalog.entries)
    without_arm = [spec.id for spec in specs if arm_of(spec.id, spec.tier, arms) is None]
    if without_arm:
        raise BadArtifact(
            f"the bundle has no arm for {', '.join(without_arm)}: they are never chosen; train with "
            f"arms named after the tiers {', '.join(catalog.tiers)}"
        )
    return "every model of the catalog has an arm"


def _rules(settings: Settings) -> str:
    rules = load_rules(settings.rules)
    rules.fitted(load_catalog(settings.catalog))
    return f"{rules.version}: {counted(len(rules.file.rules), 'rule')}; see `mitsumori rules check`"


def _provider_limits(settings: Settings) -> str:
    check_provider_limits(settings, load_catalog(settings.catalog))
    return f"of providers: {', '.join(sorted(settings.provider_limits)) or 'none'}"


def _prompts(settings: Settings) -> str:
    PromptLog(settings.log_prompts)
    return f"what the decision log keeps of prompts: {settings.log_prompts}"


def _ledger(settings: Settings) -> str:
    place = ledger_place(settings.ledger)
    path = sqlite_path(settings.ledger)
    if path is not None:
        check_ledger(settings.ledger)
        return f"{place}{'' if path.is_file() else ', which the first start of the server creates'}"
    if place == "memory:":
        return f"{place}, lost when the server stops"
    try:
        check_ledger(settings.ledger)
    except MitsumoriError as error:
        raise Unavailable(f"{place}: {error.message}") from None
    return place


def _access(settings: Settings) -> str:
    gate = protection_of(settings).gate
    who = (
        "with credentials"
        if gate.asks_for_credentials
        else "anyone who can connect may do everything"
    )
    tls = "TLS" if settings.tls_certificate is not None else "no TLS"
    mutual = ", client certificates" if settings.tls_client_ca is not None else ""
    return f"{tls}{mutual}, {who}"


def _port(settings: Settings) -> str:
    address = host_port(settings.host, settings.port)
    if settings.tls_certificate is not None:
        return _encrypted_port(settings, address)
    with grpc.insecure_channel(address) as channel:
        try:
            stub = health_pb2_grpc.HealthStub(channel)
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return f"{address} is free; start with `mitsumori serve`"
            raise BadArtifact(
                f"another program listens on {address}; choose another port with --port"
            ) from None
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    if status != "SERVING":
        raise BadArtifact(f"the server at {address} reports {status}; wait until it is ready")
    return f"a server at {address} is serving"


def _encrypted_port(settings: Settings, address: str) -> str:
    """Whether anything listens: the health of a server with TLS needs a client that it trusts."""
    try:
        socket.create_connection((settings.host, settings.port), timeout=1.0).close()
    except OSError:
        return f"{address} is free; start with `mitsumori serve`"
    return f"something listens at {address} already, a server or another program"


_CHECKS: dict[str, Callable[[Settings], str]] = {
    "bundle": _bundle,
    "scoring": _scoring,
    "tokenizer": _tokenizer,
    "prices": _prices,
    "catalog": _catalog,
    "tiers": _tiers,
    "rules": _rules,
    "limits": _provider_limits,
    "prompts": _prompts,
    "ledger": _ledger,
    "access": _access,
    "port": _port,
}


def examine(settings: Settings, *, stale_days: int = STALE_DAYS) -> Iterator[Check]:
    """Run every check; a failed one does not stop the others.

    Args:
        settings: of the server.
        stale_days: how old prices may be, ≥ 0.
    """
    checks: dict[str, Callable[[Settings], str]] = {
        **_CHECKS,
        "catalog": partial(_catalog, stale_days=stale_days),
    }
    for name, check in checks.items():
        try:
            detail = check(settings)
            yield Check(name, True, str(detail), isinstance(detail, _Concern))
        except MitsumoriError as error:
            yield Check(name, False, error.message)
