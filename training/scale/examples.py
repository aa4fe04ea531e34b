"""What the classifier is fitted on: prompts with the probability that each arm answers adequately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.histories.outcomes import Outcomes
from training.histories.split import group_of
from training.requests.request_set import Request
from training.scale.ability import Scale
from training.scale.attempt_table import AttemptTable, MeasuredPrompts
from training.scale.reference import Reference
from training.scale.tier_outcomes import level_outcomes, measured_outcomes

__all__ = [
    "ANNOTATED",
    "Examples",
    "annotated_examples",
    "attempted_examples",
    "calibration_weights",
    "measured_examples",
]

Floats = npt.NDArray[np.float64]

ANNOTATED = "annotated requests"
"""The source of examples that rest on annotation."""
MOST_ATTEMPTS = 60.0
"""How many attempts of an arm an annotation counts as at most."""
MOST_CALIBRATION_ATTEMPTS = 12.0
"""The same where heads are combined and calibrated.

Annotation tells which request is harder; how sure a prediction is should rest on it as little as can be. Mean
log-loss per attempt and mean of the worst ECE over seven sources left out, order of the examinations a to e,
and how many of 120 trivial requests the default policy sends to the lowest tier (static encoder, fitted on
two fifths of the prompts, with several sets of levels):

| attempts, heads / calibration | log-loss | worst ECE | order en | ja | trivial to low |
|---|---|---|---|---|---|
| 60 / 60 | .825 | .271 | .946 | .968 | 120 |
| 6 / 6 | .734 | .228 | .936 | .962 | – |
| 3 / 3 | .723 | .230 | .934 | .958 | – |
| 60 / 12 | – | – | – | – | 115 |
| 60 / 4 | – | – | – | – | 108 |
| 60 / 1 | .726 | .223 | .947 | .967 | 108 |

So it has the least weight with which 28 of 30 trivial requests go to the lowest tier.
"""


@dataclass(frozen=True)
class Examples:
    """``n`` prompts and ``k`` arms.

    Attributes:
        texts: ``n`` prompts.
        groups: ``n`` keys of :func:`split.group_of`.
        sources: ``n`` names of histories, :data:`ANNOTATED` for requests of our own.
        languages: ``n`` codes, ``""`` where unknown.
        outcome: float64 ``(n, k)``: 0 or 1 for an attempt, otherwise the probability of being adequate.
        weight: float64 ``(n, k)`` ≥ 0, 0 where nothing is known.
    """

    texts: npt.NDArray[np.object_]
    groups: npt.NDArray[np.object_]
    sources: npt.NDArray[np.object_]
    languages: npt.NDArray[np.object_]
    outcome: Floats
    weight: Floats

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, kept: npt.NDArray[np.bool_]) -> Examples:
        """Some of the examples."""
        return Examples(
            self.texts[kept],
            self.groups[kept],
            self.sources[kept],
            self.languages[kept],
            self.outcome[kept],
            self.weight[kept],
        )

    def and_those_of(self, others: Sequence[Examples]) -> Examples:
        """These, and of the others those whose prompts are not among the ones before them."""
        parts, seen = [self], set(self.groups)
        for other in others:
            new = np.array([group not in seen for group in other.groups], dtype=bool)
            parts.append(other.rows(new))
            seen.update(other.groups)
        names = ("texts", "groups", "sources", "languages", "outcome", "weight")
        return Examples(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
        )


def attempted_examples(outcomes: Outcomes) -> Examples:
    """The attempts of the arms themselves."""
    weights = outcomes.weights
    return Examples(
        outcomes.texts,
        outcomes.groups,
        outcomes.sources,
        outcomes.languages,
        outcomes.adequate.astype(np.float64),
        outcomes.judged * (np.ones(outcomes.judged.shape) if weights is None else weights),
    )


def measured_examples(
    scale: Scale, table: AttemptTable, prompts: MeasuredPrompts, points: Floats
) -> Examples:
    """What arms of given ability would do at the prompts of histories that grade each answer for itself.

    A prompt weighs as much as its attempts told of it.

    Args:
        scale: fitted on ``table``.
        table: the attempts.
        prompts: of the table.
        points: float64 ``(k,)``, abilities of the arms.
    """
    outcome = measured_outcomes(scale, table, points)
    weight = np.repeat(scale.information[:, None], len(points), axis=1)
    every = Examples(
        prompts.texts, prompts.groups, prompts.sources, prompts.languages, outcome, weight
    )
    return every.rows(prompts.graded)


def calibration_weights(examples: Examples) -> Floats:
    """What each example weighs where heads are combined: an annotation less than in the heads.

    Args:
        examples: ``n`` of them, ``k`` arms.

    Returns:
        float64 ``(n, k)`` ≥ 0.
    """
    annotated = np.asarray(examples.sources == ANNOTATED)
    weight = examples.weight.copy()
    weight[annotated] = np.minimum(weight[annotated], MOST_CALIBRATION_ATTEMPTS)
    return weight


def annotated_examples(
    requests: Sequence[Request], reference: Reference, points: Floats, spread: float
) -> Examples:
    """What arms of given ability would do at annotated requests.

    An annotation tells the difficulty of a trivial request as well as that of a demanding one. ``w`` attempts
    at probability p tell it with the variance 1 / (w p (1 − p)); so the nearer p is to 0 or 1, the more
    attempts an annotation counts as, up to :data:`MOST_ATTEMPTS`.

    Args:
        requests: ``n`` of them.
        reference: says how hard a level is.
        points: float64 ``(k,)``, abilities of the arms.
        spread: standard deviation of the difficulty of an annotated request, in logits, > 0.
    """
    levels = np.array([request.level for request in requests], dtype=np.float64)
    texts = np.array([request.prompt for request in requests], dtype=object)
    outcome = level_outcomes(levels, reference, points)
    return Examples(
        texts,
        np.array([group_of(text) for text in texts], dtype=object),
        np.full(len(texts), ANNOTATED, dtype=object),
        np.array([request.language for request in requests], dtype=object),
        outcome,
        np.minimum(1 / (spread**2 * outcome * (1 - outcome)), MOST_ATTEMPTS),
    )
