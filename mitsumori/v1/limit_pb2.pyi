import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Unit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNIT_UNSPECIFIED: _ClassVar[Unit]
    UNIT_MONEY: _ClassVar[Unit]
    UNIT_TOKENS: _ClassVar[Unit]
    UNIT_REQUESTS: _ClassVar[Unit]
    UNIT_CONCURRENT: _ClassVar[Unit]

class Window(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WINDOW_UNSPECIFIED: _ClassVar[Window]
    WINDOW_MINUTE: _ClassVar[Window]
    WINDOW_HOUR: _ClassVar[Window]
    WINDOW_DAY: _ClassVar[Window]
    WINDOW_WEEK: _ClassVar[Window]
    WINDOW_MONTH: _ClassVar[Window]
    WINDOW_TOTAL: _ClassVar[Window]

class SoftAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOFT_ACTION_UNSPECIFIED: _ClassVar[SoftAction]
    SOFT_ACTION_WARN: _ClassVar[SoftAction]
    SOFT_ACTION_PREFER_CHEAPER: _ClassVar[SoftAction]
    SOFT_ACTION_FORBID_TOP_TIER: _ClassVar[SoftAction]
    SOFT_ACTION_DEFER_BATCH: _ClassVar[SoftAction]
UNIT_UNSPECIFIED: Unit
UNIT_MONEY: Unit
UNIT_TOKENS: Unit
UNIT_REQUESTS: Unit
UNIT_CONCURRENT: Unit
WINDOW_UNSPECIFIED: Window
WINDOW_MINUTE: Window
WINDOW_HOUR: Window
WINDOW_DAY: Window
WINDOW_WEEK: Window
WINDOW_MONTH: Window
WINDOW_TOTAL: Window
SOFT_ACTION_UNSPECIFIED: SoftAction
SOFT_ACTION_WARN: SoftAction
SOFT_ACTION_PREFER_CHEAPER: SoftAction
SOFT_ACTION_FORBID_TOP_TIER: SoftAction
SOFT_ACTION_DEFER_BATCH: SoftAction

class Limit(_message.Message):
    __slots__ = ("limit_id", "scope", "unit", "window", "time_zone", "soft", "hard", "on_soft", "paced", "share", "free")
    class ScopeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LIMIT_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    ON_SOFT_FIELD_NUMBER: _ClassVar[int]
    PACED_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    limit_id: str
    scope: _containers.ScalarMap[str, str]
    unit: Unit
    window: Window
    time_zone: str
    soft: int
    hard: int
    on_soft: SoftAction
    paced: bool
    share: float
    free: int
    def __init__(self, limit_id: _Optional[str] = ..., scope: _Optional[_Mapping[str, str]] = ..., unit: _Optional[_Union[Unit, str]] = ..., window: _Optional[_Union[Window, str]] = ..., time_zone: _Optional[str] = ..., soft: _Optional[int] = ..., hard: _Optional[int] = ..., on_soft: _Optional[_Union[SoftAction, str]] = ..., paced: _Optional[bool] = ..., share: _Optional[float] = ..., free: _Optional[int] = ...) -> None: ...

class LimitStatus(_message.Message):
    __slots__ = ("limit", "balance_key", "spent", "held", "remaining", "reset_time", "whole")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BALANCE_KEY_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESET_TIME_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    limit: Limit
    balance_key: str
    spent: int
    held: int
    remaining: int
    reset_time: _timestamp_pb2.Timestamp
    whole: int
    def __init__(self, limit: _Optional[_Union[Limit, _Mapping]] = ..., balance_key: _Optional[str] = ..., spent: _Optional[int] = ..., held: _Optional[int] = ..., remaining: _Optional[int] = ..., reset_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., whole: _Optional[int] = ...) -> None: ...
