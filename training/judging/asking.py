"""What a bundle says of many prompts, and which of them it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from router.bundle import Bundle
from router.files import read_checked
from training.histories.splitting import SEEN_FILE, seen_prompts
from training.histories.table import Outcomes

__all__ = ["Predictions", "predictions", "unseen"]


@dataclass(frozen=True)
class Predictions:
    """What a bundle says about ``n`` prompts, columns in the order of the arms asked for.

    Attributes:
        label_distribution: float64 ``(n, arms of the bundle + 1)``, ``none`` last.
        p_adequate: float64 ``(n, k)``.
        lengths: float64 ``(n, k, 3)``, output tokens at .5, .9 and .99; NaN for an arm without.
    """

    label_distribution: npt.NDArray[np.float64]
    p_adequate: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.float64]


def predictions(
    bundle: Bundle,
    texts: Sequence[str],
    embeddings: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    arms: Sequence[str],
) -> Predictions:
    """Run the bundle's own graph over many prompts, one at a time as serving does.

    Args:
        bundle: loaded.
        texts: ``n`` prompts, for what the bundle reads of their words.
        embeddings: float32 ``(n, d)``.
        features: float32 ``(n, f)``.
        arms: ``k`` of the bundle's arms.
    """
    every = len(bundle.manifest.arms)
    names = [arm.name for arm in bundle.manifest.arms]
    columns = [names.index(arm) for arm in arms]
    labels = np.empty((len(texts), every + 1))
    adequate, lengths = np.empty((len(texts), every)), np.empty((len(texts), every, 3))
    for row, text in enumerate(texts):
        ids = bundle.encoder.word_ids(text) if bundle.reads_tokens else ()
        labels[row], adequate[row], lengths[row] = bundle.outputs(
            embeddings[row], features[row], ids, text
        )
    lengths = lengths[:, columns]
    lengths[:, [not bundle.manifest.arms[column].has_lengths for column in columns]] = np.nan
    return Predictions(labels, adequate[:, columns], lengths)


def unseen(bundle: Bundle, directory: Path, test: Outcomes) -> npt.NDArray[np.bool_] | None:
    """Which prompts the bundle was not trained on, bool ``(n,)``.

    ``None`` where the bundle does not tell what it was trained on.

    Raises:
        BadArtifact: what it tells is damaged.
    """
    files = bundle.manifest.files
    if SEEN_FILE not in files:
        return None
    content = read_checked(
        directory, {SEEN_FILE: files[SEEN_FILE]}, remedy="train the bundle again"
    )[SEEN_FILE]
    return ~seen_prompts(test.groups.tolist(), content, seed=bundle.manifest.split.seed)
