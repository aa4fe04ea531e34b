import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Quote(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "price", "latency", "expire_time", "price_table_version", "reasoning_tokens", "first_token")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    PRICE_TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    input_tokens: TokenCount
    output_tokens: TokenRange
    price: PriceRange
    latency: LatencyRange
    expire_time: _timestamp_pb2.Timestamp
    price_table_version: str
    reasoning_tokens: TokenRange
    first_token: LatencyRange
    def __init__(self, input_tokens: _Optional[_Union[TokenCount, _Mapping]] = ..., output_tokens: _Optional[_Union[TokenRange, _Mapping]] = ..., price: _Optional[_Union[PriceRange, _Mapping]] = ..., latency: _Optional[_Union[LatencyRange, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., price_table_version: _Optional[str] = ..., reasoning_tokens: _Optional[_Union[TokenRange, _Mapping]] = ..., first_token: _Optional[_Union[LatencyRange, _Mapping]] = ...) -> None: ...

class TokenCount(_message.Message):
    __slots__ = ("tokens", "exact", "worst")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    exact: bool
    worst: int
    def __init__(self, tokens: _Optional[int] = ..., exact: _Optional[bool] = ..., worst: _Optional[int] = ...) -> None: ...

class TokenRange(_message.Message):
    __slots__ = ("p50", "p90", "worst")
    P50_FIELD_NUMBER: _ClassVar[int]
    P90_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    p50: int
    p90: int
    worst: int
    def __init__(self, p50: _Optional[int] = ..., p90: _Optional[int] = ..., worst: _Optional[int] = ...) -> None: ...

class PriceRange(_message.Message):
    __slots__ = ("low", "expected", "high", "worst")
    LOW_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    low: _money_pb2.Money
    expected: _money_pb2.Money
    high: _money_pb2.Money
    worst: _money_pb2.Money
    def __init__(self, low: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., expected: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., high: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., worst: _Optional[_Union[_money_pb2.Money, _Mapping]] = ...) -> None: ...

class LatencyRange(_message.Message):
    __slots__ = ("p50", "p90")
    P50_FIELD_NUMBER: _ClassVar[int]
    P90_FIELD_NUMBER: _ClassVar[int]
    p50: _duration_pb2.Duration
    p90: _duration_pb2.Duration
    def __init__(self, p50: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., p90: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
