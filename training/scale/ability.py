"""Abilities of models and difficulties of prompts from the attempts of many histories, on one scale.

    P(adequate) = sigmoid(s_h · (θ_m + δ_mh) − b_i − g_h)

``θ`` is the ability of model ``m``, in hundreds of points; ``b`` the difficulty of prompt ``i``; ``s`` how
much ability counts in history ``h`` (its discrimination), ``g`` how much stricter its judge is than that of
another history with the same prompts. ``δ`` is what a model does better or worse in one history than its
ability says. This is the two-parameter model of item response theory (Birnbaum 1968) with one
discrimination per history instead of one per prompt. It is fitted by maximum a posteriori; an uncertainty
is the curvature at the optimum (Laplace), parameter by parameter.

Models that several histories share link these; so do published scores (:mod:`training.scale.reference`).
The scale is fixed by the models whose ability is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from training.scale.attempt_table import AttemptTable

__all__ = [
    "DEVIATION_SPREAD",
    "MEASURED_DEVIATION",
    "STRICTNESS_SPREAD",
    "Ability",
    "PublishedScore",
    "Scale",
    "fit_scale",
]

Floats = npt.NDArray[np.float64]

UNKNOWN_ABILITY = (0.5, 1.0)
"""Mean and spread of the prior of a model of which nothing is known, in hundreds of points."""
TYPICAL_DISCRIMINATION = 3.3
"""Logits per hundred points: the median over the histories of the shipped bundles."""
_LOG_DISCRIMINATION_SPREAD = 0.5
_DIFFICULTY_SPREAD = 2.0
"""Of the prompts of one task, in logits."""
_TASK_SPREAD = 5.0
STRICTNESS_SPREAD = 2.0
"""Of judges, in logits."""
DEVIATION_SPREAD = 0.3
"""Of a model in one history, in hundreds of points."""
MEASURED_DEVIATION = 0.08
"""What :func:`fit_scale` finds of it over the histories of the shipped bundles, in hundreds of points.
Abilities of histories that share no model are taken to be as uncertain."""
_STEPS = 1_500


@dataclass(frozen=True)
class PublishedScore:
    """The share of right answers of a model on the tasks of a history, as published by others.

    Attributes:
        model: its canonical name.
        history: the history whose prompts were asked.
        share: 0 < share < 1.
        attempts: how many attempts it counts as, > 0.
    """

    model: str
    history: str
    share: float
    attempts: float


@dataclass(frozen=True)
class Ability:
    """A model on the scale.

    Attributes:
        points: its ability: 0 and 100 are the reference models.
        uncertainty: the standard deviation of this, in points, > 0.
        attempts: at how many prompts it was judged.
        histories: names of the histories with these attempts.
    """

    points: float
    uncertainty: float
    attempts: int
    histories: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """Models and prompts on one scale.

    Attributes:
        abilities: by model.
        discrimination: by history, logits per 100 points, > 0.
        strictness: by history, logits; 0 for the history that is the measure of others.
        difficulty: float64 ``(prompts,)``, logits at 0 points:
            P(adequate) = sigmoid(discrimination · points / 100 − difficulty).
        uncertainty: float64 ``(prompts,)``, standard deviation of ``difficulty``.
        log_loss: mean over the attempts.
        origin_error: standard deviation of the distance between the two models that fix the scale, as a
            share of it; infinite where the second is not the abler. 0 where known abilities fix the scale.
        there: by history, where models stand by their attempts there alone, what they do better or worse
            there than elsewhere included.
    """

    abilities: Mapping[str, Ability]
    discrimination: Mapping[str, float]
    strictness: Mapping[str, float]
    difficulty: Floats
    uncertainty: Floats
    log_loss: float
    origin_error: float = 0.0
    there: Mapping[str, Mapping[str, Ability]] = field(default_factory=dict)

    @property
    def information(self) -> Floats:
        """How much the attempts told of each prompt, float64 ``(prompts,)``, 0 (nothing) to 1 (all)."""
        return np.asarray(1 - (self.uncertainty / _DIFFICULTY_SPREAD) ** 2)


class _Parameters:
    """The parameters as one vector, and by name."""

    def __init__(self, table: AttemptTable, cells: int) -> None:
        sizes = {
            "ability": len(table.models),
            "difficulty": table.prompts,
            "task": len(table.tasks),
            "strictness": len(table.histories),
            "log_discrimination": len(table.histories),
            "deviation": cells,
        }
        ends = np.cumsum(list(sizes.values()))
        self.size = int(ends[-1])
        self._slices = {
            name: slice(int(end - size), int(end))
            for (name, size), end in zip(sizes.items(), ends, strict=True)
        }

    def of(self, theta: Floats) -> dict[str, Floats]:
        """Views of the parts of a vector."""
        return {name: theta[part] for name, part in self._slices.items()}


def _with_shared_prompts(table: AttemptTable) -> Floats:
    """1.0 for histories that share prompts with an earlier one: only their strictness shows, ``(h,)``."""
    first = np.full(table.prompts, len(table.histories), dtype=np.intp)
    np.minimum.at(first, table.prompt, table.history)
    found = np.zeros(len(table.histories))
    np.maximum.at(found, table.history, (table.history > first[table.prompt]).astype(np.float64))
    return found


def _priors(table: AttemptTable, known: Mapping[str, tuple[float, float]]) -> tuple[Floats, Floats]:
    """Mean and spread of the prior ability of each model, in hundreds of points."""
    mean, spread = (np.full(len(table.models), value) for value in UNKNOWN_ABILITY)
    for place, model in enumerate(table.models):
        if model in known:
            points, uncertainty = known[model]
            mean[place], spread[place] = points / 100, uncertainty / 100
    return mean, spread


def fit_scale(
    table: AttemptTable,
    known: Mapping[str, tuple[float, float]],
    published: Sequence[PublishedScore] = (),
    origin: tuple[str, str] | None = None,
) -> Scale:
    """Fit abilities, difficulties and what the histories add.

    Args:
        table: the attempts.
        known: model → points and their uncertainty, in points, > 0.
        published: scores of models that have attempts here, on histories that are here; others are left out.
        origin: the models at 0 and at 100 points, both with attempts, the second the abler; ``None``:
            ``known`` fixes the scale.
    """
    m, h, i = table.model, table.history, table.prompt
    cells, cell = np.unique(m * len(table.histories) + h, return_inverse=True)
    layout = _Parameters(table, len(cells))
    strict = _with_shared_prompts(table)
    mean, spread = _priors(table, known)
    y = table.adequate
    scores = _usable(table, published)
    counts = (len(table.models), table.prompts, len(table.histories))

    def objective(theta: Floats) -> tuple[float, Floats]:
        part, gradient = layout.of(theta), np.zeros_like(theta)
        slope = layout.of(gradient)
        discrimination = np.exp(part["log_discrimination"])
        difficulty = part["task"][table.task] + _DIFFICULTY_SPREAD * part["difficulty"]
        ability = part["ability"][m] + part["deviation"][cell]
        z = discrimination[h] * ability - difficulty[i] - (strict * part["strictness"])[h]
        loss = float((np.logaddexp(0.0, z) - y * z).sum())
        residual = expit(z) - y
        pull = residual * discrimination[h]
        of_prompt = -np.bincount(i, residual, counts[1])
        slope["ability"][:] = np.bincount(m, pull, counts[0])
        slope["difficulty"][:] = _DIFFICULTY_SPREAD * of_prompt
        slope["task"][:] = np.bincount(table.task, of_prompt, len(table.tasks))
        slope["strictness"][:] = -strict * np.bincount(h, residual, counts[2])
        slope["log_discrimination"][:] = discrimination * np.bincount(
            h, residual * ability, counts[2]
        )
        slope["deviation"][:] = np.bincount(cell, pull, len(cells))
        for score in scores:
            loss += score.add(part, discrimination, slope)
        for name, centre, width in (
            ("ability", mean, spread),
            ("difficulty", 0.0, 1.0),
            ("task", 0.0, _TASK_SPREAD),
            ("strictness", 0.0, STRICTNESS_SPREAD),
            ("log_discrimination", np.log(TYPICAL_DISCRIMINATION), _LOG_DISCRIMINATION_SPREAD),
            ("deviation", 0.0, DEVIATION_SPREAD),
        ):
            away = (part[name] - centre) / width
            loss += 0.5 * float(away @ away)
            slope[name][:] += away / width
        return loss, gradient

    start = np.zeros(layout.size)
    first = layout.of(start)
    first["ability"][:] = mean
    first["log_discrimination"][:] = np.log(TYPICAL_DISCRIMINATION)
    optimum = minimize(
        objective, start, jac=True, method="L-BFGS-B",
        options={"maxiter": _STEPS, "maxfun": 2 * _STEPS, "maxcor": 20, "ftol": 1e-8},
    )  # fmt: skip
    part = layout.of(np.asarray(optimum.x))
    discrimination = np.exp(part["log_discrimination"])
    difficulty = part["task"][table.task] + _DIFFICULTY_SPREAD * part["difficulty"]
    z = (
        discrimination[h] * (part["ability"][m] + part["deviation"][cell])
        - difficulty[i]
        - (strict * part["strictness"])[h]
    )
    information = expit(z) * expit(-z)
    told = 1 / spread**2 + np.bincount(m, information * discrimination[h] ** 2, counts[0])
    histories = np.bincount(cells // len(table.histories), minlength=counts[0])
    linked = (histories > 1)[cells // len(table.histories)]
    zero, unit, error = _origin(table.models, part["ability"], np.sqrt(1 / told), origin)
    # Where no model is in two histories, none of these tells what it would do elsewhere.
    deviation = part["deviation"][linked].std() if linked.any() else MEASURED_DEVIATION * unit
    uncertainty = np.sqrt(1 / told + deviation**2 / np.maximum(histories, 1))
    of_prompt = np.bincount(i, information, counts[1]) + 1 / _DIFFICULTY_SPREAD**2
    # A prompt's difficulty is told at zero points of the histories that have it.
    zero_logits = np.bincount(i, discrimination[h] * zero, counts[1]) / np.bincount(
        i, minlength=counts[1]
    )
    attempts = np.bincount(m, minlength=counts[0])
    owner, place = cells // len(table.histories), cells % len(table.histories)
    told_there = 1 / (spread[owner] ** 2 + DEVIATION_SPREAD**2) + np.bincount(
        cell, information * discrimination[h] ** 2, len(cells)
    )
    points_there = 100 * (part["ability"][owner] + part["deviation"] - zero) / unit
    attempts_there = np.bincount(cell, minlength=len(cells))
    there: dict[str, dict[str, Ability]] = {name: {} for name in table.histories}
    for at in range(len(cells)):
        name = table.histories[place[at]]
        there[name][table.models[owner[at]]] = Ability(
            round(float(points_there[at]), 1),
            round(100 / float(np.sqrt(told_there[at]) * unit), 1),
            int(attempts_there[at]),
            (name,),
        )
    return Scale(
        {
            model: Ability(
                round(100 * float((part["ability"][at] - zero) / unit), 1),
                round(100 * float(uncertainty[at] / unit), 1),
                int(attempts[at]),
                tuple(table.histories[one] for one in np.unique(h[m == at])),
            )
            for at, model in enumerate(table.models)
            if attempts[at]
        },
        dict(zip(table.histories, (discrimination * unit).tolist(), strict=True)),
        dict(zip(table.histories, (strict * part["strictness"]).tolist(), strict=True)),
        difficulty - zero_logits,
        1 / np.sqrt(of_prompt),
        float((np.logaddexp(0.0, z) - y * z).mean()),
        error,
        there,
    )


def _origin(
    models: Sequence[str], ability: Floats, uncertainty: Floats, origin: tuple[str, str] | None
) -> tuple[float, float, float]:
    """The ability at 0 points, the distance to 100 points in the units of the fit, and its relative error."""
    if origin is None:
        return 0.0, 1.0, 0.0
    zero, hundred = (list(models).index(name) for name in origin)
    distance = float(ability[hundred] - ability[zero])
    if distance <= 0:
        return 0.0, 1.0, math.inf
    error = math.hypot(uncertainty[zero], uncertainty[hundred]) / distance
    return float(ability[zero]), distance, error


@dataclass(frozen=True)
class _Score:
    """A published score at its places: a binomial observation of the mean prompt of the history."""

    model: int
    history: int
    task_shares: Floats
    share: float
    attempts: float

    def add(
        self, part: Mapping[str, Floats], discrimination: Floats, slope: Mapping[str, Floats]
    ) -> float:
        """Its log-loss; its gradient is added to ``slope``."""
        # A logistic curve averaged over normal difficulties is nearly a flatter logistic curve.
        flat = 1 / np.sqrt(1 + np.pi * _DIFFICULTY_SPREAD**2 / 8)
        steep = discrimination[self.history]
        ability = part["ability"][self.model]
        z = flat * (steep * ability - self.task_shares @ part["task"])
        pull = self.attempts * (expit(z) - self.share) * flat
        slope["ability"][self.model] += pull * steep
        slope["task"][:] -= pull * self.task_shares
        slope["log_discrimination"][self.history] += pull * steep * ability
        return float(self.attempts * (np.logaddexp(0.0, z) - self.share * z))


def _usable(table: AttemptTable, published: Sequence[PublishedScore]) -> list[_Score]:
    found = []
    for score in published:
        if score.model not in table.models or score.history not in table.histories:
            continue
        history = table.histories.index(score.history)
        prompts = np.unique(table.prompt[table.history == history])
        shares = np.bincount(table.task[prompts], minlength=len(table.tasks)) / len(prompts)
        found.append(
            _Score(table.models.index(score.model), history, shares, score.share, score.attempts)
        )
    return found
