import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from mitsumori.v1 import explanation_pb2 as _explanation_pb2
from mitsumori.v1 import limit_pb2 as _limit_pb2
from mitsumori.v1 import prompt_pb2 as _prompt_pb2
from mitsumori.v1 import quote_pb2 as _quote_pb2
from mitsumori.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Importance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMPORTANCE_UNSPECIFIED: _ClassVar[Importance]
    IMPORTANCE_LOW: _ClassVar[Importance]
    IMPORTANCE_MEDIUM: _ClassVar[Importance]
    IMPORTANCE_HIGH: _ClassVar[Importance]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_SUCCESS: _ClassVar[Outcome]
    OUTCOME_ERROR: _ClassVar[Outcome]
    OUTCOME_TIMEOUT: _ClassVar[Outcome]
    OUTCOME_TRUNCATED: _ClassVar[Outcome]
    OUTCOME_RATE_LIMITED: _ClassVar[Outcome]
    OUTCOME_OVERLOADED: _ClassVar[Outcome]
    OUTCOME_SERVER_ERROR: _ClassVar[Outcome]
    OUTCOME_REFUSED: _ClassVar[Outcome]
    OUTCOME_CONTEXT_OVERFLOW: _ClassVar[Outcome]
    OUTCOME_CONTENT_FILTERED: _ClassVar[Outcome]

class ReasonCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_CODE_UNSPECIFIED: _ClassVar[ReasonCode]
    REASON_CODE_CHEAPEST_ADEQUATE: _ClassVar[ReasonCode]
    REASON_CODE_TARGET_NOT_REACHED: _ClassVar[ReasonCode]
    REASON_CODE_BEST_VALUE: _ClassVar[ReasonCode]
    REASON_CODE_ONLY_CANDIDATE: _ClassVar[ReasonCode]
    REASON_CODE_MODELS_EXCLUDED: _ClassVar[ReasonCode]
    REASON_CODE_TOKENS_ESTIMATED: _ClassVar[ReasonCode]
    REASON_CODE_LANGUAGE_NOT_COVERED: _ClassVar[ReasonCode]
    REASON_CODE_SOFT_LIMIT: _ClassVar[ReasonCode]
    REASON_CODE_DOWNGRADED: _ClassVar[ReasonCode]
    REASON_CODE_PACED: _ClassVar[ReasonCode]
    REASON_CODE_SECOND_OPINION: _ClassVar[ReasonCode]
    REASON_CODE_UNKNOWN_LABEL: _ClassVar[ReasonCode]
    REASON_CODE_LEAST_EXPECTED_COST: _ClassVar[ReasonCode]
    REASON_CODE_RULES_APPLIED: _ClassVar[ReasonCode]
    REASON_CODE_MODELS_UNHEALTHY: _ClassVar[ReasonCode]
    REASON_CODE_ALL_UNHEALTHY: _ClassVar[ReasonCode]
    REASON_CODE_EXPLORED: _ClassVar[ReasonCode]
    REASON_CODE_KEPT_MODEL: _ClassVar[ReasonCode]
    REASON_CODE_REPLACED: _ClassVar[ReasonCode]
    REASON_CODE_ESCALATED: _ClassVar[ReasonCode]
    REASON_CODE_LOAD_SHIFTED: _ClassVar[ReasonCode]
    REASON_CODE_TOP_TIER_CAPPED: _ClassVar[ReasonCode]
    REASON_CODE_CANARY: _ClassVar[ReasonCode]
    REASON_CODE_GADGET_SUSPECTED: _ClassVar[ReasonCode]
