"""The file that ``mitsumori quote`` reads: a line per prompt, with what its Route request would carry."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from mitsumori import InvalidArgument, route_request
from mitsumori.arguments import FIELDS
from mitsumori.v1 import router_pb2
from router.core.errors import InvalidInput

__all__ = ["Defaults", "Line", "read_lines", "refusal"]

_AMOUNTS: Final = ("max_price", "willingness_to_pay")
_GOALS: Final = ("quality_target", "willingness_to_pay")
_LABELS: Final = ("language", "category", "user")
"""Columns of a file of prompts that are labels of its requests."""
_DESCRIPTIONS: Final = ("prompt_id", "reference", "source")
"""Columns of a file of prompts that only ``python -m training collect`` needs."""

_CONSTRAINTS: Final = tuple(map(str, router_pb2.Constraints.DESCRIPTOR.fields_by_name))
_REQUEST: Final = tuple(map(str, router_pb2.RouteRequest.DESCRIPTOR.fields_by_name))
_KNOWN: Final[tuple[str, ...]] = ("messages", *_REQUEST, *_CONSTRAINTS, *_LABELS, *_DESCRIPTIONS)
_ARGUMENTS: Final = {
    field: argument for argument, field in FIELDS.items() if field in (*_REQUEST, *_CONSTRAINTS)
}
"""Field → the argument of the client, where that has another name. A line may use either name."""
_FORM: Final = "write a JSON string, or an object with prompt or messages"

Defaults = Mapping[str, Any]
"""Values of fields for lines that lack them, by the names of the protocol."""


class Line(NamedTuple):
    """A line with a prompt: its number, from 1, and its request, or why it has none that can be sent."""

    number: int
    request: router_pb2.RouteRequest | router_pb2.QuoteError


def read_lines(path: Path, defaults: Defaults) -> list[Line]:
    """The lines of a file that are not empty, as requests.

    A line is a text, or an object with ``prompt`` or ``messages``. An object may have every other field of
    ``RouteRequest``, the fields of ``Constraints`` beside them or under ``constraints``, and ``language``,
    ``category`` and ``user``, which become labels. A field may have the name of the client's argument, such
    as ``max_price_usd``. ``prompt_id``, ``reference`` and ``source``, which ``collect`` reads, change no
    quote. ``null`` is as good as absent.

    Args:
        path: JSON lines in UTF-8, with or without a byte order mark.
        defaults: for lines that lack a field. The labels of a line are added to the default ones.

    Raises:
        InvalidArgument: a default cannot be sent; names the field.
        InvalidInput: the file cannot be read, or has no prompts.
    """
    _request({"prompt": "any"}, defaults, {})
    try:
        # Not splitlines(): it also splits at characters that may occur inside a JSON string.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise InvalidInput(f"there is no file {path}", field="file") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror})", field="file") from None
    except UnicodeError:
        raise InvalidInput(f"{path} is not UTF-8 text; save it as UTF-8", field="file") from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found.append(Line(number, _request_or_refusal(line, defaults)))
    if not found:
        raise InvalidInput(f"{path} has no prompts", field="file")
    return found


def refusal(text: str, reason: str = "INVALID_INPUT") -> router_pb2.QuoteError:
    """Why a line is not sent.

    Args:
        text: for people.
        reason: UPPER_SNAKE_CASE, stable, for programs.
    """
    return router_pb2.QuoteError(reason=reason, text=text)


def _request_or_refusal(
    line: str, defaults: Defaults
) -> router_pb2.RouteRequest | router_pb2.QuoteError:
    try:
        row = json.loads(line)
    except RecursionError:
        return refusal("the line is nested too deeply to be a prompt")
    except ValueError:
        return refusal(f"the line is not JSON; {_FORM}")
    row = {"prompt": row} if isinstance(row, str) else row
    if not isinstance(row, dict):
        return refusal(f"the line is no prompt; {_FORM}")
    if not {"prompt", "messages"} & row.keys():
        return refusal(f"the line has no prompt; {_FORM}")
    try:
        given, written = _fields(row)
        return _request(given, defaults, written)
    except InvalidArgument as error:
        return refusal(error.message)
    except _UnknownField as error:
        return _unknown(*error.args)


class _UnknownField(Exception):
    """Neither the protocol nor the client has a name. Arguments: where it stands, the name, known ones."""


def _unknown(where: str, name: str, known: Collection[str]) -> router_pb2.QuoteError:
    # A name that is no word may be text of a prompt.
    word = name.isidentifier() and name.isascii()
    names = [*known, *(argument for field, argument in _ARGUMENTS.items() if field in known)]
    near = get_close_matches(name, names, n=1) if word else []
    remedy = f"did you mean {near[0]}?" if near else "mitsumori quote --help lists them"
    shown = f"{where}{name[:60]}" if word else "a name"
    return refusal(f"{shown}: is not a field of a line; {remedy}", "UNKNOWN_FIELD")


def _fields(row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of a line that are not ``null``, those under ``constraints`` beside them, and their names.

    Returns:
        Value by name of the protocol, and the name as written by name of the protocol.

    Raises:
        InvalidArgument: a field is given twice, or ``constraints`` is no object.
        _UnknownField: there is no such field.
    """
    nested = row.get("constraints")
    if not isinstance(nested, dict | None):
        raise InvalidArgument("constraints", f"must be an object with {', '.join(_CONSTRAINTS)}")
    beside = {name: value for name, value in row.items() if name != "constraints"}
    found: dict[str, Any] = {}
    written: dict[str, str] = {}
    for where, part, known in (("", beside, _KNOWN), ("constraints.", nested or {}, _CONSTRAINTS)):
        for name, value in part.items():
            field = FIELDS.get(name, name)
            if field not in known:
                raise _UnknownField(where, name, known)
            if value is None:
                continue
            if field in found:
                other = "beside constraints or in it" if where else f"or {written[field]}"
                raise InvalidArgument(name, f"give it {other}, not both")
            found[field], written[field] = value, name
    return found, written


