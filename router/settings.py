"""Every setting of the service in one typed place."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_origin

from platformdirs import user_cache_path
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from router.classifier.registry import DEFAULT_STORE, RegistryAddress
from router.core.addresses import is_loopback
from router.core.exploration import EXPLORE_REGRET
from router.core.types import TARGET_REGRET, DefaultGoals, MissCosts
from router.decision_log.record import PromptLogKind
from router.ledger.address import sqlite_path
from router.paths import DEFAULT_BUNDLE, DEFAULT_LEDGER, ENCODERS
from router.routing.background_jobs import RetentionRule
from router.routing.trial_plan import BundleAddress, CanaryPlan, ShadowPlan, TrialPlan
from router.settings_groups import (
    ConversationSettings,
    HealthSettings,
    LoadShareSettings,
    MissCostSettings,
    ProviderLimitSettings,
    QualityTargetSettings,
    Usd,
)

__all__ = ["ENVIRONMENT_PREFIX", "METRICS_PORT", "Settings", "flags_of_settings"]

ENVIRONMENT_PREFIX = "MITSUMORI_"
"""Begins the name of the environment variable of each setting."""
_ADMIN_PORT = 50052
METRICS_PORT = 9464
"""Where the endpoint for Prometheus listens unless told otherwise."""


class Settings(BaseSettings):
    """Settings of ``mitsumori serve``."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid"
    )

    bundle: BundleAddress = Field(
        default=DEFAULT_BUNDLE,
        description="directory of the bundle to serve, or its address in the registry:"
        " models:/NAME@ALIAS or models:/NAME/VERSION",
    )
    bundle_public_keys: Path | None = Field(
        default=None,
        description="PEM file with the public keys of which one must have signed a bundle, read anew for"
        " every bundle; unset: no signature is asked for",
    )
    registry: str = Field(
        default="",
        validate_default=True,
        description="MLflow registry of the bundle: http(s) address of a server, or sqlite:///PATH or"
        " file:PATH on this machine, which needs no server; unset: MLFLOW_TRACKING_URI, else"
        f" sqlite:///{DEFAULT_STORE} where training has made it",
    )
    registry_cache: Path = Field(
        default=user_cache_path("mitsumori") / "bundles",
        description="directory with copies of the registry's bundles, for a start while the registry is down",
    )
    reload_every_s: float = Field(
        default=30,
        ge=0,
        le=86400,
        description="seconds between two checks for a changed bundle, catalog, rules or settings file; 0:"
        " checks only at SIGHUP",
    )
    encoders: Path = Field(
        default=ENCODERS, description="directory of the encoders that bundles refer to"
    )
    catalog: Path | None = Field(default=None, description="catalog file; unset: the shipped one")
    rules: Path | None = Field(
        default=None, description="file of the routing table; unset: the shipped one"
    )
    tokenizer_dir: Path | None = Field(
        default=None, description="directory for unpacked tokenizer files; unset: the user's cache"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(
        default=50051, ge=0, le=65535, description="port to listen on; 0: any free port"
    )
    admin_host: str = Field(
        default="127.0.0.1", description="address on which AdminService listens where it has a port"
    )
    admin_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="port of AdminService; 0: any free port; unset: that of the service where only this"
        f" machine reaches it and one process serves, else {_ADMIN_PORT}",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="PEM file with the server's certificate chain; unset: no TLS. New files are used from"
        " the next connection on",
    )
    tls_key: Path | None = Field(
        default=None,
        description="PEM file with the private key; unset: it is in the file of tls_certificate",
    )
    tls_client_ca: Path | None = Field(
        default=None,
        description="PEM file with the roots of client certificates, which every connection must then have,"
        " and shows anew every ten minutes; unset: none is asked for",
    )
    key_store: Path | None = Field(
        default=None,
        description="file of API keys, made by `mitsumori keys create`; every call then needs a credential."
        " Changes take effect within a second",
    )
    jwt_issuer: str = Field(
        default="",
        pattern="^[!-~]*$",
        description="issuer (iss) of JSON Web Tokens; every call then needs a credential",
    )
    jwt_audience: str = Field(
        default="",
        validate_default=True,
        description="audience (aud) that tokens must be for",
    )
    jwt_keys: str = Field(
        default="",
        validate_default=True,
        description="public keys of the issuer (JWKS): a file, or an https address",
    )
    jwt_tenant_claim: str = Field(
        default="tenant",
        description="claim that names the tenant, * for every tenant; empty: tokens are of every tenant",
    )
    jwt_roles_claim: str = Field(
        default="roles",
        description="claim that lists the roles: route, settle, read, admin",
    )
    failed_logins_per_minute: int = Field(
        default=10,
        ge=1,
        le=100_000,
        description="calls with a credential that is not valid that an address may make in a minute",
    )
    insecure: bool = Field(
        default=False,
        description="serve beyond this machine even without TLS and credentials",
    )
    audit_log: Path | None = Field(
        default=None,
        description="file to which administration is added, a JSON line each; unset: beside a SQLite ledger,"
        " else only in the log",
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="processes that answer calls on one port; beyond 1, another one keeps a ledger in memory"
        " or SQLite for them, and AdminService has a port of its own",
    )
    workers: int = Field(
        default=2,
        ge=1,
        le=256,
        description="calls that each process works on at once; the others wait",
    )
    queue_wait_s: float = Field(
        default=0.08,
        gt=0,
        le=60,
        description="a call that would wait longer than this for its turn is refused at once"
        " (RESOURCE_EXHAUSTED), seconds",
    )
    message_wait_s: float = Field(
        default=5,
        gt=0,
        le=600,
        description="a call whose message is not there within this time is cut off, seconds",
    )
    stream_idle_s: float = Field(
        default=30,
        gt=0,
        le=3600,
        description="a QuoteBatch whose caller neither sends nor reads for this time is cut off, seconds",
    )
    max_waiting_calls: int = Field(
        default=128,
        ge=1,
        le=4096,
        description="calls that may wait for their message at once; of more, the oldest are cut off",
    )
    max_streams: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="QuoteBatch calls that may be open at once; of more, those idle longest are cut off",
    )
    max_connections: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="connections that may be open at once, in each process",
    )
    max_prompt_bytes: int = Field(
        default=1 << 20, ge=1, le=64 << 20, description="largest prompt, bytes of UTF-8"
    )
    miss_costs: MissCostSettings | None = Field(
        default=None,
        description="what an inadequate answer costs by importance, USD, for requests without a goal: they"
        " get the model with the least expected price + (1 − P(adequate)) × this; unset: "
        f"low {MissCosts.low}, medium {MissCosts.medium}, high {MissCosts.high}",
    )
    quality_targets: QualityTargetSettings | None = Field(
        default=None,
        description="target P(adequate) by importance, for requests without a goal, instead of miss_costs;"
        " unset: miss_costs",
    )
    target_regret: float = Field(
        default=TARGET_REGRET,
        ge=0,
        le=1,
        description="where no model reaches a quality target, the cheapest is chosen whose P(adequate) is at"
        " most this much below the best",
    )
    explore: float = Field(
        default=0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="share of the decisions that is left to chance among models whose expected cost is close,"
        " so that the log can tell what others bring; rules may say another. Never at high importance, nor"
        " where the caller sets a quality target",
    )
    explore_regret: float = Field(
        default=EXPLORE_REGRET,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="chance chooses only models whose expected cost is at most this share above the best",
    )
    gadget_guard: bool = Field(
        default=True,
        description="read a prompt also by its first and its last sentence alone where it looks composed of"
        " foreign parts, as if to look harder than it is; the easiest reading counts",
    )
    health: HealthSettings = Field(
        default=HealthSettings(),
        description="when a model is left out because calls to it fail: after consecutive_failures, or at a"
        " failure that makes error_rate of at least error_rate_calls calls within window_s seconds failures."
        " After wait_s seconds one call tries it again; the wait doubles with each try that fails, up to"
        " max_wait_s; a try that is not reported within probe_timeout_s is taken for lost. At most"
        " max_ejected_share of the models of a tier that could be chosen are left out, and at least one; 0:"
        " health is only watched",
    )
    conversations: ConversationSettings = Field(
        default=ConversationSettings(),
        description="how the turns of a conversation_id depend on each other. Of the latest remembered the"
        " model of before is kept as long as its prompt cache is worth no less, over this turn and"
        " further_turns more, than what another model would save; it goes on inside a tool loop; after an"
        " answer that was reported inadequate more able models are chosen. remembered 0: each turn is decided"
        " as a first one",
    )
    provider_limits: dict[str, ProviderLimitSettings] = Field(
        default={},
        description="what each provider allows your account, by its name in the catalog:"
        " requests_per_minute, tokens_per_minute, requests_in_flight, tokens_in_flight, and the same under"
        " models by catalog id. A call that would pass one goes to another model, or waits",
    )
    load_shares: LoadShareSettings = Field(
        default=LoadShareSettings(),
        description="share of a provider's limit up to which work may use it: batch work, and other work by"
        " its importance low, medium, high; the rest is kept for what matters more",
    )
    shadow: ShadowPlan | None = Field(
        default=None,
        description="another bundle, catalog or rules (a path each) that decide on copies of a share of the"
        " requests, in the background; nothing follows but the figures of `mitsumori shadow`; unset: none",
    )
    canary: CanaryPlan | None = Field(
        default=None,
        description="another bundle, catalog or rules (a path each) that decide a share of the requests whose"
        " labels are those of scope. It halts itself where its mean quality is more than quality_margin lower"
        " than that of the rest, its cost per call more than the share cost_margin higher, or its share of"
        " failing calls more than error_margin higher; another run, any word, starts it anew; unset: none",
    )
    quote_ttl_s: float = Field(
        default=300, gt=0, le=86400, description="how long a quote is valid, seconds"
    )
    ledger: str = Field(
        default=f"sqlite:{DEFAULT_LEDGER}",
        description="where limits and holds are kept: memory:, sqlite:PATH or postgresql://…",
    )
    strict: bool = Field(
        default=False, description="hold the worst case instead of the 90th percentile"
    )
    hold_ttl_s: float = Field(
        default=600,
        gt=0,
        le=7 * 86400,
        description="how long a hold waits for its settlement, seconds",
    )
    max_settle_usd: Usd = Field(
        default=Decimal(1_000),
        gt=0,
        description="largest cost that a caller may report for one call, USD; more is refused as a mistake",
    )
    log_prompts: PromptLogKind = Field(
        default="off",
        description="what the decision log keeps of prompts: off, hash (keyed), embedding (the"
        " encoder's vector, which can partly be turned back into text), redacted (the text without"
        " addresses, numbers and secrets; names of people stay), or text",
    )
    prompt_key: SecretStr = Field(
        default=SecretStr(""),
        validate_default=True,
        description="key of the prompt hash; required by log_prompts: hash; adds the hash to embedding"
        " and redacted if set",
    )
    correct_from: int = Field(
        default=5_000,
        ge=0,
        le=100_000,
        description="number of the newest settled decisions from which token counts, output lengths and"
        " latencies are corrected; 0: no corrections",
    )
    correct_by: tuple[str, ...] = Field(
        default=("tenant", "team", "project"),
        description="labels whose values have corrections of their own, widest scope first",
    )
    retention: list[RetentionRule] = Field(
        default=[],
        description="rules that erase old decisions from the log; where several match, the shortest period"
        " applies; none: nothing is erased",
    )
    expire_every_s: float = Field(
        default=5, ge=0.1, le=3600, description="seconds between two releases of expired holds"
    )
    share_every_s: float = Field(
        default=1,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="how often processes and replicas tell each other through the ledger which models fail,"
        " and what a canary has come to, seconds",
    )
    reflection: bool | None = Field(
        default=None, description="offer gRPC reflection; unset: where only this machine can ask"
    )
    drain_s: float = Field(
        default=10,
        ge=0,
        le=600,
        description="how long calls in flight may take to finish after SIGTERM, seconds",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="address on which Prometheus scrapes /metrics, without credentials: metrics name models,"
        " versions and the ids of limits, in which a tenant may be named, and nothing else of callers",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description=f"port of /metrics; 0: any free port; unset: {METRICS_PORT} where it is free. Where"
        " several processes serve, each has the next one",
    )
    otlp_endpoint: str = Field(
        default="",
        description="address of a collector, http://HOST:PORT or https://HOST:PORT, to which traces and"
        " metrics are sent by OTLP over gRPC; unset: OTEL_EXPORTER_OTLP_ENDPOINT, else none",
    )
    trace_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="share of the calls that are traced, where a collector is set; a call whose caller sends"
        " a traceparent is traced as its caller is",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged to standard error"
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="log lines as JSON objects, or formatted for people"
    )

    @field_validator("log_prompts", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        # YAML reads a bare off as false.
        return "off" if value is False else value

    # Each validator belongs to the setting that is missing, so that the error says where to set it.
    @field_validator("registry")
    @classmethod
    def _registered_bundles_have_a_registry(cls, value: str, info: ValidationInfo) -> str:
        bundle = info.data.get("bundle")
        if value or not isinstance(bundle, RegistryAddress):
            return value
        tracking = os.environ.get("MLFLOW_TRACKING_URI", "")
        if tracking:
            return tracking
        if DEFAULT_STORE.is_file():
            return f"sqlite:///{DEFAULT_STORE}"
        raise ValueError(
            f"bundle {bundle} needs the address of an MLflow registry, http://HOST:PORT or sqlite:///PATH, "
            f"since there is no {DEFAULT_STORE} here"
        )

    @field_validator("shadow", "canary")
    @classmethod
    def _tried_bundles_have_a_registry(
        cls, value: TrialPlan | None, info: ValidationInfo
    ) -> TrialPlan | None:
        registered = value is not None and isinstance(value.bundle, RegistryAddress)
        if registered and not info.data.get("registry"):
            raise ValueError(f"bundle {value and value.bundle} needs the setting registry")
        return value

    @field_validator("miss_costs", "quality_targets")
    @classmethod
    def _rise_with_importance(
        cls, value: MissCostSettings | QualityTargetSettings | None
    ) -> MissCostSettings | QualityTargetSettings | None:
        if value is not None and not value.low <= value.medium <= value.high:
            raise ValueError(
                f"low {value.low}, medium {value.medium}, high {value.high} must not fall as importance "
                "rises (what is not set is the default)"
            )
        return value

    @field_validator("quality_targets")
    @classmethod
    def _one_kind_of_default_goal(
        cls, value: QualityTargetSettings | None, info: ValidationInfo
    ) -> QualityTargetSettings | None:
        if value is not None and info.data.get("miss_costs") is not None:
            raise ValueError(
                "miss_costs is set too, and requests without a goal have one kind of goal; keep one of them"
            )
        return value

    @field_validator("health")
    @classmethod
    def _waits_do_not_shrink(cls, value: HealthSettings) -> HealthSettings:
        if value.wait_s > value.max_wait_s:
            raise ValueError(
                f"wait_s {value.wait_s:g} must be at most max_wait_s {value.max_wait_s:g}"
            )
        return value

    @field_validator("load_shares")
    @classmethod
    def _more_for_what_matters(cls, value: LoadShareSettings) -> LoadShareSettings:
        if not value.batch <= value.low <= value.medium <= value.high:
            raise ValueError(
                f"batch {value.batch:g}, low {value.low:g}, medium {value.medium:g}, high {value.high:g}"
                " must not fall in this order (what is not set is the default)"
            )
        return value

    @field_validator("prompt_key")
    @classmethod
    def _hash_has_a_key(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("log_prompts") == "hash" and not value.get_secret_value():
            raise ValueError(
                "log_prompts: hash requires a key; without one, anyone could guess a prompt and check it"
            )
        return value

    @field_validator("tls_key")
    @classmethod
    def _a_key_has_a_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("tls_certificate") is None:
            raise ValueError("a private key needs tls_certificate too")
        return value

    @field_validator("tls_client_ca")
    @classmethod
    def _client_certificates_need_tls(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("tls_certificate") is None:
            raise ValueError("certificates of clients need tls_certificate too")
        return value

    @field_validator("jwt_audience", "jwt_keys")
    @classmethod
    def _tokens_are_checked_whole(cls, value: str, info: ValidationInfo) -> str:
        if bool(value) != bool(info.data.get("jwt_issuer")):
            raise ValueError("jwt_issuer, jwt_audience and jwt_keys are set all or none")
        return value

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Host and port of AdminService; ``None``: those of the service."""
        if self.admin_port is None and is_loopback(self.host) and self.processes == 1:
            return None
        return self.admin_host, _ADMIN_PORT if self.admin_port is None else self.admin_port

    @property
    def audit_path(self) -> Path | None:
        """The file of the audit log; ``None``: there is none."""
        store = sqlite_path(self.ledger)
        if self.audit_log is None and store is not None:
            return Path(f"{store}.audit.jsonl")
        return self.audit_log

    @property
    def offers_reflection(self) -> bool:
        """Whether gRPC reflection is offered."""
        if self.reflection is not None:
            return self.reflection
        admin = self.admin_address
        return is_loopback(self.host) and (admin is None or is_loopback(admin[0]))

    @property
    def default_goals(self) -> DefaultGoals:
        """The goals of requests without one."""
        return self.quality_targets or self.miss_costs or MissCosts()


def flags_of_settings() -> list[str]:
    """Names of the settings that are flags of ``serve``, in their order.

    Secrets have no flag, because every user of the machine can read flags in the list of processes. Lists and
    groups have none, because one word cannot hold them.
    """
    no_flag = (
        SecretStr,
        ConversationSettings,
        HealthSettings,
        LoadShareSettings,
        MissCostSettings | None,
        QualityTargetSettings | None,
        ShadowPlan | None,
        CanaryPlan | None,
    )
    return [
        name
        for name, field in Settings.model_fields.items()
        if get_origin(field.annotation) not in (tuple, list, dict)
        and field.annotation not in no_flag
    ]
