"""What a bundle says of many prompts, and which of them it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from router.classifier.bundle import Bundle
from router.classifier.features.lexical import lexical_features
from router.core.types import QualityTarget, Score
from router.files import read_checked
from training.histories.splitting import SEEN_FILE, seen_prompts
from training.histories.table import Outcomes
from training.judging.beliefs import STANDARD_TARGET, Beliefs, SecondOpinion

__all__ = ["Predictions", "predictions", "served", "unseen"]


@dataclass(frozen=True)
class Predictions:
    """What a bundle says about ``n`` prompts, columns in the order of the arms asked for.

    Attributes:
        beliefs: of P(adequate), ``k`` arms.
        lengths: float64 ``(n, k, 3)``, output tokens at .5, .9 and .99, by the stage that has the word under
            the standard goal; NaN for an arm without.
    """

    beliefs: Beliefs
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
    names = [arm.name for arm in bundle.manifest.arms]
    columns = [names.index(arm) for arm in arms]

    def first(row: int) -> list[npt.NDArray[np.float32]]:
        ids = bundle.encoder.word_ids(texts[row]) if bundle.classifier.reads_tokens else ()
        return bundle.outputs(embeddings[row], features[row], ids)

    adequate, lengths = _gathered(first, len(texts), columns)
    beliefs, second = Beliefs(adequate), bundle.second
    if second is not None:
        told, longer = _gathered(
            lambda row: second.outputs(texts[row], features[row]), len(texts), columns
        )
        unread = ~bundle.encoder.reads_script(features)
        beliefs = Beliefs(
            adequate, SecondOpinion(told, second.reference[:, columns], second.share, unread)
        )
        lengths = np.where(beliefs.standard_asked()[:, None, None], longer, lengths)
    lengths[:, [not bundle.manifest.arms[column].has_lengths for column in columns]] = np.nan
    return Predictions(beliefs, lengths)


def _gathered(
    ask: Callable[[int], list[npt.NDArray[np.float32]]], prompts: int, columns: Sequence[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """P(adequate) ``(n, k)`` and lengths ``(n, k, 3)`` of the arms in ``columns``, a prompt at a time."""
    adequate = np.empty((prompts, len(columns)))
    lengths = np.empty((prompts, len(columns), 3))
    for row in range(prompts):
        _, p, tokens = ask(row)
        adequate[row], lengths[row] = p[columns], tokens[columns]
    return adequate, lengths


def served(bundle: Bundle, text: str) -> Score:
    """The score of one prompt as serving takes it under the standard goal, the second stage where asked."""
    score, features = bundle.score(text), lexical_features(text)
    ladder = {arm.name: place for place, arm in enumerate(bundle.manifest.arms)}
    if bundle.needs_second_stage(score, features, ladder, QualityTarget(STANDARD_TARGET)):
        return bundle.score_second_stage(text, features)
    return score


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
