import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from mitsumori.v1 import explanation_pb2 as _explanation_pb2
from mitsumori.v1 import limit_pb2 as _limit_pb2
from mitsumori.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecisionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_STATE_UNSPECIFIED: _ClassVar[DecisionState]
    DECISION_STATE_QUOTED: _ClassVar[DecisionState]
    DECISION_STATE_HELD: _ClassVar[DecisionState]
    DECISION_STATE_SETTLED: _ClassVar[DecisionState]
    DECISION_STATE_RELEASED: _ClassVar[DecisionState]
    DECISION_STATE_EXPIRED: _ClassVar[DecisionState]

class HealthState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEALTH_STATE_UNSPECIFIED: _ClassVar[HealthState]
    HEALTH_STATE_HEALTHY: _ClassVar[HealthState]
    HEALTH_STATE_UNHEALTHY: _ClassVar[HealthState]
    HEALTH_STATE_TRIED: _ClassVar[HealthState]
DECISION_STATE_UNSPECIFIED: DecisionState
DECISION_STATE_QUOTED: DecisionState
DECISION_STATE_HELD: DecisionState
DECISION_STATE_SETTLED: DecisionState
DECISION_STATE_RELEASED: DecisionState
DECISION_STATE_EXPIRED: DecisionState
HEALTH_STATE_UNSPECIFIED: HealthState
HEALTH_STATE_HEALTHY: HealthState
HEALTH_STATE_UNHEALTHY: HealthState
HEALTH_STATE_TRIED: HealthState

class SetLimitRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: _limit_pb2.Limit
    def __init__(self, limit: _Optional[_Union[_limit_pb2.Limit, _Mapping]] = ...) -> None: ...

class SetLimitResponse(_message.Message):
    __slots__ = ("limit", "notes")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    limit: _limit_pb2.Limit
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, limit: _Optional[_Union[_limit_pb2.Limit, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class ListLimitsRequest(_message.Message):
    __slots__ = ("labels",)
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListLimitsResponse(_message.Message):
    __slots__ = ("limits",)
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    limits: _containers.RepeatedCompositeFieldContainer[_limit_pb2.LimitStatus]
    def __init__(self, limits: _Optional[_Iterable[_Union[_limit_pb2.LimitStatus, _Mapping]]] = ...) -> None: ...

class DeleteLimitRequest(_message.Message):
    __slots__ = ("limit_id",)
    LIMIT_ID_FIELD_NUMBER: _ClassVar[int]
    limit_id: str
    def __init__(self, limit_id: _Optional[str] = ...) -> None: ...

class DeleteLimitResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DecisionFilter(_message.Message):
    __slots__ = ("labels", "since_time", "until_time", "state")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    since_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    state: DecisionState
    def __init__(self, labels: _Optional[_Mapping[str, str]] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[DecisionState, str]] = ...) -> None: ...

class ListUsageRequest(_message.Message):
    __slots__ = ("filter", "group_by", "time_zone")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    filter: DecisionFilter
    group_by: _containers.RepeatedScalarFieldContainer[str]
    time_zone: str
    def __init__(self, filter: _Optional[_Union[DecisionFilter, _Mapping]] = ..., group_by: _Optional[_Iterable[str]] = ..., time_zone: _Optional[str] = ...) -> None: ...

class ListUsageResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[UsageRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[UsageRow, _Mapping]]] = ...) -> None: ...

