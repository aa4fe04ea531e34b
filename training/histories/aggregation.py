"""Aggregation of the attempts of a history into one row per prompt, a batch at a time.

Repeated attempts of an arm at a prompt are averaged, so memory grows with prompts and arms, not with
attempts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.histories.attempts import answer_tokens

__all__ = ["COLUMNS", "Means", "PromptAggregates", "aggregate_attempts"]

_AVERAGED = ("quality", "input_tokens", "output_tokens", "cost_usd", "propensity")
_DESCRIPTIVE = ("category", "language")
COLUMNS = (
    "prompt", "model", "prompt_id", "judge", *_DESCRIPTIVE, *_AVERAGED, "reasoning_tokens",
)  # fmt: skip
"""Columns of :class:`attempts.Attempt` that a table is made of."""

_FEW = 1024
"""Initial capacity, in prompts."""

Array = TypeVar("Array", bound=npt.NDArray[Any])


def _grown(array: Array, rows: int, empty: object) -> Array:
    """The array with room for ``rows`` rows: the same, or a copy of at least twice its size."""
    if len(array) >= rows:
        return array
    made = np.full((max(rows, 2 * len(array), _FEW), *array.shape[1:]), empty, dtype=array.dtype)
    made[: len(array)] = array
    return cast(Array, made)


class Means:
    """Running means per prompt and arm.

    Sums are compensated (Kahan 1965): a mean is the same however the values are cut into batches.

    Args:
        arms: ``k``.
    """

    def __init__(self, arms: int) -> None:
        self._sum = np.zeros((0, arms))
        self._lost = np.zeros((0, arms))
        self._count = np.zeros((0, arms), dtype=np.int32)

    def add(
        self,
        prompts: npt.NDArray[np.intp],
        arms: npt.NDArray[np.intp],
        values: npt.NDArray[np.float64],
    ) -> None:
        """Add ``m`` values in order; NaN is none.

        Args:
            prompts: ``(m,)`` positions from 0.
            arms: ``(m,)`` positions 0 … k − 1.
            values: float64 ``(m,)``.
        """
        known = ~np.isnan(values)
        if not known.any():
            return
        prompts, arms, values = prompts[known], arms[known], values[known]
        rows = int(prompts.max()) + 1
        self._sum = _grown(self._sum, rows, 0.0)
        self._lost = _grown(self._lost, rows, 0.0)
        self._count = _grown(self._count, rows, 0)
        # All first values of a cell at once, then all second ones …: no cell twice in one turn.
        turns = pd.Series(values).groupby([prompts, arms]).cumcount().to_numpy()
        order = np.argsort(turns, kind="stable")
        for turn in np.split(order, np.cumsum(np.bincount(turns))[:-1]):
            cell = prompts[turn], arms[turn]
            value = values[turn] - self._lost[cell]
            total = self._sum[cell] + value
            self._lost[cell] = total - self._sum[cell] - value
            self._sum[cell] = total
            self._count[cell] += 1

    @property
    def empty(self) -> bool:
        """Whether no value was added."""
        return not len(self._sum)

    def of(self, prompts: int) -> npt.NDArray[np.float64]:
        """The means of the first ``prompts`` prompts, float64 ``(prompts, k)``; NaN where unknown."""
        total = _grown(self._sum, prompts, 0.0)[:prompts]
        count = _grown(self._count, prompts, 0)[:prompts]
        means: npt.NDArray[np.float64] = np.full(total.shape, np.nan)
        return np.divide(total, count, out=means, where=count > 0)


@dataclass(frozen=True)
class PromptAggregates:
    """Aggregates of a history over ``n`` prompts and ``k`` arms; prompts in the order of first attempts.

    Attributes:
        prompt_ids: ``n`` identifiers, distinct.
        texts: ``n`` prompts.
        categories: ``n`` names, ``""`` where no attempt has one.
        languages: ``n`` codes, ``""`` where no attempt has one.
        present: bool ``(n, k)``, whether there is any attempt.
        quality: float64 ``(n, k)``, mean over the attempts; NaN where unknown. The others likewise.
        input_tokens: as ``quality``.
        output_tokens: as ``quality``; all that is billed, hidden reasoning included.
        answer_tokens: as ``quality``; of the visible answer.
        cost_usd: as ``quality``.
        propensity: as ``quality``; ``None`` where no attempt has one.
    """

    prompt_ids: npt.NDArray[np.object_]
    texts: npt.NDArray[np.object_]
    categories: npt.NDArray[np.object_]
    languages: npt.NDArray[np.object_]
    present: npt.NDArray[np.bool_]
    quality: npt.NDArray[np.float64]
    input_tokens: npt.NDArray[np.float64]
    output_tokens: npt.NDArray[np.float64]
    answer_tokens: npt.NDArray[np.float64]
    cost_usd: npt.NDArray[np.float64]
    propensity: npt.NDArray[np.float64] | None


class _Prompts:
    """The distinct prompts: their place by id, their text, and their descriptive columns."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.texts: list[str] = []
        self.descriptions: dict[str, npt.NDArray[np.object_]] = {
            name: np.full(0, "", dtype=object) for name in _DESCRIPTIVE
        }

    def add(self, attempts: pd.DataFrame) -> npt.NDArray[np.intp]:
        """The place of the prompt of every attempt."""
        codes, ids = pd.factorize(attempts["prompt_id"].to_numpy())
        texts = attempts["prompt"].to_numpy()[np.unique(codes, return_index=True)[1]]
        for identity, text in zip(ids, texts, strict=True):
            if identity not in self.places:
                self.places[identity] = len(self.texts)
                self.texts.append(text)
        places: npt.NDArray[np.intp] = np.array([self.places[one] for one in ids], np.intp)[codes]
        for name in _DESCRIPTIVE:
            self._describe(name, places, attempts[name].to_numpy())
        return places

    def _describe(
        self, name: str, places: npt.NDArray[np.intp], values: npt.NDArray[np.object_]
    ) -> None:
        known = _grown(self.descriptions[name], len(self.texts), "")
        given = np.flatnonzero(pd.notna(values))
        there, first = np.unique(places[given], return_index=True)
        new = known[there] == ""
        # Interned: one object per category, not one per batch.
        known[there[new]] = [sys.intern(value) for value in values[given[first[new]]]]
        self.descriptions[name] = known


