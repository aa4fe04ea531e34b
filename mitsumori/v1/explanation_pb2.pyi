from google.type import money_pb2 as _money_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Criterion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRITERION_UNSPECIFIED: _ClassVar[Criterion]
    CRITERION_EXPECTED_COST: _ClassVar[Criterion]
    CRITERION_SURPLUS: _ClassVar[Criterion]
    CRITERION_PRICE: _ClassVar[Criterion]
    CRITERION_TARGET: _ClassVar[Criterion]
    CRITERION_NEAR_BEST: _ClassVar[Criterion]
    CRITERION_TIE: _ClassVar[Criterion]
    CRITERION_SOFT_LIMIT: _ClassVar[Criterion]
    CRITERION_CHANCE: _ClassVar[Criterion]
    CRITERION_OTHER: _ClassVar[Criterion]

class Lever(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVER_UNSPECIFIED: _ClassVar[Lever]
    LEVER_PRICE: _ClassVar[Lever]
    LEVER_P_ADEQUATE: _ClassVar[Lever]
    LEVER_MISS_COST: _ClassVar[Lever]
    LEVER_WILLINGNESS_TO_PAY: _ClassVar[Lever]
    LEVER_QUALITY_TARGET: _ClassVar[Lever]
    LEVER_MAX_PRICE: _ClassVar[Lever]
    LEVER_MAX_LATENCY: _ClassVar[Lever]
    LEVER_MAX_FIRST_TOKEN: _ClassVar[Lever]
    LEVER_REGIONS: _ClassVar[Lever]
    LEVER_REQUIRED_CAPABILITIES: _ClassVar[Lever]
    LEVER_ALLOWED_TIERS: _ClassVar[Lever]
    LEVER_ALLOWED_MODELS: _ClassVar[Lever]
    LEVER_HEALTH: _ClassVar[Lever]
    LEVER_FAILED_PROVIDER: _ClassVar[Lever]
    LEVER_RULE: _ClassVar[Lever]
    LEVER_LIMIT: _ClassVar[Lever]

class ExplanationGap(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPLANATION_GAP_UNSPECIFIED: _ClassVar[ExplanationGap]
    EXPLANATION_GAP_LEFT_OUT: _ClassVar[ExplanationGap]
    EXPLANATION_GAP_UNHEALTHY: _ClassVar[ExplanationGap]
    EXPLANATION_GAP_RULES: _ClassVar[ExplanationGap]
    EXPLANATION_GAP_LIMITS: _ClassVar[ExplanationGap]
    EXPLANATION_GAP_CHOICE: _ClassVar[ExplanationGap]
CRITERION_UNSPECIFIED: Criterion
CRITERION_EXPECTED_COST: Criterion
CRITERION_SURPLUS: Criterion
CRITERION_PRICE: Criterion
CRITERION_TARGET: Criterion
CRITERION_NEAR_BEST: Criterion
CRITERION_TIE: Criterion
CRITERION_SOFT_LIMIT: Criterion
CRITERION_CHANCE: Criterion
CRITERION_OTHER: Criterion
LEVER_UNSPECIFIED: Lever
LEVER_PRICE: Lever
LEVER_P_ADEQUATE: Lever
LEVER_MISS_COST: Lever
LEVER_WILLINGNESS_TO_PAY: Lever
LEVER_QUALITY_TARGET: Lever
LEVER_MAX_PRICE: Lever
LEVER_MAX_LATENCY: Lever
LEVER_MAX_FIRST_TOKEN: Lever
LEVER_REGIONS: Lever
LEVER_REQUIRED_CAPABILITIES: Lever
LEVER_ALLOWED_TIERS: Lever
LEVER_ALLOWED_MODELS: Lever
LEVER_HEALTH: Lever
LEVER_FAILED_PROVIDER: Lever
LEVER_RULE: Lever
LEVER_LIMIT: Lever
EXPLANATION_GAP_UNSPECIFIED: ExplanationGap
EXPLANATION_GAP_LEFT_OUT: ExplanationGap
EXPLANATION_GAP_UNHEALTHY: ExplanationGap
EXPLANATION_GAP_RULES: ExplanationGap
EXPLANATION_GAP_LIMITS: ExplanationGap
EXPLANATION_GAP_CHOICE: ExplanationGap

class Explanation(_message.Message):
    __slots__ = ("models", "miss_cost", "willingness_to_pay", "quality_target", "complexity", "propensity", "gaps")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    MISS_COST_FIELD_NUMBER: _ClassVar[int]
    WILLINGNESS_TO_PAY_FIELD_NUMBER: _ClassVar[int]
    QUALITY_TARGET_FIELD_NUMBER: _ClassVar[int]
    COMPLEXITY_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ExplainedModel]
    miss_cost: _money_pb2.Money
    willingness_to_pay: _money_pb2.Money
    quality_target: float
    complexity: float
    propensity: float
    gaps: _containers.RepeatedScalarFieldContainer[ExplanationGap]
    def __init__(self, models: _Optional[_Iterable[_Union[ExplainedModel, _Mapping]]] = ..., miss_cost: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., willingness_to_pay: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., quality_target: _Optional[float] = ..., complexity: _Optional[float] = ..., propensity: _Optional[float] = ..., gaps: _Optional[_Iterable[_Union[ExplanationGap, str]]] = ...) -> None: ...

class ExplainedModel(_message.Message):
    __slots__ = ("model", "tier", "place", "p_adequate", "expected_price", "high_price", "expected_cost", "exclusion", "needs", "loss", "changes", "examined")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    P_ADEQUATE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PRICE_FIELD_NUMBER: _ClassVar[int]
    HIGH_PRICE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_COST_FIELD_NUMBER: _ClassVar[int]
    EXCLUSION_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    EXAMINED_FIELD_NUMBER: _ClassVar[int]
    model: str
    tier: str
    place: int
    p_adequate: float
    expected_price: _money_pb2.Money
    high_price: _money_pb2.Money
    expected_cost: _money_pb2.Money
    exclusion: str
    needs: _containers.RepeatedCompositeFieldContainer[Change]
    loss: Loss
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    examined: bool
    def __init__(self, model: _Optional[str] = ..., tier: _Optional[str] = ..., place: _Optional[int] = ..., p_adequate: _Optional[float] = ..., expected_price: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., high_price: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., expected_cost: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., exclusion: _Optional[str] = ..., needs: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., loss: _Optional[_Union[Loss, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., examined: _Optional[bool] = ...) -> None: ...

class Loss(_message.Message):
    __slots__ = ("to", "criterion", "amount", "probability", "limit_id")
    TO_FIELD_NUMBER: _ClassVar[int]
    CRITERION_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_ID_FIELD_NUMBER: _ClassVar[int]
    to: str
    criterion: Criterion
    amount: _money_pb2.Money
    probability: float
    limit_id: str
    def __init__(self, to: _Optional[str] = ..., criterion: _Optional[_Union[Criterion, str]] = ..., amount: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., probability: _Optional[float] = ..., limit_id: _Optional[str] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("lever", "name", "rises", "value", "now")
    LEVER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RISES_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    lever: Lever
    name: str
    rises: bool
    value: ChangeValue
    now: ChangeValue
    def __init__(self, lever: _Optional[_Union[Lever, str]] = ..., name: _Optional[str] = ..., rises: _Optional[bool] = ..., value: _Optional[_Union[ChangeValue, _Mapping]] = ..., now: _Optional[_Union[ChangeValue, _Mapping]] = ...) -> None: ...

class ChangeValue(_message.Message):
    __slots__ = ("money", "probability", "seconds", "tokens", "requests", "concurrent")
    MONEY_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    CONCURRENT_FIELD_NUMBER: _ClassVar[int]
    money: _money_pb2.Money
    probability: float
    seconds: float
    tokens: int
    requests: int
    concurrent: int
    def __init__(self, money: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., probability: _Optional[float] = ..., seconds: _Optional[float] = ..., tokens: _Optional[int] = ..., requests: _Optional[int] = ..., concurrent: _Optional[int] = ...) -> None: ...
