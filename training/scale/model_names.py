"""One name for one model, by which its ability is found: histories spell the same model in different ways."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["NamedModels", "canonical_name"]

_MAKERS = re.compile(
    r"^(?:meta|nousresearch|google|nvidia|salesforce|thudm|databricks|ibm-granite|deepseek-ai)-(?=[a-z])"
)
_SPELLINGS = (
    (re.compile(r"^llama-?(\d)[-.](\d)(?=-)"), r"llama-\1.\2"),
    (re.compile(r"^llama(\d)"), r"llama-\1"),
    (re.compile(r"^qwen-(\d)"), r"qwen\1"),
    (re.compile(r"^gpt(\d)"), r"gpt-\1"),
    (re.compile(r"^(gemini-.*?)-(?:preview|exp)(?:-\d\d-\d\d)?$"), r"\1"),
    (re.compile(r"-\d{4}-\d\d-\d\d$"), ""),
)
"""Ways of writing one name, and its form here. A date of publication at the end is left out."""
_KEEP_DATE = re.compile(r"^gpt-4o-2024-\d\d-\d\d$")
"""Models that differ by their date only."""


def canonical_name(name: str) -> str:
    """The name of a model in lower case, without organisation, maker and date of publication.

    ``meta-llama/Llama-3.1-8B-Instruct`` and ``Meta-Llama-3_1-8B-Instruct`` are one model.
    """
    known = name.rsplit("/", 1)[-1].lower().replace("_", "-").replace(" ", "-")
    known = _MAKERS.sub("", known)
    for pattern, form in _SPELLINGS:
        if form or not _KEEP_DATE.match(known):
            known = pattern.sub(form, known)
    return known


class _Placed(Protocol):
    """A model whose place on the scale of ability is known."""

    @property
    def points(self) -> float: ...


@dataclass(frozen=True)
class NamedModels:
    """The models that stand for ``k`` arms at ``n`` prompts.

    Attributes:
        names: canonical names, one for each spelling.
        places: intp ``(n, k)``, place in ``names``.
    """

    names: tuple[str, ...]
    places: npt.NDArray[np.intp]

    @classmethod
    def of(cls, models: npt.NDArray[np.object_]) -> NamedModels:
        """The models with these names, ``(n, k)``, as histories spell them."""
        spelt, places = np.unique(models.astype(str), return_inverse=True)
        return cls(tuple(map(canonical_name, spelt)), places.reshape(models.shape))

    def points(
        self, abilities: Mapping[str, _Placed], otherwise: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Their abilities, float64 ``(n, k)``.

        Args:
            abilities: by canonical name.
            otherwise: float64 ``(k,)``, abilities of the arms, taken where that of the model is not known.
        """
        placed = [abilities.get(name) for name in self.names]
        points = np.array([np.nan if one is None else one.points for one in placed])
        given = points[self.places]
        return np.where(np.isnan(given), otherwise, given)

    def shifts(
        self,
        strengths: Mapping[str, Sequence[float] | npt.NDArray[np.float64]],
        demands: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """By how many logits they are better at the prompts than their abilities say, float64 ``(n, k)``.

        Args:
            strengths: by canonical name; a model without any is as its ability.
            demands: float64 ``(n, d)``, of the prompts.
        """
        nothing = np.zeros(demands.shape[1])
        table = np.array([strengths.get(name, nothing) for name in self.names])
        table = table.reshape(len(self.names), len(nothing))
        return np.asarray(np.einsum("nd,nkd->nk", demands, table[self.places]))