def aggregate_attempts(
    batches: Iterable[pd.DataFrame], place: Mapping[str, int], arms: int
) -> PromptAggregates:
    """Aggregate attempts into one row per prompt.

    Args:
        batches: attempts with :data:`COLUMNS`, as :meth:`History.batches` gives
            them, of the models of ``place`` only.
        place: model → the position of its arm.
        arms: ``k``.
    """
    prompts = _Prompts()
    means = {name: Means(arms) for name in (*_AVERAGED, "answer_tokens")}
    present = np.zeros((0, arms), dtype=bool)
    for attempts in batches:
        rows = prompts.add(attempts)
        columns = attempts["model"].map(place).to_numpy(dtype=np.intp)
        present = _grown(present, len(prompts.texts), False)
        present[rows, columns] = True
        for name in _AVERAGED:
            means[name].add(rows, columns, attempts[name].to_numpy())
        means["answer_tokens"].add(rows, columns, answer_tokens(attempts))
    n = len(prompts.texts)
    averaged = {name: mean.of(n) for name, mean in means.items() if name != "propensity"}
    return PromptAggregates(
        prompt_ids=np.array([*prompts.places], dtype=object),
        texts=np.array(prompts.texts, dtype=object),
        categories=prompts.descriptions["category"][:n],
        languages=prompts.descriptions["language"][:n],
        present=present[:n],
        propensity=None if means["propensity"].empty else means["propensity"].of(n),
        **averaged,
    )
