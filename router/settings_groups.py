"""Settings that are made of several values: the policies of the core, checked as settings are."""

from __future__ import annotations

from dataclasses import field as dataclass_field
from decimal import Decimal
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from router.core.breaker import HealthPolicy
from router.core.conversation import ConversationPolicy
from router.core.load import AccountLimits, LoadShares, ProviderLimits
from router.core.types import MissCosts, QualityTargets

__all__ = [
    "AccountLimitSettings",
    "ConversationSettings",
    "HealthSettings",
    "LoadShareSettings",
    "MissCostSettings",
    "ProviderLimitSettings",
    "QualityTargetSettings",
    "Share",
    "Usd",
]

Share = Annotated[float, Field(ge=0, le=1)]
Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=9)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MissCostSettings(MissCosts):
    """The costs, checked as settings are."""

    low: Usd = MissCosts.low
    medium: Usd = MissCosts.medium
    high: Usd = MissCosts.high


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class QualityTargetSettings(QualityTargets):
    """The targets, checked as settings are."""

    low: Share = QualityTargets.low
    medium: Share = QualityTargets.medium
    high: Share = QualityTargets.high


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HealthSettings(HealthPolicy):
    """The policy, checked as settings are."""

    consecutive_failures: Annotated[int, Field(ge=1, le=10_000)] = HealthPolicy.consecutive_failures
    error_rate: Annotated[float, Field(gt=0, le=1)] = HealthPolicy.error_rate
    error_rate_calls: Annotated[int, Field(ge=1, le=100)] = HealthPolicy.error_rate_calls
    window_s: Annotated[float, Field(gt=0, le=86_400)] = HealthPolicy.window_s
    wait_s: Annotated[float, Field(gt=0, le=86_400)] = HealthPolicy.wait_s
    max_wait_s: Annotated[float, Field(gt=0, le=86_400)] = HealthPolicy.max_wait_s
    probe_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = HealthPolicy.probe_timeout_s
    max_ejected_share: Share = HealthPolicy.max_ejected_share


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ConversationSettings(ConversationPolicy):
    """The policy, checked as settings are."""

    remembered: Annotated[int, Field(ge=0, le=1_000_000)] = ConversationPolicy.remembered
    further_turns: Annotated[float, Field(ge=0, le=20, allow_inf_nan=False)] = (
        ConversationPolicy.further_turns
    )


_Limit = Annotated[int, Field(ge=1, le=10**15)]
_UsedShare = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AccountLimitSettings(AccountLimits):
    """The limits, checked as settings are."""

    requests_per_minute: _Limit | None = None
    tokens_per_minute: _Limit | None = None
    requests_in_flight: _Limit | None = None
    tokens_in_flight: _Limit | None = None


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ProviderLimitSettings(AccountLimitSettings, ProviderLimits):
    """The limits of an account and its models, checked as settings are."""

    models: dict[str, AccountLimitSettings] = dataclass_field(default_factory=dict)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LoadShareSettings(LoadShares):
    """The shares, checked as settings are."""

    batch: _UsedShare = LoadShares.batch
    low: _UsedShare = LoadShares.low
    medium: _UsedShare = LoadShares.medium
    high: _UsedShare = LoadShares.high
