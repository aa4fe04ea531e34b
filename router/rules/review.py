"""What is suspicious about a routing table: rules that fail, never hold, are never asked, contradict, or do
nothing.

What a condition can be true of is not proved but searched: every combination of the values that matter to
it, which are those that it names and their neighbours. Where these are too many, a sample is searched.
"""

from __future__ import annotations

import enum
import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.catalog.catalog import Catalog
from router.core.ruling import Effects, Ruling
from router.core.types import Candidate, Importance, Model
from router.rules.conditions import Conditions
from router.rules.facts import GOALS, LANGUAGES, TASKS, level_of
from router.rules.places import Place
from router.rules.routing_table import RoutingTable, Rules

__all__ = ["Doubt", "Finding", "review"]

_MOST = 20_000
"""Combinations that are tried for a rule, or for two of them."""
_SEED = 1
_WORD = re.compile(r"[A-Za-z_]\w*")
_TEXT = re.compile(r'"([^"\\]*)"|\'([^\'\\]*)\'')
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_OTHER = "(other)"
_CAN_FAIL = re.compile(r"[-+*/%\[(]")
"""Comparisons of what is there have a value for every request; arithmetic, indices and functions may not."""


class Doubt(enum.Enum):
    """What is suspicious about a rule."""

    FAILS = "fails"
    NEVER_HOLDS = "never holds"
    NEVER_ASKED = "never asked"
    CONTRADICTS = "contradicts"
    DOES_NOTHING = "does nothing"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is suspicious.

    Attributes:
        doubt: of what kind.
        rule: its name.
        place: in the file.
        text: what is suspicious, and what to do.
    """

    doubt: Doubt
    rule: str
    place: Place
    text: str


def review(rules: Rules, catalog: Catalog, models: Sequence[Model]) -> list[Finding]:
    """Every suspicious rule of a table, in its order.

    Args:
        rules: the table.
        catalog: that it is for.
        models: of the catalog.

    Raises:
        BadArtifact: the rules do not fit the catalog.
    """
    table = rules.fitted(catalog)
    entries = rules.file.rules
    findings = []
    for index, entry in enumerate(entries):
        place = rules.places.of(("rules", index))

        def found(doubt: Doubt, text: str, name: str = entry.name, at: Place = place) -> None:
            findings.append(Finding(doubt, name, at, text))

        failing = _fails_for(entry.when, rules)
        if failing is not None:
            found(
                Doubt.FAILS,
                f"its condition has no value, and so does not hold, such as for {failing}; compare labels as "
                'texts, as in scope.grade in ["3", "4"], or ask first whether there is what it needs',
            )
        if not any(_true_of([entry.when], rules)):
            found(Doubt.NEVER_HOLDS, "no request was found for which it holds; check the condition")
            continue
        if above := _finals_above(table, rules, index):
            found(
                Doubt.NEVER_ASKED,
                f"wherever it holds, {' or '.join(above)} holds above it, which is final; move it up",
            )
        effects = table.rules[index].effects
        if _changes_nothing(effects, models):
            found(Doubt.DOES_NOTHING, "it allows every model of the catalog; remove it")
        for other in range(index):
            both = _both_hold(table, rules, other, index, models)
            if both is not None:
                found(
                    Doubt.CONTRADICTS,
                    f"together with {entries[other].name} it allows no model, such as for {_told(both)}; "
                    "narrow one of the conditions, or make the upper one final",
                )
    return findings


def _fails_for(condition: str, rules: Rules) -> str | None:
    """What a condition asks about in a situation in which it fails; ``None``: none was found."""
    if not _CAN_FAIL.search(_TEXT.sub('""', condition)):
        return None
    asked = Conditions([condition])
    for values in _situations([condition], rules.conditions.labels):
        asked.hold(values)
        if asked.failed:
            told = {name: values[name] for name in asked.names if name != "scope"}
            told |= {f"scope.{label}": values["scope"].get(label, "") for label in asked.labels}
            return ", ".join(f"{name} {value!r}" for name, value in told.items()) or "any request"
    return None


def _true_of(
    conditions: Sequence[str], rules: Rules, others: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Situations in which all of some conditions hold, however others turn out."""
    asked = Conditions(conditions)
    for values in _situations([*conditions, *others], rules.conditions.labels):
        if all(asked.hold(values)):
            yield values