IMPORTANCE_UNSPECIFIED: Importance
IMPORTANCE_LOW: Importance
IMPORTANCE_MEDIUM: Importance
IMPORTANCE_HIGH: Importance
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_SUCCESS: Outcome
OUTCOME_ERROR: Outcome
OUTCOME_TIMEOUT: Outcome
OUTCOME_TRUNCATED: Outcome
OUTCOME_RATE_LIMITED: Outcome
OUTCOME_OVERLOADED: Outcome
OUTCOME_SERVER_ERROR: Outcome
OUTCOME_REFUSED: Outcome
OUTCOME_CONTEXT_OVERFLOW: Outcome
OUTCOME_CONTENT_FILTERED: Outcome
REASON_CODE_UNSPECIFIED: ReasonCode
REASON_CODE_CHEAPEST_ADEQUATE: ReasonCode
REASON_CODE_TARGET_NOT_REACHED: ReasonCode
REASON_CODE_BEST_VALUE: ReasonCode
REASON_CODE_ONLY_CANDIDATE: ReasonCode
REASON_CODE_MODELS_EXCLUDED: ReasonCode
REASON_CODE_TOKENS_ESTIMATED: ReasonCode
REASON_CODE_LANGUAGE_NOT_COVERED: ReasonCode
REASON_CODE_SOFT_LIMIT: ReasonCode
REASON_CODE_DOWNGRADED: ReasonCode
REASON_CODE_PACED: ReasonCode
REASON_CODE_SECOND_OPINION: ReasonCode
REASON_CODE_UNKNOWN_LABEL: ReasonCode
REASON_CODE_LEAST_EXPECTED_COST: ReasonCode
REASON_CODE_RULES_APPLIED: ReasonCode
REASON_CODE_MODELS_UNHEALTHY: ReasonCode
REASON_CODE_ALL_UNHEALTHY: ReasonCode
REASON_CODE_EXPLORED: ReasonCode
REASON_CODE_KEPT_MODEL: ReasonCode
REASON_CODE_REPLACED: ReasonCode
REASON_CODE_ESCALATED: ReasonCode
REASON_CODE_LOAD_SHIFTED: ReasonCode
REASON_CODE_TOP_TIER_CAPPED: ReasonCode
REASON_CODE_CANARY: ReasonCode
REASON_CODE_GADGET_SUSPECTED: ReasonCode

class RouteRequest(_message.Message):
    __slots__ = ("request_id", "scope", "prompt", "constraints", "quality_target", "willingness_to_pay", "importance", "conversation_id", "quote_only", "batch", "max_alternatives", "explain", "task_id")
    class ScopeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINTS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_TARGET_FIELD_NUMBER: _ClassVar[int]
    WILLINGNESS_TO_PAY_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTE_ONLY_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    MAX_ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    scope: _containers.ScalarMap[str, str]
    prompt: _prompt_pb2.Prompt
    constraints: Constraints
    quality_target: float
    willingness_to_pay: _money_pb2.Money
    importance: Importance
    conversation_id: str
    quote_only: bool
    batch: bool
    max_alternatives: int
    explain: bool
    task_id: str
    def __init__(self, request_id: _Optional[str] = ..., scope: _Optional[_Mapping[str, str]] = ..., prompt: _Optional[_Union[_prompt_pb2.Prompt, _Mapping]] = ..., constraints: _Optional[_Union[Constraints, _Mapping]] = ..., quality_target: _Optional[float] = ..., willingness_to_pay: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., importance: _Optional[_Union[Importance, str]] = ..., conversation_id: _Optional[str] = ..., quote_only: _Optional[bool] = ..., batch: _Optional[bool] = ..., max_alternatives: _Optional[int] = ..., explain: _Optional[bool] = ..., task_id: _Optional[str] = ...) -> None: ...

