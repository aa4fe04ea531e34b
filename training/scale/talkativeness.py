"""How long a prompt's answers are, and how talkative models are: two additive parts of the length.

    log tokens = length_i + talkativeness_m + noise

Within a family of histories both parts follow from the attempts alone, up to a constant. Models that several
families share link these: their talkativeness is the same in both. So a prompt that only models of 2023
answered has the length that today's models would give it. The scale is fixed by today's models, whose mean
talkativeness is 0. A model in one family differs by .03 to .1 from what its talkativeness says, and prompts
of one family by .5 to .8.

Today's models differ from others in one more way: their long answers are longer still, their short ones
shorter. A *voice* is the line from the length of a prompt to the lengths of some models.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.scale.length_table import LengthTable

__all__ = ["PIVOT", "TODAY", "Talkativeness", "Voice", "fit_talkativeness", "fit_voice"]

Floats = npt.NDArray[np.float64]

PIVOT = 6.0
"""The length at which the shift of a voice is measured, in the logarithm of tokens: 400 tokens."""
_ROUNDS = 20
_SPREAD, _NOISE, _SCATTER = 3.0, 0.15, 0.6
"""Standard deviations: of the talkativeness of models before evidence, of a model in one family around its
talkativeness, of an attempt around what the model and the prompt say. The first is wide, so that models of
one family say nothing about those of another."""
_SLOPE_WEIGHT = 0.1
"""How much a slope of 1 counts, for each model in each family, beside the squared lengths of prompts around
:data:`PIVOT`, which are .3 to .6 in the mean."""


@dataclass(frozen=True)
class Talkativeness:
    """Lengths of prompts and talkativeness of models.

    Attributes:
        models: model → talkativeness, in the logarithm of tokens: 0 is the mean of today's models.
        length: float64 ``(n,)``, of each prompt of the table, as today's models answer it; NaN where it has
            no attempts.
        attempt: float64 ``(a,)``, of each attempt, the length at which today's models would have answered.
    """

    models: Mapping[str, float]
    length: Floats
    attempt: Floats


@dataclass(frozen=True)
class Voice:
    """The lengths of some models: log tokens = PIVOT + shift + slope · (length − PIVOT).

    Attributes:
        shift: at :data:`PIVOT`.
        slope: > 0.
    """

    shift: float
    slope: float

    def of(self, length: Floats) -> Floats:
        """Logarithms of tokens at prompts of given length."""
        return np.asarray(PIVOT + self.shift + self.slope * (length - PIVOT))

    def length(self, logs: Floats) -> Floats:
        """Lengths of the prompts at which these models give so many tokens, in the logarithm."""
        return np.asarray(PIVOT + (logs - PIVOT - self.shift) / self.slope)


TODAY = Voice(0.0, 1.0)
"""How today's models speak in the mean."""


def fit_talkativeness(table: LengthTable, today: Collection[str]) -> Talkativeness:
    """Separate what prompts ask for from how talkative models are.

    Args:
        table: the lengths, at least one.
        today: names of the models whose mean is 0; where none of them is in the table, all are.
    """
    families, models = len(table.families), len(table.models)
    pairs, pair = np.unique(table.family[table.prompt] * models + table.model, return_inverse=True)
    family, model = pairs // models, pairs % models
    attempts = np.bincount(pair)
    at_prompt = np.bincount(table.prompt, minlength=len(table.texts))
    in_family = np.bincount(family, minlength=families)
    apart = np.zeros(len(pairs))
    for _ in range(_ROUNDS):
        length = _means(table.prompt, table.logs - apart[pair], at_prompt)
        apart = np.bincount(pair, table.logs - length[table.prompt]) / attempts
        centre = np.bincount(family, apart, families) / np.maximum(in_family, 1)
        apart = apart - centre[family]
    length = _means(table.prompt, table.logs - apart[pair], at_prompt)
    # apart = talkativeness of the model − level of the family + noise.
    design = np.zeros((len(pairs), models + families))
    design[np.arange(len(pairs)), model] = 1
    design[np.arange(len(pairs)), models + family] = -1
    weights = 1 / (_NOISE**2 + _SCATTER**2 / attempts)
    precision = np.concatenate([np.full(models, _SPREAD**-2), np.full(families, 1e-6)])
    weighted = design.T * weights
    solved = np.linalg.solve(weighted @ design + np.diag(precision), weighted @ apart)
    talk, level = solved[:models], solved[models:]
    seen = np.bincount(model, minlength=models) > 0
    anchors = np.array([name in today for name in table.models]) & seen
    zero = float(talk[anchors if anchors.any() else seen].mean())
    shift = zero - level
    return Talkativeness(
        {name: float(talk[at]) - zero for at, name in enumerate(table.models) if seen[at]},
        length + shift[table.family],
        table.logs - apart[pair] + shift[table.family[table.prompt]],
    )


def _means(place: npt.NDArray[np.intp], values: Floats, counts: npt.NDArray[np.intp]) -> Floats:
    sums = np.bincount(place, values, len(counts))
    means: Floats = np.full(len(counts), np.nan)
    return np.divide(sums, counts, out=means, where=counts > 0)


def fit_voice(table: LengthTable, known: Talkativeness, models: Sequence[str]) -> Voice:
    """The voice of a tier: the line through the lengths of its models, each model and family alike.

    Args:
        table: the lengths.
        known: of the table.
        models: names; those without attempts say nothing. Where none has any: as today's models speak.
    """
    places = [at for at, name in enumerate(table.models) if name in set(models)]
    rows = np.isin(table.model, places)
    if not rows.any():
        return TODAY
    length = known.length[table.prompt[rows]]
    pair = table.family[table.prompt[rows]] * len(table.models) + table.model[rows]
    _, at, attempts = np.unique(pair, return_inverse=True, return_counts=True)
    weights = 1 / attempts[at]
    design = np.stack([np.ones(len(length)), length - PIVOT], axis=1)
    weighted = design.T * weights
    prior = np.diag([0.0, len(attempts) * _SLOPE_WEIGHT])
    shift, slope = np.linalg.solve(
        weighted @ design + prior, weighted @ (table.logs[rows] - length)
    )
    return Voice(float(shift), float(max(1 + slope, 0.1)))
