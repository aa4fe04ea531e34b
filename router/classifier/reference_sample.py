"""``reference.json`` of a bundle: some held-out prompts, by their features and scores.

Serving compares a prompt's decision margin with the margins of these scores, to tell whether the second
stage is needed. Drift compares recent traffic with the sample. No text can be read from the file: it holds
counts, shares and probabilities. This module is the file's only reader and writer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.core.errors import BadArtifact

__all__ = ["REFERENCE_FILE", "ReferenceSample"]

REFERENCE_FILE = "reference.json"
"""Its name in a bundle."""

_FEATURE_DECIMALS = 5
_SCORE_DECIMALS = 6


@dataclass(frozen=True)
class ReferenceSample:
    """Held-out prompts of a bundle, r ≥ 1.

    Attributes:
        features: float32 ``(r, f)``, the first ``f`` of :data:`router.classifier.features.lexical.FEATURES`
            at the time of training.
        p_adequate: float64 ``(r, k)``, by the only stage or the first.
    """

    features: npt.NDArray[np.float32]
    p_adequate: npt.NDArray[np.float64]

    @classmethod
    def from_json(cls, content: bytes, arms: int, *, file: str) -> ReferenceSample:
        """Read the content of the file.

        Args:
            content: of the file.
            arms: how many the bundle has, ``k``.
            file: its path, for messages.

        Raises:
            BadArtifact: the content is no sample of so many arms.
        """
        try:
            raw = json.loads(content)
            scores = np.asarray(raw["p_adequate"], dtype=np.float64)
        except (ValueError, KeyError, TypeError):
            scores = np.zeros(0)
        if scores.ndim != 2 or not len(scores) or scores.shape[1] != arms:
            raise _damaged(file, f"p_adequate is not a table of {arms} arms")
        try:
            features = np.asarray(raw["features"], dtype=np.float32)
        except (ValueError, KeyError, TypeError):
            features = np.zeros(0, dtype=np.float32)
        if features.ndim != 2 or len(features) != len(scores):
            raise _damaged(file, f"features is not a table of {len(scores)} prompts")
        return cls(features, scores)

    def to_json(self) -> bytes:
        """The content of the file: features with 5 decimals, scores with 6."""
        content = {
            "features": [
                [round(float(value), _FEATURE_DECIMALS) for value in row] for row in self.features
            ],
            "p_adequate": np.round(self.p_adequate, _SCORE_DECIMALS).tolist(),
        }
        return json.dumps(content, separators=(",", ":")).encode()


def _damaged(file: str, why: str) -> BadArtifact:
    return BadArtifact(
        f"{file}: {why}; train the bundle again with `make train`, or restore it from the release",
        reason="BUNDLE_DAMAGED",
        field=REFERENCE_FILE,
    )
