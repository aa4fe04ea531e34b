"""The prompts on which bundles are judged, and the predictions and times of each bundle for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from router.classifier.bundle import Bundle, load_bundle
from router.core.errors import InvalidInput
from training.encoders.embedding import encode_prompts, features_of
from training.evaluation.baselines import EncodedOutcomes
from training.evaluation.bundle_predictions import (
    for_models,
    predict,
    served_score,
    unseen_prompts,
)
from training.evaluation.comparison import TimedPredictions
from training.histories.ladders import check_prices
from training.histories.outcome_table import HistoryTable, ReadOptions, read_table
from training.histories.outcomes import Outcomes

__all__ = ["EvaluationSet", "NamedBundle", "load_named", "predict_all", "read_evaluation_set"]

TIMED_PROMPTS = 200
WARM_UP = 5


@dataclass(frozen=True)
class NamedBundle:
    """A bundle to be judged, with its name in messages.

    Attributes:
        who: what messages call it, such as ``the bundle`` or ``A``.
        directory: of the bundle.
        bundle: as loaded.
    """

    who: str
    directory: Path
    bundle: Bundle

    @property
    def arms(self) -> list[str]:
        """Names of its arms, in ascending order of capability."""
        return [arm.name for arm in self.bundle.manifest.arms]


def load_named(who: str, directory: Path, encoders: Path) -> NamedBundle:
    """Load a bundle.

    Args:
        who: what messages call the bundle.
        directory: of the bundle.
        encoders: folder of encoders.

    Raises:
        BadArtifact: as :func:`bundle.load_bundle`.
    """
    return NamedBundle(who, directory, load_bundle(directory, encoders))


@dataclass(frozen=True)
class EvaluationSet:
    """The prompts of some histories that none of the bundles was trained on.

    Attributes:
        outcomes: ``n`` ≥ 1 prompts, ``k`` arms that every bundle has.
        table: the histories that they are taken from.
        notes: what was left out, and what is not known.
    """

    outcomes: Outcomes
    table: HistoryTable
    notes: tuple[str, ...]


def _check_arms(bundles: Sequence[NamedBundle], arms: Sequence[str], models: HistoryTable) -> None:
    for contender in bundles:
        lacking = [arm for arm in arms if arm not in contender.arms]
        if not lacking:
            continue
        shared = [arm for arm in arms if all(arm in other.arms for other in bundles)]
        listed = "; ".join(f"{other.who} has {', '.join(other.arms)}" for other in bundles)
        if len(shared) < 2:
            remedy = "with fewer than two arms in common nothing can be compared"
        else:
            options = ",".join(f"{arm}={models.models[arm][0]}" for arm in shared)
            remedy = f"judge them on the arms they share: --arms {options}"
        raise InvalidInput(
            f"the arm {' and '.join(lacking)} of the history is unknown to {contender.who} ({listed}); "
            f"{remedy}",
            reason="ARMS_DIFFER",
            field="arms",
        )


def read_evaluation_set(
    bundles: Sequence[NamedBundle], histories: Sequence[Path], reading: ReadOptions
) -> EvaluationSet:
    """Read histories and leave out every prompt that one of the bundles was trained on.

    Args:
        bundles: the bundles that are judged.
        histories: files.
        reading: arms, judge, threshold and prices.

    Raises:
        InvalidInput: the histories cannot be read, have no quality, have an arm that a bundle lacks, or
            hold no prompt that is new to all.
    """
    table = read_table(histories, reading)
    check_prices(reading.prices, table.models)
    test = table.outcomes
    _check_arms(bundles, test.arms, table)
    named = ", ".join(map(str, histories))
    if not test.judged.any():
        raise InvalidInput(
            f"no attempt in {named} has a quality, so nothing can be judged; add the column quality (0..1)",
            reason="NO_ATTEMPTS",
            field="history",
        )
    keep = np.ones(len(test), dtype=bool)
    notes = []
    for contender in bundles:
        fresh = unseen_prompts(contender.bundle, contender.directory, test)
        if fresh is None:
            notes.append(
                f"{contender.who} ({contender.bundle.version}) does not record its training prompts: some of "
                "these prompts may be among them, which flatters it"
            )
        else:
            keep &= fresh
            notes.append(
                f"{int((~fresh).sum()):,} of {len(test):,} prompts taught {contender.who}: left out"
            )
    judged = test.judged.any(axis=1)
    if not (judged & keep).any():
        raise InvalidInput(
            f"every prompt of {named} with a judged answer ({judged.sum():,} of {len(test):,}) taught "
            f"{' or '.join(contender.who for contender in bundles)}, so 0 are held out; add judged prompts "
            "that are new to all of them to --history: 20 at the least, about 1,000 to show a small gain",
            reason="NOTHING_UNSEEN",
            field="history",
        )
    return EvaluationSet(test.rows(keep), table, (*table.notes, *notes))


def _times(
    bundles: Sequence[NamedBundle], texts: Sequence[str], console: Console
) -> npt.NDArray[np.float64]:
    """Milliseconds, ``(bundles, t)``. The bundles take turns, so that a busy machine slows all alike."""
    for contender in bundles:
        for text in texts[:WARM_UP]:
            served_score(contender.bundle, text)
    milliseconds = np.empty((len(bundles), len(texts)))
    for place, text in enumerate(track(texts, "timing", console=console, transient=True)):
        for row, contender in enumerate(bundles):
            start = time.perf_counter()
            served_score(contender.bundle, text)
            milliseconds[row, place] = (time.perf_counter() - start) * 1e3
    return milliseconds


def predict_all(
    bundles: Sequence[NamedBundle],
    test: Outcomes,
    *,
    cache: Path | None,
    console: Console,
    seed: int,
    timed: bool = True,
) -> tuple[list[TimedPredictions], EncodedOutcomes]:
    """Predictions of every bundle for every prompt.

    Args:
        bundles: bundles that have all arms of ``test``.
        test: ``n`` prompts, ``k`` arms.
        cache: folder of cached embeddings.
        console: where progress goes.
        seed: of the prompts that are timed.
        timed: whether to measure the time to encode and classify.

    Returns:
        The predictions of each, and the prompts as the baselines read them, with the vectors of the first.
    """
    texts = test.texts.tolist()
    features = features_of(texts)
    chosen = np.random.default_rng(seed).permutation(len(texts))[:TIMED_PROMPTS]
    times = (
        _times(bundles, [texts[place] for place in chosen], console)
        if timed
        else np.zeros((len(bundles), 0))
    )
    timed_predictions, first_vectors = [], None
    for contender, milliseconds in zip(bundles, times, strict=True):
        prompts = encode_prompts(
            contender.bundle.encoder, texts, cache=cache, console=console, features=features
        )
        with console.status(f"asking {contender.who} about {len(texts):,} prompts"):
            predicted = predict(contender.bundle, prompts, test.arms)
        timed_predictions.append(
            TimedPredictions(
                for_models(contender.bundle, predicted, test),
                predicted.lengths,
                milliseconds,
            )
        )
        first_vectors = prompts.vectors if first_vectors is None else first_vectors
    if first_vectors is None:
        raise ValueError("no bundles")
    return timed_predictions, EncodedOutcomes(test, first_vectors, features)
