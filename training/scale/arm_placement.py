"""Models as arms on the scale of ability, and the annotated requests as a prior of what they do.

Arms that are models of a history have attempts of their own, which teach P(adequate). The scale says where
these arms stand, so that models that the history lacks are judged by what is known of them, and what a level
of an annotated request means for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from router.classifier.manifest import LEAST_GAP
from router.core.ability import LARGEST, SMALLEST
from router.core.model_names import canonical_name
from training.histories.history import History
from training.histories.ladders import Standard
from training.requests.request_set import read_requests
from training.scale.ability import Ability, Scale
from training.scale.examples import Examples, annotated_examples
from training.scale.known_abilities import known_abilities
from training.scale.placement import (
    ANNOTATION_SPREAD,
    KnownAbility,
    check_ascending,
    fit_histories,
    unlinked_histories,
)
from training.scale.reference import read_reference

__all__ = ["PRIOR_SHARE", "PlacedArms", "place_arms", "prior_beside"]

Floats = npt.NDArray[np.float64]

PRIOR_SHARE = 0.1
"""Most that all annotated requests together weigh, as a share of the attempts of the arms.

Fits on 500 prompts of one history, static encoder: log-loss at 2,500 others −.003 ± .001 on MMLU-Pro and
−.002 ± .002 on llmrouter_dc without the categories of its strict string matching (with them 0 to +.004); the
order of everyday prompts rises from .70 to .82 and from .77 to .82 (Japanese: .61 to .85, .73 to .80). With
three times the share the order rises on, and llmrouter_dc loses .006 to .010.
"""
_REMEDY = "leave one of them out of --arms, or name models that differ more, in ascending order of ability"


@dataclass(frozen=True)
class PlacedArms:
    """The arms of one training run on the scale.

    Attributes:
        points: float64 ``(k,)``, abilities of the arms, ascending by a point or more.
        abilities: where the models of the histories stand in these, by canonical name.
        elsewhere: of other models: those that ship.
        annotated: what the arms would do at annotated requests.
        notes: for the user.
    """

    points: Floats
    abilities: Mapping[str, Ability]
    elsewhere: Mapping[str, Ability]
    annotated: Examples
    notes: tuple[str, ...]


def place_arms(
    histories: Sequence[History],
    standards: Sequence[Standard],
    arms: Mapping[str, str],
    published: Mapping[str, KnownAbility],
) -> PlacedArms | None:
    """Place models on the scale by their attempts and by what is known of any model of the histories.

    Args:
        histories: checked.
        standards: how each was graded.
        arms: arm → its model, as the histories spell it, in ascending order of ability.
        published: abilities of models by id, such as those of the catalog; those that ship come first.

    Returns:
        ``None`` where nothing links an arm to the scale.

    Raises:
        InvalidInput: two arms are less than a point apart, or in the wrong order.
    """
    named = {canonical_name(model): one for model, one in published.items()}
    known = {**named, **known_abilities()}
    unlinked = unlinked_histories(histories, known)
    linked = [
        (one, standard)
        for one, standard in zip(histories, standards, strict=True)
        if one.name not in unlinked and standard.grades != "nothing"
    ]
    if not linked:
        return None
    scale, _, _ = fit_histories([one for one, _ in linked], [each for _, each in linked], named)
    abilities = {
        name: one for name, one in _in_these(scale).items() if SMALLEST <= one.points <= LARGEST
    }
    found = {arm: abilities.get(canonical_name(model)) for arm, model in arms.items()}
    placed = {arm: one for arm, one in found.items() if one is not None}
    if len(placed) < len(arms):
        return None
    points = np.array([one.points for one in placed.values()])
    _check_order(arms, points)
    links = sorted(known.keys() & scale.abilities.keys())
    reference = read_reference()
    return PlacedArms(
        points,
        abilities,
        {
            name: one
            for name, one in known_abilities().items()
            if name not in abilities and SMALLEST <= one.points <= LARGEST
        },
        annotated_examples(read_requests(), reference, points, ANNOTATION_SPREAD),
        (
            "scale of ability: "
            + ", ".join(
                f"{arm} ({model}) at {at:.0f}"
                for (arm, model), at in zip(arms.items(), points, strict=True)
            )
            + f" points, linked by {_some(links)}",
        ),
    )


def _check_order(arms: Mapping[str, str], points: Floats) -> None:
    """Refuse arms that do not ascend by a point or more, and name the order that does, where one does.

    Args:
        arms: ``k`` arms with their models.
        points: float64 ``(k,)``, their abilities.

    Raises:
        InvalidInput: as :func:`placement.check_ascending`.
    """
    order = np.argsort(points, kind="stable")
    remedy = _REMEDY
    if (np.diff(points[order]).round(1) >= LEAST_GAP).all():
        given = list(arms.items())
        ascending = [given[at] for at in order]
        if set(arms) <= set(
            read_reference().tiers
        ):  # a tier keeps its place, and gets another model
            ascending = list(zip(arms, (model for _, model in ascending), strict=True))
        listed = ",".join(f"{arm}={model}" for arm, model in ascending)
        remedy = (
            f"in ascending order they are --arms {listed} (make: ARMS={listed}); or leave one of them out of "
            "--arms"
        )
    check_ascending({arm: (model,) for arm, model in arms.items()}, points, remedy)


def _in_these(scale: Scale) -> dict[str, Ability]:
    """Where models stand in the histories: what they do better there than elsewhere counts here, too."""
    found = {}
    for name, one in scale.abilities.items():
        places = [scale.there[history][name] for history in one.histories]
        share = np.array([each.attempts for each in places]) / one.attempts
        points = share @ np.array([each.points for each in places])
        uncertainty = np.linalg.norm(share * np.array([each.uncertainty for each in places]))
        found[name] = replace(
            one, points=round(float(points), 1), uncertainty=round(float(uncertainty), 1)
        )
    return found


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more models" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def prior_beside(own: Examples, annotated: Examples) -> tuple[Examples, float]:
    """Annotated requests as light as a prior is to be beside measured attempts.

    All together they weigh no more than :data:`PRIOR_SHARE` of the attempts, and none more than it does
    where histories are pooled.

    Args:
        own: the attempts of the arms.
        annotated: of :func:`examples.annotated_examples`.

    Returns:
        The annotated examples, and the share of their weight that is left, 0..1.
    """
    total = float(annotated.weight.sum())
    share = min(1.0, PRIOR_SHARE * float(own.weight.sum()) / total) if total else 1.0
    return replace(annotated, weight=annotated.weight * share), share