class Constraints(_message.Message):
    __slots__ = ("allowed_models", "allowed_tiers", "required_capabilities", "max_price", "max_latency", "max_output_tokens", "max_first_token", "regions")
    ALLOWED_MODELS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_TIERS_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_FIELD_NUMBER: _ClassVar[int]
    MAX_LATENCY_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    allowed_models: _containers.RepeatedScalarFieldContainer[str]
    allowed_tiers: _containers.RepeatedScalarFieldContainer[str]
    required_capabilities: _containers.RepeatedScalarFieldContainer[str]
    max_price: _money_pb2.Money
    max_latency: _duration_pb2.Duration
    max_output_tokens: int
    max_first_token: _duration_pb2.Duration
    regions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, allowed_models: _Optional[_Iterable[str]] = ..., allowed_tiers: _Optional[_Iterable[str]] = ..., required_capabilities: _Optional[_Iterable[str]] = ..., max_price: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., max_latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_output_tokens: _Optional[int] = ..., max_first_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., regions: _Optional[_Iterable[str]] = ...) -> None: ...

class RouteResponse(_message.Message):
    __slots__ = ("decision_id", "chosen", "alternatives", "assessment", "reasons", "bundle_version", "hold", "limits", "miss_cost", "catalog_version", "settings_version", "rules_version", "rules", "fallbacks", "explanation", "exploration", "task")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    MISS_COST_FIELD_NUMBER: _ClassVar[int]
    CATALOG_VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_VERSION_FIELD_NUMBER: _ClassVar[int]
    RULES_VERSION_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    FALLBACKS_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    EXPLORATION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    chosen: Option
    alternatives: _containers.RepeatedCompositeFieldContainer[Option]
    assessment: Assessment
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    bundle_version: str
    hold: Hold
    limits: _containers.RepeatedCompositeFieldContainer[_limit_pb2.LimitStatus]
    miss_cost: _money_pb2.Money
    catalog_version: str
    settings_version: str
    rules_version: str
    rules: _containers.RepeatedScalarFieldContainer[str]
    fallbacks: _containers.RepeatedCompositeFieldContainer[Fallback]
    explanation: _explanation_pb2.Explanation
    exploration: Exploration
    task: _task_pb2.TaskStatus
    def __init__(self, decision_id: _Optional[str] = ..., chosen: _Optional[_Union[Option, _Mapping]] = ..., alternatives: _Optional[_Iterable[_Union[Option, _Mapping]]] = ..., assessment: _Optional[_Union[Assessment, _Mapping]] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., bundle_version: _Optional[str] = ..., hold: _Optional[_Union[Hold, _Mapping]] = ..., limits: _Optional[_Iterable[_Union[_limit_pb2.LimitStatus, _Mapping]]] = ..., miss_cost: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., catalog_version: _Optional[str] = ..., settings_version: _Optional[str] = ..., rules_version: _Optional[str] = ..., rules: _Optional[_Iterable[str]] = ..., fallbacks: _Optional[_Iterable[_Union[Fallback, _Mapping]]] = ..., explanation: _Optional[_Union[_explanation_pb2.Explanation, _Mapping]] = ..., exploration: _Optional[_Union[Exploration, _Mapping]] = ..., task: _Optional[_Union[_task_pb2.TaskStatus, _Mapping]] = ...) -> None: ...

class Fallback(_message.Message):
    __slots__ = ("model", "provider", "tier", "p_adequate", "price")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    P_ADEQUATE_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    model: str
    provider: str
    tier: str
    p_adequate: float
    price: _quote_pb2.PriceRange
    def __init__(self, model: _Optional[str] = ..., provider: _Optional[str] = ..., tier: _Optional[str] = ..., p_adequate: _Optional[float] = ..., price: _Optional[_Union[_quote_pb2.PriceRange, _Mapping]] = ...) -> None: ...

class Exploration(_message.Message):
    __slots__ = ("propensity", "explored", "share", "regret", "models")
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    EXPLORED_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    REGRET_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    propensity: float
    explored: bool
    share: float
    regret: float
    models: _containers.RepeatedCompositeFieldContainer[ModelPropensity]
    def __init__(self, propensity: _Optional[float] = ..., explored: _Optional[bool] = ..., share: _Optional[float] = ..., regret: _Optional[float] = ..., models: _Optional[_Iterable[_Union[ModelPropensity, _Mapping]]] = ...) -> None: ...

