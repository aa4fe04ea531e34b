import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.type import money_pb2 as _money_pb2
from mitsumori.v1 import quote_pb2 as _quote_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_STATE_UNSPECIFIED: _ClassVar[TaskState]
    TASK_STATE_OPEN: _ClassVar[TaskState]
    TASK_STATE_ENDED: _ClassVar[TaskState]
    TASK_STATE_EXPIRED: _ClassVar[TaskState]
TASK_STATE_UNSPECIFIED: TaskState
TASK_STATE_OPEN: TaskState
TASK_STATE_ENDED: TaskState
TASK_STATE_EXPIRED: TaskState

class TaskQuote(_message.Message):
    __slots__ = ("model", "price", "turns", "max_turns", "input_tokens", "max_input_tokens", "output_tokens", "max_output_tokens", "fitting_turns", "price_table_version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    MAX_TURNS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FITTING_TURNS_FIELD_NUMBER: _ClassVar[int]
    PRICE_TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    price: _quote_pb2.PriceRange
    turns: int
    max_turns: int
    input_tokens: int
    max_input_tokens: int
    output_tokens: int
    max_output_tokens: int
    fitting_turns: int
    price_table_version: str
    def __init__(self, model: _Optional[str] = ..., price: _Optional[_Union[_quote_pb2.PriceRange, _Mapping]] = ..., turns: _Optional[int] = ..., max_turns: _Optional[int] = ..., input_tokens: _Optional[int] = ..., max_input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., fitting_turns: _Optional[int] = ..., price_table_version: _Optional[str] = ...) -> None: ...

class TaskStatus(_message.Message):
    __slots__ = ("task_id", "state", "cap", "left", "turns", "held", "spent", "create_time", "expire_time", "labels", "quote")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    state: TaskState
    cap: _money_pb2.Money
    left: _money_pb2.Money
    turns: int
    held: _money_pb2.Money
    spent: _money_pb2.Money
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    labels: _containers.ScalarMap[str, str]
    quote: TaskQuote
    def __init__(self, task_id: _Optional[str] = ..., state: _Optional[_Union[TaskState, str]] = ..., cap: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., left: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., turns: _Optional[int] = ..., held: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., spent: _Optional[_Union[_money_pb2.Money, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., quote: _Optional[_Union[TaskQuote, _Mapping]] = ...) -> None: ...
