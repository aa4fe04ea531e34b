"""What was fitted: the two sides of the split, one estimator per encoder, and the stages put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from router.classifier.bundle import (
    CLASSIFIER,
    SECOND_CLASSIFIER,
    EncoderReference,
    SecondStageManifest,
)
from router.classifier.encoder import Encoder
from training.bundling.export import check_graph, classifier_graph
from training.fitting.estimator import PooledLogistic
from training.fitting.lengths import Lengths
from training.histories.table import Outcomes
from training.judging.beliefs import Beliefs, SecondOpinion

__all__ = ["CASCADE", "STAGES", "Fit", "Side", "Stages"]

CASCADE = "cascade"
"""The name that stands for the encoders of :data:`STAGES` in this order."""
STAGES = ("static", "multilingual")
SHARE = 0.32
"""Of prompts, how many the second stage is asked about: a little under a third."""
CHECKED_ROWS = 512
"""Held-out prompts on which a graph is checked against its fit."""


@dataclass(frozen=True)
class Side:
    """One side of the split: the table, embeddings float32 ``(n, d)``, features float32 ``(n, f)``.

    ``token_ids`` holds those of each prompt, ``counts`` its bag of n-grams, ``(n, BUCKETS)``.
    """

    outcomes: Outcomes
    embeddings: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    token_ids: npt.NDArray[np.object_]
    counts: sparse.csr_matrix

    @property
    def x(self) -> npt.NDArray[np.float32]:
        """The inputs of a fit, ``(n, d + f)``."""
        return np.hstack([self.embeddings, self.features])

    def take(self, rows: npt.NDArray[np.bool_]) -> Side:
        """Some of the prompts."""
        return Side(
            self.outcomes.rows(rows),
            self.embeddings[rows],
            self.features[rows],
            self.token_ids[rows],
            self.counts[rows],
        )


@dataclass(frozen=True)
class Fit:
    """One encoder with what was fitted on its vectors; both sides of the split in the same order."""

    encoder: Encoder
    train: Side
    test: Side
    model: PooledLogistic
    lengths: Lengths

    @property
    def reference(self) -> EncoderReference:
        """The encoder as a manifest names it."""
        about = self.encoder.manifest
        return EncoderReference(name=about.name, sha256=about.sha256, dimensions=about.dimensions)

    def p_adequate(self) -> npt.NDArray[np.float64]:
        """Of the held-out prompts, ``(n, k)``."""
        return self.model.p_adequate(self.test.x, self.test.counts)

    def tokens(self) -> npt.NDArray[np.float64]:
        """Output lengths of the held-out prompts, ``(n, k, 3)``."""
        return self.lengths.of(self.test.x, self.test.counts)

    def graph(self) -> bytes:
        """The classifier, checked against the fit on held-out prompts."""
        dimensions = self.encoder.manifest.dimensions
        made = classifier_graph(self.model, self.lengths, dimensions)
        some = self.test.take(np.arange(len(self.test.outcomes)) < CHECKED_ROWS)
        ids = some.token_ids.tolist()
        check_graph(made, self.model, self.lengths, some.embeddings, some.features, ids)
        return made


@dataclass(frozen=True)
class Stages:
    """The fits of one or two stages."""

    fits: tuple[Fit, ...]

    @property
    def first(self) -> Fit:
        """The stage that sees every prompt."""
        return self.fits[0]

    @property
    def closest(self) -> Fit:
        """The last stage: its vectors are those that baselines are given."""
        return self.fits[-1]

    @property
    def second(self) -> SecondStageManifest | None:
        """The second stage as a manifest names it."""
        if len(self.fits) == 1:
            return None
        return SecondStageManifest(encoder=self.closest.reference, share=SHARE)

    def beliefs(self, reference: npt.NDArray[np.intp]) -> Beliefs:
        """What they believe of the held-out prompts.

        Args:
            reference: intp ``(r,)``, which of them are the bundle's reference prompts.
        """
        first = self.first.p_adequate()
        if len(self.fits) == 1:
            return Beliefs(first)
        unread = ~self.first.encoder.reads_script(self.first.test.features)
        told = self.closest.p_adequate()
        return Beliefs(first, SecondOpinion(told, first[reference], SHARE, unread))

    def tokens(self, beliefs: Beliefs) -> npt.NDArray[np.float64]:
        """Output lengths of the held-out prompts by the stage that has the word, ``(n, k, 3)``."""
        if len(self.fits) == 1:
            return self.first.tokens()
        asked = beliefs.standard_asked()[:, None, None]
        return np.where(asked, self.closest.tokens(), self.first.tokens())

    def files(self) -> dict[str, bytes]:
        """The classifiers by file name."""
        names = (CLASSIFIER, SECOND_CLASSIFIER)
        return {name: fit.graph() for name, fit in zip(names, self.fits, strict=False)}
