"""A black-box search for gadgets, which asks a router for nothing but the complexity of texts.

It starts with no unit and, step by step, adds, replaces or drops one, and keeps what raises the mean
complexity of easy prompts most. Seeded, so that it can be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.gadgets.units import Gadget

__all__ = ["Effort", "search"]

_GROWS, _REPLACES = 0.6, 0.8
"""Share of the changes that add a unit, and of the others that replace one."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a search may ask.

    Attributes:
        most: units of a gadget.
        steps: how often the gadget is changed.
        tries: changes of which each step takes the best.
        batch: prompts on which a step tries its changes.
    """

    most: int = 12
    steps: int = 24
    tries: int = 16
    batch: int = 12


def search(
    complexity: Callable[[str], float],
    prompts: Sequence[str],
    units: Sequence[str],
    blank: Gadget,
    *,
    seed: int,
    effort: Effort = Effort(),
) -> Gadget:
    """The best gadget of one run.

    Args:
        complexity: of a text, 0..1; all that the search learns.
        prompts: easy ones, at least one.
        units: of which a gadget is made, at least one.
        blank: says everything of the gadget but its text.
        seed: of the run.
        effort: bounds it.
    """
    rng = random.Random(seed)  # noqa: S311 - to repeat a search, not to keep a secret
    found: list[str] = []

    def gadget(some: Sequence[str]) -> Gadget:
        return Gadget(" ".join(some), blank.place, blank.joint, blank.kind)

    def mean(some: Sequence[str], on: Sequence[str]) -> float:
        asked = [gadget(some).on(prompt) for prompt in on] if some else on
        return sum(map(complexity, asked)) / len(asked)

    for _ in range(effort.steps):
        on = rng.sample(prompts, min(effort.batch, len(prompts)))
        changed = [_changed(found, rng, units, effort.most) for _ in range(effort.tries)]
        rated = [(mean(some, on), some) for some in changed]
        best, some = max(rated, key=lambda one: one[0])
        if best > mean(found, on):
            found = some
    return gadget(found)


def _changed(
    found: Sequence[str], rng: random.Random, units: Sequence[str], most: int
) -> list[str]:
    """One unit more, another one, or one less."""
    made, unit = list(found), rng.choice(units)
    place = rng.randrange(len(made) + 1)
    if len(made) < most and (not made or rng.random() < _GROWS):
        made.insert(place, unit)
    elif rng.random() < _REPLACES or len(made) == 1:
        made[place % len(made)] = unit
    else:
        del made[place % len(made)]
    return made
