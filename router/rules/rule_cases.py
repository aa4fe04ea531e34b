"""Cases for a routing table: requests, and the rules that shall apply to them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from router.core.errors import InvalidInput
from router.core.types import Candidate, Importance, Model
from router.files import MAX_TEXT_BYTES, parse_yaml, read_bounded
from router.rules.facts import GOALS, LANGUAGES, LEVELS, TASKS, VARIABLES, level_of
from router.rules.places import Places
from router.rules.routing_table import RoutingTable

__all__ = ["CaseResult", "RuleCase", "read_cases", "run_case"]

_USUAL: Mapping[str, Any] = {
    "importance": "medium", "complexity": 0.5, "tasks": [], "language": "latin", "scope": {},
    "input_tokens": 100, "max_output_tokens": 0, "turns": 1, "capabilities": [], "names_models": False,
    "goal": "default", "batch": False, "hour": 12, "weekday": 3,
}  # fmt: skip
"""Of variables that a case does not give."""
_COMPLEXITY = dict(zip(LEVELS, (0.1, 0.5, 0.9), strict=True))
_MAX_COUNT = 10**9
_CHOICES: Mapping[str, Sequence[str]] = {
    "importance": [each.value for each in Importance],
    "level": LEVELS,
    "language": LANGUAGES,
    "goal": GOALS,
    "tasks": TASKS,
}


_BOUNDS: Mapping[str, tuple[int, int]] = {
    "complexity": (0, 1),
    "hour": (0, 23),
    "weekday": (1, 7),
    "turns": (1, _MAX_COUNT),
    "input_tokens": (0, _MAX_COUNT),
    "max_output_tokens": (0, _MAX_COUNT),
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RuleCase(_Strict):
    """A request and what the table shall say of it.

    Attributes:
        name: for the report.
        given: variables of conditions; the others have usual values. ``level`` stands for a complexity.
        rules: names of the rules that shall apply, in the order of the table; ``None``: any.
        tiers: of the models that they shall allow; ``None``: any.
        models: that they shall allow; ``None``: any.
    """

    name: str = Field(min_length=1, max_length=200)
    given: dict[str, Any] = {}
    rules: tuple[str, ...] | None = None
    tiers: frozenset[str] | None = None
    models: frozenset[str] | None = None

    @model_validator(mode="after")
    def _can_be_asked(self) -> RuleCase:
        if self.rules is None and self.tiers is None and self.models is None:
            raise ValueError("expects nothing; give rules, tiers or models")
        for name, value in self.given.items():
            if name not in VARIABLES:
                raise ValueError(f"given.{name[:40]} is no variable; known: {', '.join(VARIABLES)}")
            _check(name, value)
        if {"level", "complexity"} <= self.given.keys():
            raise ValueError("given has both level and complexity; give one of them")
        return self

    @property
    def values(self) -> dict[str, Any]:
        """The value of every variable."""
        given = dict(self.given)
        if "level" in given:
            given["complexity"] = _COMPLEXITY[given["level"]]
        found = {**_USUAL, **given}
        found["complexity"] = float(found["complexity"])
        return {**found, "level": level_of(found["complexity"])}


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "double": (int, float), "int": (int,), "bool": (bool,), "list<string>": (list,),
    "map<string, string>": (dict,),
}  # fmt: skip


def _check(name: str, value: Any) -> None:
    kind = VARIABLES[name][0]
    wrong = not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool")
    inside = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    if wrong or not all(isinstance(each, str) for each in inside):
        raise ValueError(f"given.{name} must be of type {kind}")
    least, most = _BOUNDS.get(name, (None, None))
    if least is not None and most is not None and not least <= value <= most:
        raise ValueError(f"given.{name} must lie in {least} to {most}")
    allowed = _CHOICES.get(name)
    for each in value if isinstance(value, list) else (value,):
        if allowed is not None and each not in allowed:
            raise ValueError(f"given.{name} must be of {', '.join(allowed)}")


class _File(_Strict):
    cases: tuple[RuleCase, ...] = Field(min_length=1, max_length=10_000)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of a case.

    Attributes:
        name: of the case.
        differences: what the table says otherwise than expected; empty where it holds.
    """

    name: str
    differences: tuple[str, ...]


def read_cases(path: Path) -> tuple[RuleCase, ...]:
    """Read a file of cases.

    Raises:
        InvalidInput: it cannot be read or is wrong; says where.
    """
    try:
        text = read_bounded(path, MAX_TEXT_BYTES).decode()
        raw = parse_yaml(text)
        places = Places(text)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror})", field=str(path)) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: is not UTF-8 text", field=str(path)) from None
    except ValueError as error:
        raise InvalidInput(f"{path}: {error}", field=str(path)) from None
    try:
        return _File.model_validate(raw).cases
    except ValidationError as error:
        first = error.errors()[0]
        at: tuple[Hashable, ...] = first["loc"]
        message = first["msg"].removeprefix("Value error, ")
        where = ".".join(map(str, at)) or "cases"
        raise InvalidInput(
            f"{path}: {where}: {message} ({places.of(at)})", field=str(path)
        ) from None


def run_case(case: RuleCase, table: RoutingTable, models: Sequence[Model]) -> CaseResult:
    """Ask a table about a case.

    Args:
        case: what is asked and expected.
        table: that is asked.
        models: of the catalog.
    """
    values = case.values
    values["scope"] = {**table.conditions.labels, **values["scope"]}
    ruling = table.ruling_on(values)
    applied = tuple(rule.name for rule in ruling.rules)
    allowed = [
        model
        for model in models
        if model.retired is None and ruling.forbids(Candidate(model, None, None, None)) is None
    ]
    found: Mapping[str, tuple[Any, Any]] = {
        "rules": (case.rules, applied),
        "tiers": (case.tiers, frozenset(model.tier for model in allowed)),
        "models": (case.models, frozenset(model.id for model in allowed)),
    }
    return CaseResult(
        case.name,
        tuple(
            f"{name}: expected {_listed(expected)}, found {_listed(actual)}"
            for name, (expected, actual) in found.items()
            if expected is not None and expected != actual
        ),
    )


def _listed(names: Sequence[str] | frozenset[str]) -> str:
    ordered = sorted(names) if isinstance(names, frozenset) else names
    return ", ".join(ordered) or "none"
