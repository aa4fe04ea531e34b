"""When to ask a slower encoder: a bundle of two stages, of which the second sees a third of the prompts.

The first stage judges every prompt and says beside its judgement how much the second would likely change
it, from the same inputs. Only where that is much is the second asked, and then its word counts. What is
learnt is the change between the two on prompts that neither fit had seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.fitting.heads import out_of_fold, standardised
from training.histories.splitting import folds

__all__ = ["CASCADE", "STAGES", "Doubt", "fit_doubt"]

Floats = npt.NDArray[np.float64]

CASCADE = "cascade"
"""The name that stands for the encoders of :data:`STAGES` in this order."""
STAGES = ("static", "multilingual")
SHARE = 0.32
"""Of the training prompts that the second stage would be asked about: a little under a third."""
FOLDS = 5
_PENALTIES = (1e3, 1e4, 1e5)
"""Ridge penalties tried on standardised columns."""
_TINY = 0.01


@dataclass(frozen=True)
class Doubt:
    """How much a second opinion would likely change, and from where on it is asked.

    Attributes:
        weights: float64 ``(p,)``, on embedding and lexical features of the first stage.
        bias: of the doubt.
        ask_above: the second stage is asked where the doubt is at least this.
    """

    weights: Floats
    bias: float
    ask_above: float

    def of(self, x: npt.NDArray[np.float32]) -> Floats:
        """The doubt, ``(n,)``: the log of the expected change of P(adequate), the largest among the arms."""
        return np.asarray(x.astype(np.float64) @ self.weights + self.bias)

    def asks(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Which prompts the second stage is asked about, ``(n,)``."""
        return self.of(x) >= self.ask_above


def fit_doubt(
    x: npt.NDArray[np.float32],
    first: Floats,
    second: Floats,
    groups: Sequence[str],
    *,
    seed: int,
) -> Doubt:
    """Learn where the stages differ.

    Args:
        x: float32 ``(n, p)``, inputs of the first stage.
        first: float64 ``(n, k)``, its P(adequate) out of fold.
        second: float64 ``(n, k)``, that of the second stage.
        groups: ``n`` keys; folds keep a group together.
        seed: of the folds.
    """
    standard, mean, scale = standardised(x)
    change = np.log(np.abs(second - first).max(axis=1) + _TINY)
    fold = folds(groups, count=min(FOLDS, len(set(groups))), seed=seed)

    def guessed(penalty: float) -> Floats:
        def elsewhere(rows: npt.NDArray[np.bool_], out: npt.NDArray[np.bool_]) -> Floats:
            made = Ridge(alpha=penalty).fit(standard[rows], change[rows])
            return np.asarray(made.predict(standard[out]), dtype=np.float64)[:, None]

        return out_of_fold(fold, 1, elsewhere)[:, 0]

    with threadpool_limits(limits=1):
        tried = {penalty: guessed(penalty) for penalty in _PENALTIES}
        best = min(tried, key=lambda penalty: float(((tried[penalty] - change) ** 2).sum()))
        made = Ridge(alpha=best).fit(standard, change)
    weights = np.asarray(made.coef_, dtype=np.float64) * scale
    return Doubt(
        weights,
        float(made.intercept_ - mean @ weights),
        float(np.quantile(tried[best], 1 - SHARE)),
    )
