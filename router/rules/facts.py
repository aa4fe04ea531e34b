"""What the conditions of rules may ask about a request, and the type of each in CEL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from router.classifier.features.lexical import FEATURES, script_of
from router.core.types import Constraints, Goal, Importance, QualityTarget

__all__ = ["GOALS", "LANGUAGES", "LEVELS", "TASKS", "VARIABLES", "Facts", "level_of"]

VARIABLES: Final[Mapping[str, tuple[str, str]]] = {
    "importance": ("string", "low, medium or high, as the request says"),
    "complexity": ("double", "of the prompt, 0 to 1: how much model it needs"),
    "level": ("string", "low, medium or high: the complexity in thirds"),
    "tasks": ("list<string>", "kinds of task that the prompt shows signs of"),
    "language": ("string", "by script: latin, japanese, chinese, other or none"),
    "scope": ("map<string, string>", 'labels of the caller: scope.team; "" where it has none'),
    "input_tokens": ("int", "of the prompt, by the tokenizer that counts most"),
    "max_output_tokens": ("int", "that the request allows; 0 where it does not say"),
    "turns": ("int", "messages of the chat"),
    "capabilities": ("list<string>", "that the request asks for"),
    "names_models": ("bool", "whether the request names models or tiers"),
    "goal": ("string", "of the request: default, quality_target or willingness_to_pay"),
    "batch": ("bool", "whether the work can wait"),
    "hour": ("int", "of the day, 0 to 23, in the table's time zone"),
    "weekday": ("int", "1 is Monday, 7 is Sunday, in the table's time zone"),
}
"""Name → its type, and what it is, for people."""

LEVELS = ("low", "medium", "high")
LANGUAGES = ("latin", "japanese", "chinese", "other", "none")
GOALS = ("default", "quality_target", "willingness_to_pay")

_SIGNS: Final[Mapping[str, tuple[str, ...]]] = {
    "code": ("asks_code", "code_markers", "asks_program"),
    "math": ("asks_solution", "formula_markers", "proof_words"),
    "multiple_choice": ("option_lines",),
    "writing": ("asks_long_text", "asks_to_write"),
    "short_text": ("asks_short_text",),
    "list": ("asks_list",),
    "explanation": ("asks_explanation",),
    "transformation": ("asks_to_transform",),
    "condensation": ("asks_to_condense",),
    "procedure": ("asks_procedure",),
    "fact": ("asks_a_fact",),
    "role_play": ("asks_role",),
}
TASKS = tuple(_SIGNS)
"""Kinds of task; a prompt may show signs of several or of none. They are words, read without judgement."""
_AT = {task: [FEATURES.index(name) for name in names] for task, names in _SIGNS.items()}


def level_of(complexity: float) -> str:
    """The third of 0..1 that a complexity lies in: low, medium or high; a third begins its level."""
    return LEVELS[min(int(complexity * 3), 2)]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request when the rules are asked.

    Attributes:
        importance: of the request.
        complexity: of the prompt, 0..1.
        features: of the prompt, float32 ``(len(FEATURES),)``.
        scope: labels of the caller.
        constraints: of the request.
        goal: of the request; ``None``: it names none.
        input_tokens: of the prompt, ≥ 0.
        turns: messages of the chat, ≥ 1.
        batch: whether the work can wait.
        moment: of the request, aware.
    """

    importance: Importance
    complexity: float
    features: npt.NDArray[np.float32]
    scope: Mapping[str, str]
    constraints: Constraints
    goal: Goal | None
    input_tokens: int
    turns: int
    batch: bool
    moment: datetime

    def values(
        self, zone: ZoneInfo, labels: Mapping[str, str], names: Iterable[str] = tuple(VARIABLES)
    ) -> dict[str, Any]:
        """The value of variables, in the order of their names.

        Args:
            zone: in which hours and days are told.
            labels: the value of every label that conditions name, for requests without it.
            names: of the variables.
        """
        values = {name: _VALUES[name](self) for name in names}
        if "scope" in values:
            values["scope"] = {**labels, **self.scope}
        there = self.moment.astimezone(zone) if _OF_TIME & values.keys() else self.moment
        if "hour" in values:
            values["hour"] = there.hour
        if "weekday" in values:
            values["weekday"] = there.isoweekday()
        return values


def _goal_name(goal: Goal | None) -> str:
    if goal is None:
        return "default"
    return "quality_target" if isinstance(goal, QualityTarget) else "willingness_to_pay"


def _tasks(features: npt.NDArray[np.float32]) -> list[str]:
    found = features.tolist()
    return [task for task, at in _AT.items() if any(found[i] > 0 for i in at)]


_OF_TIME = {"hour", "weekday"}
_VALUES: Final[Mapping[str, Callable[[Facts], Any]]] = {
    "importance": lambda facts: facts.importance.value,
    "complexity": lambda facts: float(facts.complexity),
    "level": lambda facts: level_of(facts.complexity),
    "tasks": lambda facts: _tasks(facts.features),
    "language": lambda facts: LANGUAGES[script_of(facts.features.tolist())],
    "scope": lambda facts: facts.scope,
    "input_tokens": lambda facts: facts.input_tokens,
    "max_output_tokens": lambda facts: facts.constraints.max_output_tokens or 0,
    "turns": lambda facts: facts.turns,
    "capabilities": lambda facts: sorted(facts.constraints.capabilities),
    "names_models": lambda facts: bool(facts.constraints.models or facts.constraints.tiers),
    "goal": lambda facts: _goal_name(facts.goal),
    "batch": lambda facts: facts.batch,
    "hour": lambda facts: facts.moment.hour,
    "weekday": lambda facts: facts.moment.isoweekday(),
}
