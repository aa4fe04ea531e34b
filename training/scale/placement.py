"""Tiers and models on the scale, and the examples that follow, from the histories of one training run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from router.classifier.manifest import LEAST_GAP
from router.core.ability import LARGEST, SMALLEST
from router.core.errors import InvalidInput
from router.core.model_names import canonical_name
from training.histories.history import History
from training.histories.ladders import Standard
from training.requests.request_set import (
    Request,
    history_annotations,
    prompt_key,
    read_requests,
)
from training.scale.ability import Ability, Scale, fit_scale
from training.scale.attempt_table import AttemptTable, MeasuredPrompts, attempt_table
from training.scale.examples import Examples, annotated_examples, measured_examples
from training.scale.known_abilities import known_abilities
from training.scale.length_examples import LengthExamples, length_examples
from training.scale.length_table import length_table
from training.scale.model_names import NamedModels
from training.scale.reference import Reference, read_reference

__all__ = [
    "ANNOTATION_SPREAD",
    "KnownAbility",
    "PlacedTiers",
    "check_ascending",
    "fit_histories",
    "place_tiers",
    "unlinked_histories",
]

Floats = npt.NDArray[np.float64]

MOST_ORIGIN_ERROR = 0.35
"""How uncertain the distance of the reference models may be, as a share of it, for them to fix the scale.
Where it is not known so well, abilities that ship do."""
ANNOTATION_SPREAD = 0.7
"""How far a request may be from the difficulty of its level: a standard deviation, in logits."""


class KnownAbility(Protocol):
    """An ability that is known from elsewhere."""

    @property
    def points(self) -> float:
        """On the scale."""

    @property
    def uncertainty(self) -> float:
        """The standard deviation of this, in points, > 0."""


@dataclass(frozen=True)
class PlacedTiers:
    """The scale of one training run.

    Attributes:
        points: float64 ``(k,)``, abilities of the tiers, ascending.
        abilities: of the models with attempts in the histories.
        anchors: tier → the models whose mean ability it has.
        measured: examples that rest on attempts.
        annotated: examples that rest on annotation.
        lengths: of all models and of annotated requests; ``None`` where the histories have no output tokens.
        attempts: of all models.
        prompts: of the attempts.
        notes: for the user.
    """

    points: Floats
    abilities: Mapping[str, Ability]
    anchors: Mapping[str, tuple[str, ...]]
    measured: Examples
    annotated: Examples
    lengths: LengthExamples | None
    attempts: AttemptTable
    prompts: MeasuredPrompts
    notes: tuple[str, ...]

    def points_of(self, models: NamedModels) -> Floats:
        """Abilities of models that stand for the tiers, ``(n, k)``; the tier's own where not known."""
        return models.points(self.abilities, self.points)


def fit_histories(
    histories: Sequence[History],
    standards: Sequence[Standard],
    published: Mapping[str, KnownAbility] | None = None,
) -> tuple[Scale, AttemptTable, MeasuredPrompts]:
    """The scale of some histories. Where these lack a reference model, abilities that are known fix it.

    Args:
        histories: checked.
        standards: how each was graded.
        published: abilities by canonical name that are known beside those that ship, which come first.

    Raises:
        InvalidInput: nothing was judged, or no model of the histories is on the scale.
    """
    reference = read_reference()
    table, prompts = attempt_table(histories, standards)
    if not len(table.adequate):
        raise InvalidInput(
            "no attempt has a quality, so no model can be placed on the scale of ability; add the column "
            "quality (0..1)",
            reason="NO_ATTEMPTS",
            field="history",
        )
    if set(reference.models) <= set(table.models):
        zero, hundred = sorted(reference.models, key=lambda name: reference.models[name])
        found = fit_scale(table, {}, reference.published, (zero, hundred))
        if found.origin_error <= MOST_ORIGIN_ERROR:
            return found, table, prompts
    known: Mapping[str, KnownAbility] = {**(published or {}), **known_abilities()}
    linked = {name: known[name] for name in table.models if name in known}
    if not linked:
        raise InvalidInput(
            f"none of the models of {', '.join(table.histories)} is on the scale of ability, so nothing "
            "links them to the tiers; say which of them are the arms: --arms low=MODEL,high=MODEL",
            reason="NOTHING_LINKS",
            field="arms",
        )
    priors = {name: (one.points, one.uncertainty) for name, one in linked.items()}
    return fit_scale(table, priors, reference.published), table, prompts


