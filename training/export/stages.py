"""The results of fitting: the two sides of the split, one fit per encoder, and the stages combined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from router.classifier.encoder import Encoder
from router.classifier.manifest import (
    CLASSIFIER,
    SECOND_CLASSIFIER,
    EncoderReference,
    SecondStageManifest,
)
from training.evaluation.predictions import Predictions, SecondStagePredictions
from training.export.classifier_graph import check_graph, classifier_graph
from training.fitting.demands import Demands
from training.fitting.estimator import PooledLogistic
from training.fitting.lengths import LengthModel
from training.histories.outcomes import Outcomes
from training.scale.model_names import NamedModels

__all__ = ["CASCADE", "STAGES", "Fit", "SplitSide", "Stages"]

CASCADE = "cascade"
"""The name that stands for the encoders of :data:`STAGES` in this order."""
STAGES = ("static", "multilingual")
SHARE = 0.32
"""Share of prompts for which the second stage is consulted: slightly under a third."""
CHECKED_ROWS = 512
"""Held-out prompts on which a graph is checked against its fit."""


@dataclass(frozen=True)
class SplitSide:
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

    def take(self, rows: npt.NDArray[np.bool_]) -> SplitSide:
        """Some of the prompts."""
        return SplitSide(
            self.outcomes.rows(rows),
            self.embeddings[rows],
            self.features[rows],
            self.token_ids[rows],
            self.counts[rows],
        )


@dataclass(frozen=True)
class Fit:
    """One encoder with what was fitted on its vectors; both sides of the split in the same order.

    ``demands`` is ``None`` where models have no strengths.
    """

    encoder: Encoder
    train: SplitSide
    test: SplitSide
    model: PooledLogistic
    lengths: LengthModel
    demands: Demands | None = None

    @property
    def reference(self) -> EncoderReference:
        """The encoder as a manifest names it."""
        about = self.encoder.manifest
        return EncoderReference(name=about.name, sha256=about.sha256, dimensions=about.dimensions)

    def p_adequate(self) -> npt.NDArray[np.float64]:
        """Of the held-out prompts, ``(n, k)``."""
        return self.model.p_adequate(self.test.x, self.test.counts)

    def shifts(self, models: NamedModels) -> npt.NDArray[np.float64]:
        """By how many logits models ``(n, k)`` are better at held-out prompts than their abilities say."""
        if self.demands is None:
            return np.zeros(models.places.shape)
        return models.shifts(self.demands.strengths, self.demands.of(self.test.x))

    def tokens(self) -> npt.NDArray[np.float64]:
        """Output lengths of the held-out prompts, ``(n, k, 3)``."""
        return self.lengths.of(self.test.x, self.test.counts)

    def graph(self) -> bytes:
        """The classifier, checked against the fit on held-out prompts."""
        dimensions = self.encoder.manifest.dimensions
        made = classifier_graph(self.model, self.lengths, dimensions, self.demands)
        some = self.test.take(np.arange(len(self.test.outcomes)) < CHECKED_ROWS)
        ids = some.token_ids.tolist()
        check_graph(
            made, self.model, self.lengths, some.embeddings, some.features, ids, self.demands
        )
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

    def predictions(self, reference: npt.NDArray[np.intp]) -> Predictions:
        """Predictions for the held-out prompts.

        Args:
            reference: intp ``(r,)``, which of them are the bundle's reference prompts.
        """
        first = self.first.p_adequate()
        if len(self.fits) == 1:
            return Predictions(first)
        unreadable = ~self.first.encoder.reads_script(self.first.test.features)
        second = self.closest.p_adequate()
        return Predictions(
            first, SecondStagePredictions(second, first[reference], SHARE, unreadable)
        )

    def tokens(self, predictions: Predictions) -> npt.NDArray[np.float64]:
        """Output lengths of the held-out prompts by the stage that decides, ``(n, k, 3)``."""
        if len(self.fits) == 1:
            return self.first.tokens()
        asked = predictions.standard_asked()[:, None, None]
        return np.where(asked, self.closest.tokens(), self.first.tokens())

    def files(self) -> dict[str, bytes]:
        """The classifiers by file name."""
        names = (CLASSIFIER, SECOND_CLASSIFIER)
        return {name: fit.graph() for name, fit in zip(names, self.fits, strict=False)}