def _finals_above(table: RoutingTable, rules: Rules, index: int) -> list[str]:
    """The final rules that keep a rule from being asked; empty where it is asked once."""
    finals = [entry.when for entry in rules.file.rules[:index] if entry.final]
    name, above = table.rules[index].name, dict[str, None]()
    if finals:
        for values in _true_of([rules.file.rules[index].when], rules, finals):
            applied = [rule.name for rule in table.ruling_on(values).rules]
            if name in applied:
                return []
            above[applied[-1]] = None
    return sorted(above)


def _changes_nothing(effects: Effects, models: Sequence[Model]) -> bool:
    acts = (
        effects.goal is not None
        or effects.explore is not None
        or effects.defer
        or effects.max_price_nanos is not None
    )
    return not acts and effects.max_latency_s is None and all(map(effects.allows, models))


def _both_hold(
    table: RoutingTable, rules: Rules, first: int, second: int, models: Sequence[Model]
) -> Mapping[str, Any] | None:
    """Values for which two rules apply that together allow no model; ``None``: none were found, or one of
    them gives way."""
    one, other = table.rules[first], table.rules[second]
    both = Ruling((one, other))
    if both.gives_way or any(
        both.forbids(Candidate(each, None, None, None)) is None for each in models
    ):
        return None
    conditions = [rules.file.rules[at].when for at in (first, second)]
    finals = [entry.when for entry in rules.file.rules[:second] if entry.final]
    for values in _true_of(conditions, rules, finals):
        applied = {rule.name for rule in table.ruling_on(values).rules}
        if {one.name, other.name} <= applied:
            return values
    return None


# --- Situations --------------------------------------------------------------------------------


def _situations(conditions: Sequence[str], labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Values of all variables, of which those that the conditions name vary."""
    source = " ".join(conditions)
    texts = list(dict.fromkeys(a or b for a, b in _TEXT.findall(source)))
    bare = _TEXT.sub('""', source)
    numbers = list(dict.fromkeys(map(float, _NUMBER.findall(bare))))
    named = set(_WORD.findall(bare)) | set(texts)
    choices: dict[str, Sequence[Any]] = {
        "importance": [each.value for each in Importance],
        "complexity": _shares(numbers),
        "tasks": _some_of(TASKS, texts),
        "language": list(LANGUAGES),
        "input_tokens": _counts(numbers, 100),
        "max_output_tokens": _counts(numbers, 0),
        "turns": [max(each, 1) for each in _counts(numbers, 1)],
        "capabilities": _some_of(texts, texts),
        "names_models": [False, True],
        "goal": list(GOALS),
        "batch": [False, True],
        "hour": list(range(24)),
        "weekday": list(range(1, 8)),
        **{f"scope.{label}": ["", *texts, _OTHER] for label in labels if label in named},
    }
    if "level" in named:
        named.add("complexity")
    varied = [name for name in choices if name in named or name.startswith("scope.")]
    fixed = {name: some[0] for name, some in choices.items() if name not in varied}
    for values in _combinations([choices[name] for name in varied]):
        yield _whole({**fixed, **dict(zip(varied, values, strict=True))}, labels)


def _whole(chosen: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    scope = {n.removeprefix("scope."): v for n, v in chosen.items() if n.startswith("scope.")}
    plain = {name: value for name, value in chosen.items() if not name.startswith("scope.")}
    return {**plain, "level": level_of(plain["complexity"]), "scope": {**labels, **scope}}


def _combinations(choices: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    total = 1
    for some in choices:
        total *= len(some)
    if total <= _MOST:
        yield from itertools.product(*choices)
        return
    chance = random.Random(_SEED)  # noqa: S311 — no secret
    for _ in range(_MOST):
        yield tuple(map(chance.choice, choices))


def _shares(numbers: Sequence[float]) -> list[float]:
    near = [n + step for n in numbers if n <= 1 for step in (-1e-6, 0.0, 1e-6)]
    return [0.5, *(each for each in (0.0, 0.2, 0.8, 1.0, *near) if 0 <= each <= 1)]


def _counts(numbers: Sequence[float], usual: int) -> list[int]:
    near = [int(n) + step for n in numbers for step in (-1, 0, 1)]
    return list(dict.fromkeys([usual, *(each for each in near if each >= 0)]))


def _some_of(known: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
    """No element, each that is named, and all that are."""
    named = [each for each in texts if each in known]
    return [[], *([each] for each in named), *([named] if len(named) > 1 else [])]


def _told(values: Mapping[str, Any]) -> str:
    """A situation for people: what differs from the usual."""
    scope = {label: value for label, value in values["scope"].items() if value}
    plain = {name: values[name] for name in ("importance", "level", "batch", "hour")}
    return ", ".join(f"{name} {value}" for name, value in {**plain, **scope}.items())