class ModelPropensity(_message.Message):
    __slots__ = ("model", "propensity")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    model: str
    propensity: float
    def __init__(self, model: _Optional[str] = ..., propensity: _Optional[float] = ...) -> None: ...

class Hold(_message.Message):
    __slots__ = ("amount", "tokens", "expire_time")
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    amount: _money_pb2.Money
    tokens: int
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., tokens: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SettleRequest(_message.Message):
    __slots__ = ("decision_id", "tenant", "model", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost", "latency", "outcome", "quality", "first_token_latency", "retry_after", "rate_limits")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_LATENCY_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMITS_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    tenant: str
    model: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: _money_pb2.Money
    latency: _duration_pb2.Duration
    outcome: Outcome
    quality: float
    first_token_latency: _duration_pb2.Duration
    retry_after: _duration_pb2.Duration
    rate_limits: RateLimits
    def __init__(self, decision_id: _Optional[str] = ..., tenant: _Optional[str] = ..., model: _Optional[str] = ..., input_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., reasoning_tokens: _Optional[int] = ..., cost: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., quality: _Optional[float] = ..., first_token_latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., rate_limits: _Optional[_Union[RateLimits, _Mapping]] = ...) -> None: ...

class RateLimits(_message.Message):
    __slots__ = ("requests", "tokens")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    requests: RateLimit
    tokens: RateLimit
    def __init__(self, requests: _Optional[_Union[RateLimit, _Mapping]] = ..., tokens: _Optional[_Union[RateLimit, _Mapping]] = ...) -> None: ...

class RateLimit(_message.Message):
    __slots__ = ("limit", "remaining", "reset")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    limit: int
    remaining: int
    reset: _duration_pb2.Duration
    def __init__(self, limit: _Optional[int] = ..., remaining: _Optional[int] = ..., reset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ReportOutcomeRequest(_message.Message):
    __slots__ = ("decision_id", "tenant", "model", "outcome", "retry_after", "attempt", "rate_limits")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMITS_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    tenant: str
    model: str
    outcome: Outcome
    retry_after: _duration_pb2.Duration
    attempt: int
    rate_limits: RateLimits
    def __init__(self, decision_id: _Optional[str] = ..., tenant: _Optional[str] = ..., model: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., attempt: _Optional[int] = ..., rate_limits: _Optional[_Union[RateLimits, _Mapping]] = ...) -> None: ...

class ReportOutcomeResponse(_message.Message):
    __slots__ = ("repeated_report",)
    REPEATED_REPORT_FIELD_NUMBER: _ClassVar[int]
    repeated_report: bool
    def __init__(self, repeated_report: _Optional[bool] = ...) -> None: ...

class SettleResponse(_message.Message):
    __slots__ = ("spent", "overage", "late", "repeated_report")
    SPENT_FIELD_NUMBER: _ClassVar[int]
    OVERAGE_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REPORT_FIELD_NUMBER: _ClassVar[int]
    spent: _money_pb2.Money
    overage: _money_pb2.Money
    late: bool
    repeated_report: bool
    def __init__(self, spent: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., overage: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., late: _Optional[bool] = ..., repeated_report: _Optional[bool] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("decision_id", "tenant")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    tenant: str
    def __init__(self, decision_id: _Optional[str] = ..., tenant: _Optional[str] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ("released_now",)
    RELEASED_NOW_FIELD_NUMBER: _ClassVar[int]
    released_now: bool
    def __init__(self, released_now: _Optional[bool] = ...) -> None: ...

class RerouteRequest(_message.Message):
    __slots__ = ("decision_id", "request", "failed_models", "outcome", "retry_after")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    FAILED_MODELS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    request: RouteRequest
    failed_models: _containers.RepeatedScalarFieldContainer[str]
    outcome: Outcome
    retry_after: _duration_pb2.Duration
    def __init__(self, decision_id: _Optional[str] = ..., request: _Optional[_Union[RouteRequest, _Mapping]] = ..., failed_models: _Optional[_Iterable[str]] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RerouteResponse(_message.Message):
    __slots__ = ("response",)
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    response: RouteResponse
    def __init__(self, response: _Optional[_Union[RouteResponse, _Mapping]] = ...) -> None: ...

class QuoteBatchRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: RouteRequest
    def __init__(self, request: _Optional[_Union[RouteRequest, _Mapping]] = ...) -> None: ...

class QuoteBatchResponse(_message.Message):
    __slots__ = ("response", "error", "summary", "index")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    response: RouteResponse
    error: QuoteError
    summary: BatchSummary
    index: int
    def __init__(self, response: _Optional[_Union[RouteResponse, _Mapping]] = ..., error: _Optional[_Union[QuoteError, _Mapping]] = ..., summary: _Optional[_Union[BatchSummary, _Mapping]] = ..., index: _Optional[int] = ...) -> None: ...

class QuoteError(_message.Message):
    __slots__ = ("reason", "text", "not_before_time")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_TIME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    text: str
    not_before_time: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., text: _Optional[str] = ..., not_before_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class BatchSummary(_message.Message):
    __slots__ = ("quoted", "failed", "recommended", "per_model")
    QUOTED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_FIELD_NUMBER: _ClassVar[int]
    PER_MODEL_FIELD_NUMBER: _ClassVar[int]
    quoted: int
    failed: int
    recommended: BatchPrice
    per_model: _containers.RepeatedCompositeFieldContainer[BatchPrice]
    def __init__(self, quoted: _Optional[int] = ..., failed: _Optional[int] = ..., recommended: _Optional[_Union[BatchPrice, _Mapping]] = ..., per_model: _Optional[_Iterable[_Union[BatchPrice, _Mapping]]] = ...) -> None: ...

class BeginTaskRequest(_message.Message):
    __slots__ = ("request", "turns", "max_turns", "input_growth", "cap", "time_to_live")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    MAX_TURNS_FIELD_NUMBER: _ClassVar[int]
    INPUT_GROWTH_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_LIVE_FIELD_NUMBER: _ClassVar[int]
    request: RouteRequest
    turns: int
    max_turns: int
    input_growth: int
    cap: _money_pb2.Money
    time_to_live: _duration_pb2.Duration
    def __init__(self, request: _Optional[_Union[RouteRequest, _Mapping]] = ..., turns: _Optional[int] = ..., max_turns: _Optional[int] = ..., input_growth: _Optional[int] = ..., cap: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., time_to_live: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class BeginTaskResponse(_message.Message):
    __slots__ = ("quote", "task", "limits", "first_turn")
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TURN_FIELD_NUMBER: _ClassVar[int]
    quote: _task_pb2.TaskQuote
    task: _task_pb2.TaskStatus
    limits: _containers.RepeatedCompositeFieldContainer[_limit_pb2.LimitStatus]
    first_turn: RouteResponse
    def __init__(self, quote: _Optional[_Union[_task_pb2.TaskQuote, _Mapping]] = ..., task: _Optional[_Union[_task_pb2.TaskStatus, _Mapping]] = ..., limits: _Optional[_Iterable[_Union[_limit_pb2.LimitStatus, _Mapping]]] = ..., first_turn: _Optional[_Union[RouteResponse, _Mapping]] = ...) -> None: ...

class EndTaskRequest(_message.Message):
    __slots__ = ("task_id", "tenant")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    tenant: str
    def __init__(self, task_id: _Optional[str] = ..., tenant: _Optional[str] = ...) -> None: ...

class EndTaskResponse(_message.Message):
    __slots__ = ("task", "ended_now")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ENDED_NOW_FIELD_NUMBER: _ClassVar[int]
    task: _task_pb2.TaskStatus
    ended_now: bool
    def __init__(self, task: _Optional[_Union[_task_pb2.TaskStatus, _Mapping]] = ..., ended_now: _Optional[bool] = ...) -> None: ...

class GetTaskRequest(_message.Message):
    __slots__ = ("task_id", "tenant")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    tenant: str
    def __init__(self, task_id: _Optional[str] = ..., tenant: _Optional[str] = ...) -> None: ...

class GetTaskResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: _task_pb2.TaskStatus
    def __init__(self, task: _Optional[_Union[_task_pb2.TaskStatus, _Mapping]] = ...) -> None: ...

class BatchPrice(_message.Message):
    __slots__ = ("model", "price", "tokens", "tightest_limit", "fits", "earliest_finish_time", "slowest_limit")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TIGHTEST_LIMIT_FIELD_NUMBER: _ClassVar[int]
    FITS_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_FINISH_TIME_FIELD_NUMBER: _ClassVar[int]
    SLOWEST_LIMIT_FIELD_NUMBER: _ClassVar[int]
    model: str
    price: _quote_pb2.PriceRange
    tokens: int
    tightest_limit: _limit_pb2.LimitStatus
    fits: bool
    earliest_finish_time: _timestamp_pb2.Timestamp
    slowest_limit: str
    def __init__(self, model: _Optional[str] = ..., price: _Optional[_Union[_quote_pb2.PriceRange, _Mapping]] = ..., tokens: _Optional[int] = ..., tightest_limit: _Optional[_Union[_limit_pb2.LimitStatus, _Mapping]] = ..., fits: _Optional[bool] = ..., earliest_finish_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., slowest_limit: _Optional[str] = ...) -> None: ...

class Option(_message.Message):
    __slots__ = ("model", "provider", "tier", "arm", "p_adequate", "quote", "p_adequate_basis")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    P_ADEQUATE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    P_ADEQUATE_BASIS_FIELD_NUMBER: _ClassVar[int]
    model: str
    provider: str
    tier: str
    arm: str
    p_adequate: float
    quote: _quote_pb2.Quote
    p_adequate_basis: str
    def __init__(self, model: _Optional[str] = ..., provider: _Optional[str] = ..., tier: _Optional[str] = ..., arm: _Optional[str] = ..., p_adequate: _Optional[float] = ..., quote: _Optional[_Union[_quote_pb2.Quote, _Mapping]] = ..., p_adequate_basis: _Optional[str] = ...) -> None: ...

class Assessment(_message.Message):
    __slots__ = ("complexity", "arms", "p_none")
    COMPLEXITY_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    P_NONE_FIELD_NUMBER: _ClassVar[int]
    complexity: float
    arms: _containers.RepeatedCompositeFieldContainer[ArmScore]
    p_none: float
    def __init__(self, complexity: _Optional[float] = ..., arms: _Optional[_Iterable[_Union[ArmScore, _Mapping]]] = ..., p_none: _Optional[float] = ...) -> None: ...

class ArmScore(_message.Message):
    __slots__ = ("arm", "p_label", "p_adequate")
    ARM_FIELD_NUMBER: _ClassVar[int]
    P_LABEL_FIELD_NUMBER: _ClassVar[int]
    P_ADEQUATE_FIELD_NUMBER: _ClassVar[int]
    arm: str
    p_label: float
    p_adequate: float
    def __init__(self, arm: _Optional[str] = ..., p_label: _Optional[float] = ..., p_adequate: _Optional[float] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("code", "text", "facts")
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    code: ReasonCode
    text: str
    facts: _containers.ScalarMap[str, str]
    def __init__(self, code: _Optional[_Union[ReasonCode, str]] = ..., text: _Optional[str] = ..., facts: _Optional[_Mapping[str, str]] = ...) -> None: ...
