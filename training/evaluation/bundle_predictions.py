"""Predictions of a bundle for many prompts, and which of the prompts it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from router.classifier.bundle import Bundle, Outputs
from router.classifier.features.lexical import lexical_features
from router.core.types import Score
from router.files import read_checked
from training.encoders.embedding import EncodedPrompts
from training.evaluation.predictions import STANDARD_GOAL, Predictions, SecondStagePredictions
from training.histories.outcomes import Outcomes
from training.histories.split import SEEN_FILE, seen_prompts
from training.scale.model_names import NamedModels

__all__ = ["BundlePredictions", "for_models", "predict", "served_score", "unseen_prompts"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BundlePredictions:
    """Predictions of a bundle for ``n`` prompts, columns in the order of the requested arms.

    Attributes:
        predictions: of P(adequate), ``k`` arms.
        lengths: float64 ``(n, k, 3)``, output tokens at .5, .9 and .99, by the stage that decides under
            the standard goal; NaN for an arm without lengths.
        demands: float64 ``(n, d)``, by the first stage; d = 0 where it tells none.
    """

    predictions: Predictions
    lengths: npt.NDArray[np.float64]
    demands: npt.NDArray[np.float64]


def predict(
    bundle: Bundle,
    prompts: EncodedPrompts,
    arms: Sequence[str],
) -> BundlePredictions:
    """Run the bundle's graph over many prompts, one at a time as in serving.

    Args:
        bundle: loaded.
        prompts: ``n`` of them, encoded by the bundle's encoder.
        arms: ``k`` of the bundle's arms.
    """
    names = [arm.name for arm in bundle.manifest.arms]
    columns = [names.index(arm) for arm in arms]
    texts, features = prompts.texts, prompts.features

    def first(row: int) -> Outputs:
        return bundle.outputs(prompts.vectors[row], features[row], prompts.word_ids[row])

    adequate, lengths, demands = _outputs_of_arms(first, len(texts), columns)
    predictions, second = Predictions(adequate), bundle.second
    if second is not None:
        second_p, second_lengths, _ = _outputs_of_arms(
            lambda row: second.outputs(texts[row], features[row]), len(texts), columns
        )
        unreadable = ~bundle.encoder.reads_script(features)
        predictions = Predictions(
            adequate,
            SecondStagePredictions(
                second_p, second.reference[:, columns], second.share, unreadable
            ),
        )
        lengths = np.where(predictions.standard_asked()[:, None, None], second_lengths, lengths)
    lengths[:, [not bundle.manifest.arms[column].has_lengths for column in columns]] = np.nan
    return BundlePredictions(predictions, lengths, demands)


def _outputs_of_arms(
    ask: Callable[[int], Outputs], prompts: int, columns: Sequence[int]
) -> tuple[Floats, Floats, Floats]:
    """Of the arms in ``columns`` P(adequate) ``(n, k)`` and lengths ``(n, k, 3)``, and demands ``(n, d)``."""
    adequate = np.empty((prompts, len(columns)))
    lengths = np.empty((prompts, len(columns), 3))
    demands = [np.zeros(0, dtype=np.float32)] * prompts
    for row in range(prompts):
        told = ask(row)
        adequate[row], lengths[row] = told.p_adequate[columns], told.output_tokens[columns]
        demands[row] = told.demands
    return adequate, lengths, np.array(demands, dtype=np.float64, ndmin=2)


def for_models(bundle: Bundle, predicted: BundlePredictions, test: Outcomes) -> Predictions:
    """The predictions for the models that stand for the arms in a history.

    What stood for a tier in an old history is not what stands for it today. A bundle on the scale of ability
    is judged by what it says of the models that answered; one that it does not know is taken for its arm.

    Args:
        bundle: of the predictions.
        predicted: of ``n`` prompts, the arms of ``test``.
        test: ``n`` prompts.
    """
    ability = {arm.name: arm.ability for arm in bundle.manifest.arms}
    found = [ability[arm] for arm in test.arms]
    arm_points = np.array([np.nan if one is None else one for one in found], dtype=np.float64)
    if test.models is None or not (np.diff(arm_points) > 0).all():
        return predicted.predictions
    abilities = bundle.manifest.abilities
    strengths = {name: one.strengths for name, one in abilities.items() if one.strengths}
    models = NamedModels.of(test.models)
    return predicted.predictions.at_abilities(
        arm_points,
        models.points(abilities, arm_points),
        models.shifts(strengths, predicted.demands),
    )


def served_score(bundle: Bundle, text: str) -> Score:
    """The score of one prompt as in serving, under the standard goal and with both stages."""
    score, features = bundle.score(text), lexical_features(text)
    ladder = {arm.name: place for place, arm in enumerate(bundle.manifest.arms)}
    if bundle.needs_second_stage(score, features, ladder, STANDARD_GOAL):
        return bundle.score_second_stage(text, features)
    return score


class _Prompts(Protocol):
    """Prompts with keys of :func:`split.group_of`."""

    @property
    def groups(self) -> npt.NDArray[np.object_]: ...


def unseen_prompts(bundle: Bundle, directory: Path, test: _Prompts) -> npt.NDArray[np.bool_] | None:
    """Which prompts the bundle was not trained on, bool ``(n,)``.

    ``None`` where the bundle does not record its training prompts.

    Args:
        bundle: loaded from ``directory``.
        directory: of the bundle.
        test: ``n`` prompts.

    Raises:
        BadArtifact: its record of training prompts is damaged.
    """
    files = bundle.manifest.files
    if SEEN_FILE not in files:
        return None
    content = read_checked(
        directory, {SEEN_FILE: files[SEEN_FILE]}, remedy="train the bundle again"
    )[SEEN_FILE]
    return ~seen_prompts(test.groups.tolist(), content, seed=bundle.manifest.split.seed)
