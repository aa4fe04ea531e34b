"""Leave one source out: what fits without it say of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.evaluation.predictions import p_of_models
from training.evaluation.unseen_figures import UnseenPredictions, unseen_figures
from training.export.classifier_graph import complexities
from training.export.stages import Fit
from training.fitting.estimator import refitted
from training.fitting.lengths import LengthModel
from training.fitting.tier_lengths import fit_tier_lengths
from training.histories.outcomes import Outcomes
from training.histories.split import sample
from training.pipeline.stage_timer import StageTimer
from training.pipeline.training_data import EncodedData
from training.plan import TrainingPlan
from training.scale.families import first_of_family
from training.scale.model_names import NamedModels
from training.scale.placement import PlacedTiers

__all__ = ["Source", "all_sources", "comparable_sources", "unseen_sources"]

Floats = npt.NDArray[np.float64]

MOST_PROMPTS = 1_500
"""Prompts of a source on which it is judged, drawn at random."""
MIN_PROMPTS = 30
"""Fewest prompts of a source with every arm for which it is judged."""
NEIGHBOURS = 25
"""Prompts of other sources that the baseline of the nearest ones reads."""


def unseen_sources(
    plan: TrainingPlan, encoded: EncodedData, fit: Fit, stage: StageTimer
) -> dict[str, Any]:
    """Leave out each family of histories in turn, and judge what the fit on the others says of it.

    Args:
        plan: of the run.
        encoded: what was fitted; the tiers are on the scale of ability.
        fit: of all sources: its hyperparameters and stack are kept.
        stage: times the stages.

    Returns:
        By source the figures of :func:`unseen_figures.unseen_figures`.
    """
    sources = list(all_sources(encoded, plan.seed))
    first = first_of_family([one.name for one in sources], [one.test.groups for one in sources])
    found = {}
    for family in dict.fromkeys(first):
        members = [one for one, start in zip(sources, first, strict=True) if start == family]
        with stage(f"fitting without {' and '.join(one.name for one in members)}"):
            without = _Without(plan, encoded, fit, members)
            for one in members:
                predicted = without.predictions(one)
                found[one.name] = unseen_figures(one.test, predicted, seed=plan.seed)
    return found


@dataclass(frozen=True)
class Source:
    """A source with the inputs of its prompts: x ``(n, p)``, counts ``(n, BUCKETS)``."""

    name: str
    test: Outcomes
    x: npt.NDArray[np.float32]
    counts: sparse.csr_matrix


def comparable_sources(
    outcomes: Outcomes, x: npt.NDArray[np.float32], counts: sparse.csr_matrix, seed: int
) -> Iterator[Source]:
    """The sources on which arms can be compared; of a large one a sample of its prompts.

    Args:
        outcomes: ``n`` prompts.
        x: float32 ``(n, p)``, their inputs.
        counts: ``(n, BUCKETS)``.
        seed: of the sample.
    """
    for name in dict.fromkeys(outcomes.sources.tolist()):
        mine = outcomes.sources == name
        arms = outcomes.judged[mine].any(axis=0)
        usable = np.flatnonzero(mine & outcomes.judged[:, arms].all(axis=1))
        if arms.sum() < 2 or len(usable) < MIN_PROMPTS:
            continue
        chosen = usable[sample(len(usable), MOST_PROMPTS, seed)]
        yield Source(name, outcomes.rows(chosen), x[chosen], counts[chosen])


def all_sources(encoded: EncodedData, seed: int) -> Iterator[Source]:
    """Those that grade answers, then those that compare them: see :func:`comparable_sources`."""
    rows, compared = encoded.rows, encoded.data.compared
    yield from comparable_sources(encoded.data.outcomes, rows.x, rows.counts, seed)
    if compared is not None:
        yield from comparable_sources(compared, *encoded.compared, seed)


class _Without:
    """The fits without a family of sources."""

    def __init__(
        self, plan: TrainingPlan, encoded: EncodedData, fit: Fit, members: Sequence[Source]
    ) -> None:
        data = encoded.data
        if data.placed is None:
            raise ValueError("the tiers are not on the scale of ability")
        self._placed: PlacedTiers = data.placed
        self._dimensions = encoded.dimensions
        names = [one.name for one in members]
        groups = {group for one in members for group in one.test.groups}
        examples, (x, counts) = data.examples, encoded.examples
        kept = ~np.isin(examples.sources.astype(str), names)
        kept &= np.array([group not in groups for group in examples.groups])
        self._vectors = _unit(x[kept, : self._dimensions])
        self._gain = examples.outcome[kept, -1] - examples.outcome[kept, 0]
        self._predict = refitted(
            fit.model,
            x[kept],
            examples.outcome[kept],
            examples.weight[kept] > 0,
            seed=plan.seed,
            counts=counts[kept],
            weights=examples.weight[kept],
        )
        self._lengths: LengthModel | None = None
        if data.lengths is not None:
            families = [at for at, one in enumerate(data.lengths.families) if one in names]
            told = ~np.isin(data.lengths.family, families)
            told &= np.array([group not in groups for group in data.lengths.groups])
            self._lengths = fit_tier_lengths(
                encoded.lengths[0][told],
                data.lengths.rows(told),
                data.outcomes.arms,
                seed=plan.seed,
                dimensions=self._dimensions,
            )

    def predictions(self, source: Source) -> UnseenPredictions:
        """What they say of one of these sources."""
        p = tiers = self._predict(source.x, source.counts)
        lengths = np.full(p.shape, np.nan)
        if self._lengths is not None:
            lengths = self._lengths.of(source.x, source.counts)[:, :, 1]
        if source.test.models is not None:
            models = NamedModels.of(source.test.models)
            p = p_of_models(tiers, self._placed.points, self._placed.points_of(models))
            if self._placed.lengths is not None:
                lengths = self._placed.lengths.spoken_by(models, source.test.arms, lengths)
        return UnseenPredictions(p, complexities(tiers), lengths, self._nearest_gain(source.x))

    def _nearest_gain(self, x: npt.NDArray[np.float32]) -> Floats:
        """The mean gain at the nearest prompts of other sources, ``(n,)``."""
        near = _unit(x[:, : self._dimensions]) @ self._vectors.T
        count = min(NEIGHBOURS, near.shape[1])
        places = np.argpartition(near, near.shape[1] - count, axis=1)[:, -count:]
        return np.asarray(self._gain[places].mean(axis=1))


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Vectors of length 1, ``(n, d)``."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
