"""Turns a caller's arguments into a message of the protocol: the one place where they are checked.

What an argument must be follows from its field: a text, names, labels, a whole number, a share, seconds, USD,
a choice, yes or no, or a moment. An error names the argument and never quotes its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import cache
from numbers import Real
from operator import index
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from mitsumori.errors import InvalidArgument
from mitsumori.money import money_of, usd_of

__all__ = [
    "FIELDS",
    "choice_of",
    "choices_of",
    "message_of",
    "names_of",
    "part_of",
    "seconds_of",
    "text_of",
    "whole_of",
]

M = TypeVar("M", bound=Message)

FIELDS = {
    "before": "before_time",
    "cap_usd": "cap",
    "capabilities": "required_capabilities",
    "chosen": "filter",
    "cost_usd": "cost",
    "first_token_s": "first_token_latency",
    "latency_s": "latency",
    "max_first_token_s": "max_first_token",
    "max_latency_s": "max_latency",
    "max_price_usd": "max_price",
    "models": "allowed_models",
    "retry_after_s": "retry_after",
    "tiers": "allowed_tiers",
    "ttl_s": "time_to_live",
    "willingness_to_pay_usd": "willingness_to_pay",
}
"""Argument → the field of the protocol, where that has another name."""

_SURROGATE = "holds half of a surrogate pair, which cannot be sent; decode the text correctly"
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_MAX_SECONDS = 315_576_000_000
"""Ten thousand years: the longest ``google.protobuf.Duration``."""


def message_of(kind: type[M], /, *, required: Collection[str] = (), **arguments: object) -> M:
    """A message with these arguments in its fields. ``None`` leaves a field absent that may be absent.

    Args:
        kind: of the message.
        required: arguments that may not be ``None``, although their fields could be absent.
        arguments: by name.

    Raises:
        InvalidArgument: an argument does not fit its field, or is ``None`` and required; names it.
    """
    fields = kind.DESCRIPTOR.fields_by_name
    values = {}
    for name, value in arguments.items():
        field = fields[FIELDS.get(name, name)]
        if value is not None or name in required or not field.has_presence:
            values[field.name] = _value_of(field)(value, name)
    return kind(**values)


def text_of(value: object, name: str) -> str:
    """A text.

    Raises:
        InvalidArgument: it is of another type, or holds half of a surrogate pair, which UTF-8 cannot write.
    """
    if not isinstance(value, str):
        raise InvalidArgument(name, f"must be a text, not {_type_of(value)}")
    if not _is_unicode(value):
        raise InvalidArgument(name, _SURROGATE)
    return value


def names_of(values: object, name: str) -> list[str]:
    """Names in the order given.

    Raises:
        InvalidArgument: they are a single text, whose letters would be taken for names, or no texts.
    """
    if isinstance(values, str | bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        raise InvalidArgument(name, f"write a list of names, not {_type_of(values)}")
    return [text_of(value, f"{name}[{place}]") for place, value in enumerate(values)]


def whole_of(value: object, name: str, *, least: int = 0, bits: int = 64) -> int:
    """A whole number.

    Args:
        value: of any type that Python takes for an index, but not a bool.
        name: the argument, for the error.
        least: the smallest that may be sent.
        bits: of the signed field.

    Raises:
        InvalidArgument: it is of another type, or out of range.
    """
    most = 2 ** (bits - 1) - 1
    try:
        number = None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise InvalidArgument(name, f"must be a whole number, not {_type_of(value)}")
    if not least <= number <= most:
        raise InvalidArgument(name, f"must be a whole number from {least} to {most}")
    return number


def seconds_of(value: object, name: str) -> float:
    """A number of seconds ≥ 0 that a message can carry.

    Raises:
        InvalidArgument: it is of another type, negative, longer than ten thousand years, or not finite.
    """
    return _number_of(value, name, _MAX_SECONDS, "a finite number of seconds")


def choice_of(value: object, name: str, choices: Mapping[str, int]) -> int:
    """The number of a choice.

    Raises:
        InvalidArgument: there is no such choice; lists them.
    """
    # The value is never quoted: where role and text are swapped, it is prompt text.
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgument(name, f"must be one of {', '.join(choices)}")
    return choices[value]


def choices_of(kind: Any) -> dict[str, Any]:
    """The values of an enum by the names that callers write, such as ``low`` for ``IMPORTANCE_LOW``.

    Args:
        kind: descriptor of the enum.
    """
    prefix = f"{_CAPITAL.sub('_', kind.name).upper()}_"
    return {
        value.name.removeprefix(prefix).lower(): value.number
        for value in kind.values
        if value.number
    }


def part_of(value: object, name: str, kind: type[M]) -> M:
    """A message of the protocol, as the caller built it.

    Raises:
        InvalidArgument: it is of another type.
    """
    if not isinstance(value, kind):
        wanted = kind.DESCRIPTOR.name
        raise InvalidArgument(name, f"must be a {wanted} of mitsumori.v1, not {_type_of(value)}")
    return value


@cache
def _value_of(field: Any) -> Callable[[Any, str], object]:
    """How an argument becomes the value of a field, given its descriptor."""
    kind, part = field.type, field.message_type
    if part is not None and part.GetOptions().map_entry:
        return _labels_of
    if field.is_repeated:
        return names_of
    if part is not None:
        special = _PARTS.get(part.full_name)
        return special or (lambda value, name: part_of(value, name, GetMessageClass(part)))
    if kind == FieldDescriptor.TYPE_ENUM:
        choices = choices_of(field.enum_type)
        return lambda value, name: choice_of(value, name, choices)
    if kind == FieldDescriptor.TYPE_INT32:
        return lambda value, name: whole_of(value, name, bits=32)
    return _SCALARS[kind]


def _labels_of(value: object, name: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidArgument(name, f"write a mapping of label to value, not {_type_of(value)}")
    for label in value:
        if not isinstance(label, str):
            where = f"{name}.{label}" if isinstance(label, int | float) else name
            raise InvalidArgument(where, f"a label must be a text, not {_type_of(label)}")
        if not _is_unicode(label):
            raise InvalidArgument(name, f"a label {_SURROGATE}")
    return {label: text_of(text, f"{name}.{label}") for label, text in value.items()}


def _number_of(value: object, name: str, most: int, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidArgument(name, f"must be {what}, not {_type_of(value)}")
    if not 0 <= value <= most:  # type: ignore[operator]
        raise InvalidArgument(name, f"must be {what} from 0 to {most}")
    return float(value)


def _share_of(value: object, name: str) -> float:
    return _number_of(value, name, 1, "a number")


def _flag_of(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(name, f"must be True or False, not {_type_of(value)}")
    return value


def _duration_of(value: object, name: str) -> Duration:
    message = Duration()
    message.FromNanoseconds(round(seconds_of(value, name) * 1e9))
    return message


def _moment_of(value: object, name: str) -> Timestamp:
    if not isinstance(value, datetime):
        raise InvalidArgument(name, f"must be a datetime, not {_type_of(value)}")
    message = Timestamp()
    message.FromDatetime(value)
    return message


_SCALARS: Mapping[int, Callable[[Any, str], object]] = {
    FieldDescriptor.TYPE_STRING: text_of,
    FieldDescriptor.TYPE_INT64: whole_of,
    FieldDescriptor.TYPE_DOUBLE: _share_of,
    FieldDescriptor.TYPE_BOOL: _flag_of,
}
_PARTS: Mapping[str, Callable[[Any, str], object]] = {
    "google.protobuf.Duration": _duration_of,
    "google.protobuf.Timestamp": _moment_of,
    "google.type.Money": lambda value, name: money_of(usd_of(value, name).nanos),
}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False  # raised here, the error would carry the text along
    return True


def _type_of(value: object) -> str:
    return type(value).__name__
