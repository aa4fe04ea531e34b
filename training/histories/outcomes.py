"""The table that fitting and evaluation work on: one row per prompt, one column per arm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_WEIGHT", "Outcomes"]

MOST_WEIGHT = 50.0
"""Upper bound of the weight of one attempt of a routed log."""


@dataclass(frozen=True)
class Outcomes:
    """The outcome of every arm at every prompt; gaps are allowed, because logs are censored.

    ``n`` prompts, ``k`` arms in ascending order of capability.

    Attributes:
        arms: names of the ``k`` arms.
        prompt_ids: ``n`` identifiers, distinct.
        texts: ``n`` prompts.
        groups: ``n`` keys; prompts of one key (the same text up to case and white space) never
            stand on both sides of a split.
        categories: ``n`` names, ``""`` where the history has none.
        languages: ``n`` codes such as ``en``, ``""`` where unknown.
        sources: ``n`` history names.
        thresholds: float64 ``(n,)``, the adequacy threshold of the prompt's history.
        quality: float64 ``(n, k)`` in 0..1; NaN where the arm has no judged attempt.
        cost_nanos: int64 ``(n, k)``, nano-dollars ≥ 0; 0 where the arm has no attempt or no price.
        output_tokens: float64 ``(n, k)``, of the visible answer, without hidden reasoning; NaN where unknown.
        propensity: float64 ``(n, k)``, the probability with which a router chose this arm, 0..1; NaN where
            it was not logged. ``None`` where it was logged for no attempt.
        models: ``(n, k)`` names of the models that stand for the arms in the prompt's history, ``""`` where
            none does. ``None`` where it is not known.
    """

    arms: tuple[str, ...]
    prompt_ids: npt.NDArray[np.object_]
    texts: npt.NDArray[np.object_]
    groups: npt.NDArray[np.object_]
    categories: npt.NDArray[np.object_]
    languages: npt.NDArray[np.object_]
    sources: npt.NDArray[np.object_]
    thresholds: npt.NDArray[np.float64]
    quality: npt.NDArray[np.float64]
    cost_nanos: npt.NDArray[np.int64]
    output_tokens: npt.NDArray[np.float64]
    propensity: npt.NDArray[np.float64] | None = None
    models: npt.NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.prompt_ids)

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        """``(n, k)``: whether the arm has a judged attempt."""
        return ~np.isnan(self.quality)

    @property
    def adequate(self) -> npt.NDArray[np.bool_]:
        """``(n, k)``: whether the attempt reached the threshold; false where there is none."""
        return np.nan_to_num(self.quality, nan=-1.0) >= self.thresholds[:, None]

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """``(n,)``: whether every arm was judged on the prompt."""
        return np.asarray(self.judged.all(axis=1))

    @property
    def teaches(self) -> bool:
        """Whether every arm has judged attempts, and there are adequate ones and inadequate ones."""
        adequate = self.adequate[self.judged]
        return bool(self.judged.any(axis=0).all() and not adequate.all() and adequate.any())

    @property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """``(n, k)``: how much an attempt counts, one over its propensity, 1 where that was not logged.

        A router that rarely sends prompts of a kind to an arm shows few of them; those it shows stand for
        the others (Horvitz & Thompson 1952). At most :data:`MOST_WEIGHT`: one lucky attempt must not
        outvote a thousand.
        """
        if self.propensity is None:
            return None
        return np.asarray(
            1.0 / np.clip(np.nan_to_num(self.propensity, nan=1.0), 1 / MOST_WEIGHT, 1)
        )

    def rows(self, index: npt.NDArray[Any]) -> Outcomes:
        """The prompts at ``index`` (integers or a boolean mask), in that order."""
        per_prompt = (
            "prompt_ids", "texts", "groups", "categories", "languages", "sources",
            "thresholds", "quality", "cost_nanos", "output_tokens",
        )  # fmt: skip
        propensity = None if self.propensity is None else self.propensity[index]
        chosen = {name: getattr(self, name)[index] for name in per_prompt}
        models = None if self.models is None else self.models[index]
        return replace(self, propensity=propensity, models=models, **chosen)
