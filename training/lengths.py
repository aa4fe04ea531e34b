"""How long answers get: quantiles of the output length per arm.

In this release they do not depend on the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.table import Outcomes

__all__ = ["LEVELS", "Lengths", "fit_lengths"]

LEVELS = (0.5, 0.9, 0.99)
MIN_ATTEMPTS = 20
"""Fewer lengths than this say nothing about a 90th percentile."""


@dataclass(frozen=True)
class Lengths:
    """Output tokens per arm.

    Attributes:
        quantiles: float64 ``(k, 3)`` at :data:`LEVELS`, at least 1 and ascending; 0 for an arm
            without lengths.
        known: bool ``(k,)``, which arms have lengths.
    """

    quantiles: npt.NDArray[np.float64]
    known: npt.NDArray[np.bool_]

    def of(self, prompts: int) -> npt.NDArray[np.float64]:
        """The same quantiles for each of ``prompts``, ``(prompts, k, 3)``; NaN where not known."""
        values = np.where(self.known[:, None], self.quantiles, np.nan)
        return np.tile(values, (prompts, 1, 1))


def fit_lengths(train: Outcomes) -> Lengths:
    """Quantiles of the output tokens of each arm over the training rows."""
    quantiles = np.zeros((len(train.arms), len(LEVELS)))
    known = np.zeros(len(train.arms), dtype=bool)
    for arm, column in enumerate(train.output_tokens.T):
        values = column[~np.isnan(column)]
        if len(values) >= MIN_ATTEMPTS:
            known[arm] = True
            quantiles[arm] = np.maximum(np.quantile(values, LEVELS), 1.0)
    return Lengths(quantiles, known)