def unlinked_histories(
    histories: Sequence[History], abilities: Collection[str] | None = None
) -> tuple[str, ...]:
    """Names of histories none of whose models is known elsewhere: nothing links them to the scale.

    Args:
        histories: A model is known from another of them that is linked.
        abilities: canonical names of models whose ability is known; ``None``: those that ship.
    """
    models = {one.name: {canonical_name(name) for name in one.models} for one in histories}
    known = set(known_abilities() if abilities is None else abilities)
    left = set(models)
    while linked := {name for name in left if models[name] & known}:
        known = known.union(*(models[name] for name in linked))
        left -= linked
    return tuple(one.name for one in histories if one.name in left)


def check_ascending(arms: Mapping[str, Sequence[str]], points: Floats, remedy: str) -> None:
    """Refuse arms that are too close on the scale for a slope between them, or in the wrong order.

    Args:
        arms: ``k`` names with the models that stand for them.
        points: float64 ``(k,)``, their abilities.
        remedy: what to do about it.

    Raises:
        InvalidInput: an arm is less than a point above the one before it.
    """
    described = [
        (f"{arm} ({', '.join(models)})", round(float(at), 1))
        for (arm, models), at in zip(arms.items(), points, strict=True)
    ]
    for (weaker, low), (abler, high) in pairwise(described):
        apart = round(high - low, 1)
        if apart >= LEAST_GAP:
            continue
        order = "below" if apart < 0 else "less than a point above"
        why = "their attempts do not tell which of them is the abler"
        if apart <= -LEAST_GAP:
            why = "the arms are not in ascending order of ability"
        raise InvalidInput(
            f"on the scale of ability {abler} is at {high:g} points, {order} {weaker} at {low:g}, so {why}; "
            f"{remedy}",
            reason="ARMS_TOO_CLOSE",
            field="arms",
        )


def _with_annotation(histories: Sequence[History], standards: Sequence[Standard]) -> list[Request]:
    """Annotated prompts of histories that do not grade each answer for itself."""
    annotations, found = history_annotations(), {}
    for history, standard in zip(histories, standards, strict=True):
        if standard.grades == "answers":
            continue
        for attempts in history.batches(columns=("prompt", "model", "language", "category")):
            for row in attempts.drop_duplicates("prompt").itertuples():
                key = prompt_key(row.prompt)
                if key in annotations:
                    found[key] = Request(
                        row.prompt, row.language or "", row.category or "", (annotations[key],)
                    )
    return list(found.values())


def place_tiers(
    histories: Sequence[History],
    standards: Sequence[Standard],
    spread: float = ANNOTATION_SPREAD,
) -> PlacedTiers:
    """Place today's tiers on the scale of some histories, and make the examples of a fit.

    Args:
        histories: checked.
        standards: how each was graded.
        spread: standard deviation of the difficulty of an annotated request, in logits, > 0.

    Raises:
        InvalidInput: nothing was judged, or no model of the histories is on the scale.
    """
    reference = read_reference()
    scale, table, prompts = fit_histories(histories, standards)
    points = _tier_points(scale, reference)
    check_ascending(reference.tiers, points, "add a history that tells them apart, or name --arms")
    requests = [*read_requests(), *_with_annotation(histories, standards)]
    return PlacedTiers(
        points=points,
        abilities={
            name: one for name, one in scale.abilities.items() if SMALLEST <= one.points <= LARGEST
        },
        anchors=reference.tiers,
        measured=measured_examples(scale, table, prompts, points),
        annotated=annotated_examples(requests, reference, points, spread),
        lengths=_lengths(histories, standards, reference),
        attempts=table,
        prompts=prompts,
        notes=(
            f"scale of ability: {len(scale.abilities)} models of {len(table.histories)} histories; tiers at "
            + ", ".join(
                f"{tier} {at:.0f}" for tier, at in zip(reference.tiers, points, strict=True)
            )
            + " points",
        ),
    )


def _lengths(
    histories: Sequence[History], standards: Sequence[Standard], reference: Reference
) -> LengthExamples | None:
    table = length_table(histories, standards)
    if not len(table.logs):
        return None
    return length_examples(table, read_requests(), history_annotations(), reference.tiers)


def _tier_points(scale: Scale, reference: Reference) -> Floats:
    """The mean ability of the models of each tier: as measured in these histories, else as known."""
    known = known_abilities()
    means = []
    for models in reference.tiers.values():
        found = [scale.abilities.get(name) or known.get(name) for name in models]
        means.append(np.mean([one.points for one in found if one is not None]))
    return np.asarray(means, dtype=np.float64)
