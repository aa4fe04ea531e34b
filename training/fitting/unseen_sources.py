"""Figures on sources that a fit did not see: each history in turn is judged by a fit on all others.

Figures on held-out prompts of known sources tell how well a source is recognised. What a company will see
on its own work is told by sources that were left out whole: whether P(adequate) is as high as it says,
whether prompts stand in the right order, and what the default policy would have spent and lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.evaluation.baselines import pair_differences
from training.evaluation.calibration_metrics import ece, ece_floor
from training.evaluation.metrics import apgr, apgr_statistic, bootstrap, interval
from training.evaluation.predictions import p_of_models
from training.fitting.estimator import PooledLogistic, refitted
from training.histories.outcomes import Outcomes
from training.scale.examples import Examples

__all__ = ["FAMILIES", "unseen_sources"]

Floats = npt.NDArray[np.float64]

FAMILIES: Sequence[frozenset[str]] = (
    frozenset({"shaberi_ja", "shaberi_ja_gpt51"}),
    frozenset({"arena_hard_en", "ko_arena_hard", "ko_arena_hard_en"}),
)
"""Histories of the same prompts, which are left out together."""
MIN_PROMPTS = 30
"""Fewest prompts of a source with every arm for which it is judged."""


def _family(source: str) -> frozenset[str]:
    return next((family for family in FAMILIES if source in family), frozenset({source}))


def unseen_sources(
    model: PooledLogistic,
    examples: Examples,
    inputs: tuple[npt.NDArray[np.float32], sparse.csr_matrix],
    test: Outcomes,
    test_inputs: tuple[npt.NDArray[np.float32], sparse.csr_matrix],
    points: tuple[Floats, Floats],
    *,
    seed: int,
) -> Mapping[str, dict[str, Any]]:
    """Leave out each source and judge what the fit on the others says of it.

    Args:
        model: fitted on the examples; its hyperparameters are kept.
        examples: ``n`` prompts.
        inputs: of the examples, ``(n, p)`` and ``(n, BUCKETS)``.
        test: ``m`` prompts with attempts of models that stand for the arms.
        test_inputs: of these.
        points: abilities of the tiers ``(k,)`` and of the models ``(m, k)``.
        seed: of the trees and the resamples.

    Returns:
        By source: ``prompts``, ``models``, ``said`` and ``real`` (of each arm the mean P(adequate) and the
        share of adequate attempts), ``worst_ece`` with its ``worst_ece_floor``, ``apgr`` of the weakest and
        the strongest arm with its ``apgr_interval``, ``length_apgr`` of prompt length alone.
    """
    found = {}
    for source in dict.fromkeys(test.sources.tolist()):
        arms = np.flatnonzero(test.judged[test.sources == source].any(axis=0))
        rows = (test.sources == source) & test.judged[:, arms].all(axis=1)
        if len(arms) < 2 or rows.sum() < MIN_PROMPTS:
            continue
        kept = ~np.isin(examples.sources.astype(str), sorted(_family(source)))
        predict = refitted(
            model,
            inputs[0][kept],
            examples.outcome[kept],
            examples.weight[kept],
            seed=seed,
            counts=inputs[1][kept],
        )
        p = predict(test_inputs[0][rows], test_inputs[1][rows])
        p = p_of_models(p, points[0], points[1][rows])[:, arms]
        found[source] = _figures(test.rows(rows), arms, p, seed)
    return found


def _figures(test: Outcomes, arms: npt.NDArray[np.intp], p: Floats, seed: int) -> dict[str, Any]:
    adequate, quality = test.adequate[:, arms], test.quality[:, arms]
    errors = [ece(adequate[:, place], p[:, place]) for place in range(len(arms))]
    worst = int(np.argmax(errors))
    weak, strong = quality[:, 0], quality[:, -1]
    gain = pair_differences(p[:, [0, -1]])[:, 0]
    drawn = bootstrap(len(test), {"": apgr_statistic(weak, strong, gain)}, seed=seed)
    lengths = np.array([len(text) for text in test.texts], dtype=np.float64)
    models = [] if test.models is None else test.models[0, arms].tolist()
    return {
        "prompts": len(test),
        "models": models,
        "said": p.mean(axis=0).tolist(),
        "real": adequate.mean(axis=0).tolist(),
        "worst_ece": errors[worst],
        "worst_ece_floor": ece_floor(p[:, worst], seed=seed),
        "apgr": apgr(weak, strong, gain),
        "apgr_interval": interval(drawn[""]),
        "length_apgr": apgr(weak, strong, lengths),
    }