class UsageRow(_message.Message):
    __slots__ = ("group", "decisions", "tokens", "spent", "held", "quoted", "overage", "settled", "overruns", "reserved", "unused")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    QUOTED_FIELD_NUMBER: _ClassVar[int]
    OVERAGE_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    OVERRUNS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    UNUSED_FIELD_NUMBER: _ClassVar[int]
    group: _containers.RepeatedScalarFieldContainer[str]
    decisions: int
    tokens: int
    spent: _money_pb2.Money
    held: _money_pb2.Money
    quoted: _money_pb2.Money
    overage: _money_pb2.Money
    settled: int
    overruns: int
    reserved: _money_pb2.Money
    unused: _money_pb2.Money
    def __init__(self, group: _Optional[_Iterable[str]] = ..., decisions: _Optional[int] = ..., tokens: _Optional[int] = ..., spent: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., held: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., quoted: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., overage: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., settled: _Optional[int] = ..., overruns: _Optional[int] = ..., reserved: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., unused: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class ListDecisionsRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token", "newest_first")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    filter: DecisionFilter
    page_size: int
    page_token: str
    newest_first: bool
    def __init__(self, filter: _Optional[_Union[DecisionFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., newest_first: _Optional[bool] = ...) -> None: ...

class ListDecisionsResponse(_message.Message):
    __slots__ = ("decisions", "next_page_token")
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedCompositeFieldContainer[DecisionRow]
    next_page_token: str
    def __init__(self, decisions: _Optional[_Iterable[_Union[DecisionRow, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListCorrectionsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ListCorrectionsResponse(_message.Message):
    __slots__ = ("corrections", "speeds")
    CORRECTIONS_FIELD_NUMBER: _ClassVar[int]
    SPEEDS_FIELD_NUMBER: _ClassVar[int]
    corrections: _containers.RepeatedCompositeFieldContainer[Correction]
    speeds: _containers.RepeatedCompositeFieldContainer[LearnedSpeed]
    def __init__(self, corrections: _Optional[_Iterable[_Union[Correction, _Mapping]]] = ..., speeds: _Optional[_Iterable[_Union[LearnedSpeed, _Mapping]]] = ...) -> None: ...

class Correction(_message.Message):
    __slots__ = ("model", "scope", "observations", "tokens_factor", "p50_factor", "p90_factor", "within_p50", "within_p90", "mean_factor")
    class ScopeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FACTOR_FIELD_NUMBER: _ClassVar[int]
    P50_FACTOR_FIELD_NUMBER: _ClassVar[int]
    P90_FACTOR_FIELD_NUMBER: _ClassVar[int]
    WITHIN_P50_FIELD_NUMBER: _ClassVar[int]
    WITHIN_P90_FIELD_NUMBER: _ClassVar[int]
    MEAN_FACTOR_FIELD_NUMBER: _ClassVar[int]
    model: str
    scope: _containers.ScalarMap[str, str]
    observations: int
    tokens_factor: float
    p50_factor: float
    p90_factor: float
    within_p50: float
    within_p90: float
    mean_factor: float
    def __init__(self, model: _Optional[str] = ..., scope: _Optional[_Mapping[str, str]] = ..., observations: _Optional[int] = ..., tokens_factor: _Optional[float] = ..., p50_factor: _Optional[float] = ..., p90_factor: _Optional[float] = ..., within_p50: _Optional[float] = ..., within_p90: _Optional[float] = ..., mean_factor: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "price_table_version", "bundle_version")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    PRICE_TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[CatalogModel]
    price_table_version: str
    bundle_version: str
    def __init__(self, models: _Optional[_Iterable[_Union[CatalogModel, _Mapping]]] = ..., price_table_version: _Optional[str] = ..., bundle_version: _Optional[str] = ...) -> None: ...

class CatalogModel(_message.Message):
    __slots__ = ("model", "provider", "tier", "input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok", "context_window", "max_output_tokens", "reasoning_tokens", "exact_tokens", "capabilities", "ability", "regions", "retires", "replaced_by", "health", "speed", "learned_speed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    INPUT_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_WINDOW_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    EXACT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    ABILITY_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    RETIRES_FIELD_NUMBER: _ClassVar[int]
    REPLACED_BY_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    LEARNED_SPEED_FIELD_NUMBER: _ClassVar[int]
    model: str
    provider: str
    tier: str
    input_usd_per_mtok: str
    output_usd_per_mtok: str
    cache_read_usd_per_mtok: str
    context_window: int
    max_output_tokens: int
    reasoning_tokens: ReasoningAllowance
    exact_tokens: bool
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    ability: ModelAbility
    regions: _containers.RepeatedScalarFieldContainer[str]
    retires: str
    replaced_by: str
    health: ModelHealth
    speed: ModelSpeed
    learned_speed: LearnedSpeed
    def __init__(self, model: _Optional[str] = ..., provider: _Optional[str] = ..., tier: _Optional[str] = ..., input_usd_per_mtok: _Optional[str] = ..., output_usd_per_mtok: _Optional[str] = ..., cache_read_usd_per_mtok: _Optional[str] = ..., context_window: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., reasoning_tokens: _Optional[_Union[ReasoningAllowance, _Mapping]] = ..., exact_tokens: _Optional[bool] = ..., capabilities: _Optional[_Iterable[str]] = ..., ability: _Optional[_Union[ModelAbility, _Mapping]] = ..., regions: _Optional[_Iterable[str]] = ..., retires: _Optional[str] = ..., replaced_by: _Optional[str] = ..., health: _Optional[_Union[ModelHealth, _Mapping]] = ..., speed: _Optional[_Union[ModelSpeed, _Mapping]] = ..., learned_speed: _Optional[_Union[LearnedSpeed, _Mapping]] = ...) -> None: ...

class ModelHealth(_message.Message):
    __slots__ = ("state", "failures", "cause", "since_time", "retry_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    RETRY_TIME_FIELD_NUMBER: _ClassVar[int]
    state: HealthState
    failures: int
    cause: str
    since_time: _timestamp_pb2.Timestamp
    retry_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[HealthState, str]] = ..., failures: _Optional[int] = ..., cause: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retry_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ModelSpeed(_message.Message):
    __slots__ = ("first_token_s", "output_tokens_per_s")
    FIRST_TOKEN_S_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    first_token_s: float
    output_tokens_per_s: float
    def __init__(self, first_token_s: _Optional[float] = ..., output_tokens_per_s: _Optional[float] = ...) -> None: ...

class LearnedSpeed(_message.Message):
    __slots__ = ("model", "calls", "unfinished", "first_tokens", "within_p50", "within_p90", "hours", "load_exponent")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    UNFINISHED_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKENS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_P50_FIELD_NUMBER: _ClassVar[int]
    WITHIN_P90_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    LOAD_EXPONENT_FIELD_NUMBER: _ClassVar[int]
    model: str
    calls: int
    unfinished: int
    first_tokens: int
    within_p50: float
    within_p90: float
    hours: _containers.RepeatedCompositeFieldContainer[HourlySpeed]
    load_exponent: float
    def __init__(self, model: _Optional[str] = ..., calls: _Optional[int] = ..., unfinished: _Optional[int] = ..., first_tokens: _Optional[int] = ..., within_p50: _Optional[float] = ..., within_p90: _Optional[float] = ..., hours: _Optional[_Iterable[_Union[HourlySpeed, _Mapping]]] = ..., load_exponent: _Optional[float] = ...) -> None: ...

class HourlySpeed(_message.Message):
    __slots__ = ("first_token_p50_s", "first_token_p90_s", "output_tokens_per_s")
    FIRST_TOKEN_P50_S_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_P90_S_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    first_token_p50_s: float
    first_token_p90_s: float
    output_tokens_per_s: float
    def __init__(self, first_token_p50_s: _Optional[float] = ..., first_token_p90_s: _Optional[float] = ..., output_tokens_per_s: _Optional[float] = ...) -> None: ...

class ReasoningAllowance(_message.Message):
    __slots__ = ("p50", "p90", "p99")
    P50_FIELD_NUMBER: _ClassVar[int]
    P90_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    p50: float
    p90: float
    p99: float
    def __init__(self, p50: _Optional[float] = ..., p90: _Optional[float] = ..., p99: _Optional[float] = ...) -> None: ...

class ModelAbility(_message.Message):
    __slots__ = ("points", "uncertainty", "source", "basis")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    points: float
    uncertainty: float
    source: str
    basis: str
    def __init__(self, points: _Optional[float] = ..., uncertainty: _Optional[float] = ..., source: _Optional[str] = ..., basis: _Optional[str] = ...) -> None: ...

class ListInputsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListInputsResponse(_message.Message):
    __slots__ = ("inputs",)
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[ServedInput]
    def __init__(self, inputs: _Optional[_Iterable[_Union[ServedInput, _Mapping]]] = ...) -> None: ...

class ServedInput(_message.Message):
    __slots__ = ("name", "version", "source", "since_time", "refusal")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    source: str
    since_time: _timestamp_pb2.Timestamp
    refusal: InputRefusal
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., source: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., refusal: _Optional[_Union[InputRefusal, _Mapping]] = ...) -> None: ...

class InputRefusal(_message.Message):
    __slots__ = ("reason", "text", "refuse_time")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REFUSE_TIME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    text: str
    refuse_time: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., text: _Optional[str] = ..., refuse_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class EraseDecisionsRequest(_message.Message):
    __slots__ = ("labels", "before_time")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_TIME_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    before_time: _timestamp_pb2.Timestamp
    def __init__(self, labels: _Optional[_Mapping[str, str]] = ..., before_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class EraseDecisionsResponse(_message.Message):
    __slots__ = ("erased",)
    ERASED_FIELD_NUMBER: _ClassVar[int]
    erased: int
    def __init__(self, erased: _Optional[int] = ...) -> None: ...

class AmendSettlementRequest(_message.Message):
    __slots__ = ("decision_id", "tenant", "cost", "tokens", "reason")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    tenant: str
    cost: _money_pb2.Money
    tokens: int
    reason: str
    def __init__(self, decision_id: _Optional[str] = ..., tenant: _Optional[str] = ..., cost: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., tokens: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class AmendSettlementResponse(_message.Message):
    __slots__ = ("spent_before", "spent", "overage", "repeated_request")
    SPENT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    OVERAGE_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    spent_before: _money_pb2.Money
    spent: _money_pb2.Money
    overage: _money_pb2.Money
    repeated_request: bool
    def __init__(self, spent_before: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., spent: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., overage: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., repeated_request: _Optional[bool] = ...) -> None: ...

class GetShadowRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetShadowResponse(_message.Message):
    __slots__ = ("version", "parts", "since_time", "problem", "calls", "same_model", "same_tier", "tiers", "live", "shadow", "by_live", "by_shadow", "failures", "dropped")
    class FailuresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    SAME_MODEL_FIELD_NUMBER: _ClassVar[int]
    SAME_TIER_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    BY_LIVE_FIELD_NUMBER: _ClassVar[int]
    BY_SHADOW_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    version: str
    parts: str
    since_time: _timestamp_pb2.Timestamp
    problem: str
    calls: int
    same_model: int
    same_tier: int
    tiers: _containers.RepeatedCompositeFieldContainer[TierChange]
    live: ComparedChoices
    shadow: ComparedChoices
    by_live: ComparedChoices
    by_shadow: ComparedChoices
    failures: _containers.ScalarMap[str, int]
    dropped: int
    def __init__(self, version: _Optional[str] = ..., parts: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., problem: _Optional[str] = ..., calls: _Optional[int] = ..., same_model: _Optional[int] = ..., same_tier: _Optional[int] = ..., tiers: _Optional[_Iterable[_Union[TierChange, _Mapping]]] = ..., live: _Optional[_Union[ComparedChoices, _Mapping]] = ..., shadow: _Optional[_Union[ComparedChoices, _Mapping]] = ..., by_live: _Optional[_Union[ComparedChoices, _Mapping]] = ..., by_shadow: _Optional[_Union[ComparedChoices, _Mapping]] = ..., failures: _Optional[_Mapping[str, int]] = ..., dropped: _Optional[int] = ...) -> None: ...

class TierChange(_message.Message):
    __slots__ = ("live", "shadow", "calls")
    LIVE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    live: str
    shadow: str
    calls: int
    def __init__(self, live: _Optional[str] = ..., shadow: _Optional[str] = ..., calls: _Optional[int] = ...) -> None: ...

class ComparedChoices(_message.Message):
    __slots__ = ("price_usd", "p_adequate")
    PRICE_USD_FIELD_NUMBER: _ClassVar[int]
    P_ADEQUATE_FIELD_NUMBER: _ClassVar[int]
    price_usd: Average
    p_adequate: Average
    def __init__(self, price_usd: _Optional[_Union[Average, _Mapping]] = ..., p_adequate: _Optional[_Union[Average, _Mapping]] = ...) -> None: ...

class Average(_message.Message):
    __slots__ = ("mean", "standard_error", "count")
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    mean: float
    standard_error: float
    count: int
    def __init__(self, mean: _Optional[float] = ..., standard_error: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...

class GetCanaryRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCanaryResponse(_message.Message):
    __slots__ = ("version", "parts", "share", "scope", "problem", "halt", "comparisons")
    class ScopeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    HALT_FIELD_NUMBER: _ClassVar[int]
    COMPARISONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    parts: str
    share: float
    scope: _containers.ScalarMap[str, str]
    problem: str
    halt: CanaryHalt
    comparisons: _containers.RepeatedCompositeFieldContainer[CanaryComparison]
    def __init__(self, version: _Optional[str] = ..., parts: _Optional[str] = ..., share: _Optional[float] = ..., scope: _Optional[_Mapping[str, str]] = ..., problem: _Optional[str] = ..., halt: _Optional[_Union[CanaryHalt, _Mapping]] = ..., comparisons: _Optional[_Iterable[_Union[CanaryComparison, _Mapping]]] = ...) -> None: ...

class CanaryHalt(_message.Message):
    __slots__ = ("check", "text", "halt_time")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    HALT_TIME_FIELD_NUMBER: _ClassVar[int]
    check: str
    text: str
    halt_time: _timestamp_pb2.Timestamp
    def __init__(self, check: _Optional[str] = ..., text: _Optional[str] = ..., halt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CanaryComparison(_message.Message):
    __slots__ = ("check", "canary_calls", "canary_mean", "rest_calls", "rest_mean", "margin", "evidence")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    CANARY_CALLS_FIELD_NUMBER: _ClassVar[int]
    CANARY_MEAN_FIELD_NUMBER: _ClassVar[int]
    REST_CALLS_FIELD_NUMBER: _ClassVar[int]
    REST_MEAN_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    check: str
    canary_calls: int
    canary_mean: float
    rest_calls: int
    rest_mean: float
    margin: float
    evidence: float
    def __init__(self, check: _Optional[str] = ..., canary_calls: _Optional[int] = ..., canary_mean: _Optional[float] = ..., rest_calls: _Optional[int] = ..., rest_mean: _Optional[float] = ..., margin: _Optional[float] = ..., evidence: _Optional[float] = ...) -> None: ...

class DecisionRow(_message.Message):
    __slots__ = ("decision_id", "state", "create_time", "labels", "held", "spent", "tokens", "late", "record_json", "quoted")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    RECORD_JSON_FIELD_NUMBER: _ClassVar[int]
    QUOTED_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    state: DecisionState
    create_time: _timestamp_pb2.Timestamp
    labels: _containers.ScalarMap[str, str]
    held: _money_pb2.Money
    spent: _money_pb2.Money
    tokens: int
    late: bool
    record_json: str
    quoted: _money_pb2.Money
    def __init__(self, decision_id: _Optional[str] = ..., state: _Optional[_Union[DecisionState, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., held: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., spent: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., tokens: _Optional[int] = ..., late: _Optional[bool] = ..., record_json: _Optional[str] = ..., quoted: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class ListDeferredRequest(_message.Message):
    __slots__ = ("labels",)
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListDeferredResponse(_message.Message):
    __slots__ = ("requests", "limits")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[DeferredRequest]
    limits: _containers.RepeatedCompositeFieldContainer[ProviderLimitStatus]
    def __init__(self, requests: _Optional[_Iterable[_Union[DeferredRequest, _Mapping]]] = ..., limits: _Optional[_Iterable[_Union[ProviderLimitStatus, _Mapping]]] = ...) -> None: ...

class ProviderLimitStatus(_message.Message):
    __slots__ = ("account", "limit", "most", "used", "usable_by_batch")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    USABLE_BY_BATCH_FIELD_NUMBER: _ClassVar[int]
    account: str
    limit: str
    most: int
    used: int
    usable_by_batch: int
    def __init__(self, account: _Optional[str] = ..., limit: _Optional[str] = ..., most: _Optional[int] = ..., used: _Optional[int] = ..., usable_by_batch: _Optional[int] = ...) -> None: ...

class DeferredRequest(_message.Message):
    __slots__ = ("decision_id", "scope", "reason", "waits_for", "refuse_time", "not_before_time", "refusals")
    class ScopeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    REFUSE_TIME_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    scope: _containers.ScalarMap[str, str]
    reason: str
    waits_for: str
    refuse_time: _timestamp_pb2.Timestamp
    not_before_time: _timestamp_pb2.Timestamp
    refusals: int
    def __init__(self, decision_id: _Optional[str] = ..., scope: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ..., waits_for: _Optional[str] = ..., refuse_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., not_before_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., refusals: _Optional[int] = ...) -> None: ...

class ExplainDecisionRequest(_message.Message):
    __slots__ = ("decision_id", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, decision_id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ExplainDecisionResponse(_message.Message):
    __slots__ = ("decision_id", "create_time", "explanation")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    create_time: _timestamp_pb2.Timestamp
    explanation: _explanation_pb2.Explanation
    def __init__(self, decision_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., explanation: _Optional[_Union[_explanation_pb2.Explanation, _Mapping]] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("labels", "state", "page_size")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    state: _task_pb2.TaskState
    page_size: int
    def __init__(self, labels: _Optional[_Mapping[str, str]] = ..., state: _Optional[_Union[_task_pb2.TaskState, str]] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[_task_pb2.TaskStatus]
    def __init__(self, tasks: _Optional[_Iterable[_Union[_task_pb2.TaskStatus, _Mapping]]] = ...) -> None: ...
