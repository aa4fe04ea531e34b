"""The file that ``mitsumori quote`` reads: a line per prompt, with what its Route request would carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from mitsumori import InvalidArgument, route_request
from mitsumori.v1 import router_pb2
from router.core.errors import InvalidInput

__all__ = ["Defaults", "Line", "read_lines", "refusal"]

_ARGUMENTS: Final = {
    "allowed_models": "models",
    "allowed_tiers": "tiers",
    "required_capabilities": "capabilities",
    "max_price": "max_price_usd",
    "max_latency": "max_latency_s",
    "willingness_to_pay": "willingness_to_pay_usd",
}
"""Arguments of the client that have another name than the field of the protocol."""
_AMOUNTS: Final = ("max_price", "willingness_to_pay")
_GOALS: Final = ("quality_target", "willingness_to_pay")
_LABELS: Final = ("language", "category", "user")
"""Columns of a file of prompts that are labels of its requests."""
_DESCRIPTIONS: Final = ("prompt_id", "reference", "source")
"""Columns of a file of prompts that only ``python -m training collect`` needs."""

_CONSTRAINTS: Final = tuple(map(str, router_pb2.Constraints.DESCRIPTOR.fields_by_name))
_REQUEST: Final = tuple(map(str, router_pb2.RouteRequest.DESCRIPTOR.fields_by_name))
_KNOWN: Final[tuple[str, ...]] = ("messages", *_REQUEST, *_CONSTRAINTS, *_LABELS, *_DESCRIPTIONS)

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
    ``category`` and ``user``, which become labels. ``prompt_id``, ``reference`` and ``source``, which
    ``collect`` reads, change no quote. ``null`` is as good as absent.

    Args:
        path: JSON lines in UTF-8.
        defaults: for lines that lack a field. The labels of a line are added to the default ones.

    Raises:
        InvalidArgument: a default cannot be sent; names the field.
        InvalidInput: the file cannot be read, or a line has another form; names the line.
    """
    _request({"prompt": "any"}, defaults)
    try:
        # Not splitlines(): it also splits at characters that may occur inside a JSON string.
        lines = path.read_text(encoding="utf-8").split("\n")
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
        try:
            row = json.loads(line)
        except RecursionError:
            found.append(Line(number, refusal("the line is nested too deeply to be a prompt")))
            continue
        except ValueError:
            row = None
        row = {"prompt": row} if isinstance(row, str) else row
        if not isinstance(row, dict) or not {"prompt", "messages"} & row.keys():
            raise InvalidInput(
                f"{path}, line {number}: write a JSON string, or an object with prompt or messages",
                field="file",
            )
        found.append(Line(number, _request_or_refusal(row, defaults)))
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
    row: Mapping[str, Any], defaults: Defaults
) -> router_pb2.RouteRequest | router_pb2.QuoteError:
    unknown = [name for name in row if name not in _KNOWN]
    if unknown:
        return _unknown(unknown[0], _KNOWN)
    try:
        given = _flat({name: value for name, value in row.items() if value is not None})
        return _request(given, defaults)
    except InvalidArgument as error:
        return refusal(error.message)
    except _UnknownConstraint as error:
        return _unknown(f"constraints.{error}", _CONSTRAINTS)


class _UnknownConstraint(Exception):
    """``constraints`` has a field of this name, which the protocol has not."""


def _unknown(name: str, known: tuple[str, ...]) -> router_pb2.QuoteError:
    # A name that is no word may be text of a prompt.
    shown = name[:60] if name.replace(".", "").isidentifier() and name.isascii() else "a name"
    return refusal(
        f"{shown}: is not a field of a line; known are {', '.join(known)}", "UNKNOWN_FIELD"
    )


def _flat(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a line, with those under ``constraints`` beside them.

    Raises:
        InvalidArgument: a field is given twice, or ``constraints`` is no object.
        _UnknownConstraint: it has an unknown field.
    """
    nested = given.pop("constraints", {})
    if not isinstance(nested, dict):
        raise InvalidArgument("constraints", f"must be an object with {', '.join(_CONSTRAINTS)}")
    for name, value in nested.items():
        if name not in _CONSTRAINTS:
            raise _UnknownConstraint(name)
        if value is not None and name in given:
            raise InvalidArgument(name, "give it beside constraints or in it, not both")
    return given | {name: value for name, value in nested.items() if value is not None}


def _request(given: dict[str, Any], defaults: Defaults) -> router_pb2.RouteRequest:
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
        raise _named_as_written(error) from None


def _label(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(name, f"must be a text, not {type(value).__name__}")
    return value


def _exact(name: str, value: object) -> object:
    """An amount as JSON writes it: the shortest decimal that stands for the number."""
    return str(value) if name in _AMOUNTS and isinstance(value, float) else value


def _named_as_written(error: InvalidArgument) -> InvalidArgument:
    """The error with the names of the file instead of those of the client's arguments."""
    text = error.message
    for written, argument in _ARGUMENTS.items():
        if error.field.partition("[")[0] == argument:
            field = error.field.replace(argument, written, 1)
            return InvalidArgument(field, text.removeprefix(f"{error.field}: "))
    return InvalidArgument(
        error.field,
        text.removeprefix(f"{error.field}: ").replace(
            "willingness_to_pay_usd", "willingness_to_pay"
        ),
    )
