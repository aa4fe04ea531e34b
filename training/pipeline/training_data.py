"""What one training run learns from and is judged by, before and after an encoder has read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy import sparse

from router.classifier.encoder import Encoder
from training.encoders.embedding import EncodedPrompts, encode_prompts, features_of
from training.export.stages import SplitSide
from training.fitting.ngrams import ngram_counts
from training.histories.outcomes import Outcomes
from training.histories.split import held_out
from training.pipeline.sources import Sources
from training.plan import TrainingPlan, check_split, check_table
from training.scale.arm_placement import prior_beside
from training.scale.examples import Examples, attempted_examples
from training.scale.length_examples import LengthExamples
from training.scale.placement import PlacedTiers

__all__ = ["EncodedData", "TrainingData", "features_of_data", "training_data"]


@dataclass(frozen=True)
class TrainingData:
    """The prompts of one training run.

    Attributes:
        outcomes: ``n`` prompts with the attempts of the arms.
        aside: bool ``(n,)``, which of these are held out.
        examples: what P(adequate) is fitted on, nothing of it held out.
        lengths: what the lengths of tiers are fitted on, nothing of it held out; ``None``: lengths are fitted
            on the attempts of the arms.
        compared: prompts of histories that compare answers instead of grading them; ``None``: there are none.
        placed: the tiers on the scale of ability; ``None``: the arms are models of the histories.
        annotation: the share of its usual weight that annotation has among the examples, 0..1.
    """

    outcomes: Outcomes
    aside: npt.NDArray[np.bool_]
    examples: Examples
    lengths: LengthExamples | None
    compared: Outcomes | None
    placed: PlacedTiers | None
    annotation: float = 1.0

    @property
    def parts(self) -> tuple[npt.NDArray[np.object_], ...]:
        """The texts of outcomes, examples, lengths and compared prompts."""
        nothing = np.zeros(0, dtype=object)
        return (
            self.outcomes.texts,
            self.examples.texts,
            nothing if self.lengths is None else self.lengths.texts,
            nothing if self.compared is None else self.compared.texts,
        )


def training_data(plan: TrainingPlan, sources: Sources) -> TrainingData:
    """Hold prompts out, and make the examples of the rest.

    Raises:
        InvalidInput: there is too little to train or to evaluate on.
    """
    outcomes, placed = sources.table.outcomes, sources.placed

    def aside(groups: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
        return held_out(groups, seed=plan.seed, share=plan.holdout)

    check_table(outcomes)
    out = aside(outcomes.groups)
    check_split(outcomes.rows(~out), outcomes.rows(out))
    if placed is None:
        examples, share = attempted_examples(outcomes.rows(~out)), 0.0
        if sources.arms is not None:
            annotated = sources.arms.annotated
            prior, share = prior_beside(examples, annotated.rows(~aside(annotated.groups)))
            examples = examples.and_those_of([prior])
        return TrainingData(outcomes, out, examples, None, None, None, share)
    own = outcomes.rows(np.isin(outcomes.sources.astype(str), sources.unlinked))
    examples = placed.measured.and_those_of([attempted_examples(own), placed.annotated])
    examples = examples.rows(~aside(examples.groups))
    lengths = placed.lengths
    if lengths is not None:
        lengths = lengths.rows(~aside(lengths.groups))
    return TrainingData(outcomes, out, examples, lengths, sources.compared, placed)


class EncodedData:
    """Training data as an encoder and the lexical features read it.

    Attributes:
        data: the prompts.
        encoder: that read them.
    """

    def __init__(self, data: TrainingData, encoder: Encoder, prompts: EncodedPrompts) -> None:
        self.data = data
        self.encoder = encoder
        self._prompts = prompts
        self._ids = np.empty(len(prompts.texts), dtype=object)
        self._ids[:] = prompts.word_ids
        self._x = np.hstack([prompts.vectors, prompts.features])
        self._counts = ngram_counts(prompts.word_ids)
        ends = np.cumsum([len(part) for part in data.parts])
        self._parts = [slice(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    @classmethod
    def of(
        cls,
        data: TrainingData,
        encoder: Encoder,
        features: npt.NDArray[np.float32],
        plan: TrainingPlan,
        console: Console,
    ) -> EncodedData:
        """Encode all prompts.

        Args:
            data: the prompts.
            encoder: loaded.
            features: of :func:`features_of_data`.
            plan: names the cache.
            console: where progress goes.
        """
        texts = np.concatenate(data.parts).tolist()
        return cls(
            data,
            encoder,
            encode_prompts(encoder, texts, cache=plan.cache, console=console, features=features),
        )

    @property
    def dimensions(self) -> int:
        """Of the encoder's vectors."""
        return self.encoder.manifest.dimensions

    def _inputs(self, part: int) -> tuple[npt.NDArray[np.float32], sparse.csr_matrix]:
        """Vectors and features side by side ``(n, p)``, and counts of n-grams ``(n, BUCKETS)``."""
        rows = self._parts[part]
        return self._x[rows], self._counts[rows]

    @property
    def rows(self) -> SplitSide:
        """The prompts of ``outcomes``, both sides of the split."""
        rows, prompts = self._parts[0], self._prompts
        return SplitSide(
            self.data.outcomes,
            prompts.vectors[rows],
            prompts.features[rows],
            self._ids[rows],
            self._counts[rows],
        )

    @property
    def examples(self) -> tuple[npt.NDArray[np.float32], sparse.csr_matrix]:
        """Inputs and counts of the examples."""
        return self._inputs(1)

    @property
    def lengths(self) -> tuple[npt.NDArray[np.float32], sparse.csr_matrix]:
        """Inputs and counts of the prompts with lengths."""
        return self._inputs(2)

    @property
    def compared(self) -> tuple[npt.NDArray[np.float32], sparse.csr_matrix]:
        """Inputs and counts of the prompts whose answers are compared."""
        return self._inputs(3)


def features_of_data(data: TrainingData) -> npt.NDArray[np.float32]:
    """The lexical features of all prompts, float32 ``(N, f)``."""
    return features_of(np.concatenate(data.parts).tolist())