def _request(
    given: dict[str, Any], defaults: Defaults, written: Mapping[str, str]
) -> router_pb2.RouteRequest:
    if "prompt" in given and "messages" in given:
        raise InvalidArgument("messages", "give prompt or messages, not both")
    prompt = given.pop("messages", given.pop("prompt", None))
    labels = {name: _label(given.pop(name), name) for name in _LABELS if name in given}
    scope = given.pop("scope", {})
    if not isinstance(scope, dict):
        raise InvalidArgument("scope", 'write an object of labels, such as {"team": "search"}')
    described = {name: value for name, value in given.items() if name not in _DESCRIPTIONS}
    # One goal excludes the other: that of a line stands for both defaults.
    own_goal = any(name in given for name in _GOALS)
    kept = {name: value for name, value in defaults.items() if not (own_goal and name in _GOALS)}
    fields: dict[str, Any] = (
        kept | described | {"scope": {**defaults.get("scope", {}), **labels, **scope}}
    )
    arguments: dict[str, Any] = {
        _ARGUMENTS.get(name, name): _exact(name, value) for name, value in fields.items()
    }
    try:
        return route_request(prompt, **arguments)
    except InvalidArgument as error:
        raise _named_as_written(error, written) from None


def _label(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(name, f"must be a text, not {type(value).__name__}")
    return value


def _exact(name: str, value: object) -> object:
    """An amount as JSON writes it: the shortest decimal that stands for the number."""
    return str(value) if name in _AMOUNTS and isinstance(value, float) else value


def _named_as_written(error: InvalidArgument, written: Mapping[str, str]) -> InvalidArgument:
    """The error with the names of the line instead of those of the client's arguments."""
    field, text = error.field, error.message.removeprefix(f"{error.field}: ")
    for name, argument in _ARGUMENTS.items():
        known = written.get(name, name)
        if field.partition("[")[0] == argument:
            field = field.replace(argument, known, 1)
        elif argument.startswith(name):  # not a common word, such as models
            text = text.replace(argument, known)
    return InvalidArgument(field, text)
