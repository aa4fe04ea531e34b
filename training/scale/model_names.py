"""The models of a table by the names by which their abilities are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from router.core.model_names import canonical_name

__all__ = ["NamedModels"]


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
