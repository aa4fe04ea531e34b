"""Baselines that a router must beat: prompt length, nearest neighbours, a classifier of labels, chance.

Each is fitted on training rows and scores test rows. Some predict P(adequate) per arm; others only rank
the prompts of one pair of arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from training.evaluation.metrics import apgr
from training.histories.outcomes import Outcomes

__all__ = [
    "LABELS",
    "BaselineScores",
    "EncodedOutcomes",
    "arm_pairs",
    "baseline_scores",
    "pair_differences",
]

LABELS = {
    "length": "prompt length alone",
    "knn": "kNN (k = 40, cosine)",
    "multinomial": "multinomial on labels",
    "independent": "independent head per arm",
    "random": "random",
}
"""Names of the baselines in reports, in their order."""

NEIGHBOURS = 40
FOLDS = 5
INVERSE_REGULARISATION = 0.001
"""C of the logistic baselines on standardised columns: the best of .0003 … .03 by APGR on MMLU-Pro."""

_BLOCK = 1024
"""Test prompts compared with all training prompts at once."""

Floats = npt.NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class EncodedOutcomes:
    """Prompts with the inputs that a router has.

    Attributes:
        outcomes: ``n`` prompts, ``k`` arms.
        embeddings: float32 ``(n, d)``, unit rows.
        features: float32 ``(n, f)``, the lexical features.
    """

    outcomes: Outcomes
    embeddings: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.outcomes)

    def take(self, index: npt.NDArray[np.intp]) -> EncodedOutcomes:
        """The prompts at ``index``, in that order."""
        return EncodedOutcomes(
            self.outcomes.rows(index), self.embeddings[index], self.features[index]
        )


@dataclass(frozen=True)
class BaselineScores:
    """Scores of the baselines for ``n`` prompts.

    Attributes:
        adequate: name → float64 ``(n, k)``, P(adequate) per arm (``knn``, ``multinomial``,
            ``independent``).
        pairs: name → float64 ``(n, pairs)``, a score per pair of :func:`arm_pairs` (all of them).
    """

    adequate: dict[str, Floats]
    pairs: dict[str, Floats]


def arm_pairs(arms: int) -> list[Pair]:
    """Every (weak, strong) pair of positions on a ladder of so many arms."""
    return [(weak, strong) for weak in range(arms) for strong in range(weak + 1, arms)]


def pair_differences(p_adequate: Floats) -> Floats:
    """P(strong) − P(weak) for every pair of :func:`arm_pairs`, ``(n, pairs)``."""
    pairs = arm_pairs(p_adequate.shape[1])
    return np.stack([p_adequate[:, strong] - p_adequate[:, weak] for weak, strong in pairs], axis=1)


def _log_length(outcomes: Outcomes) -> Floats:
    return np.log1p(np.array([len(text) for text in outcomes.texts], dtype=np.float64))


def _length(train: EncodedOutcomes, test: EncodedOutcomes) -> Floats:
    """Log length of the prompt; whether long or short prompts need the strong arm is learnt."""
    train_lengths, test_lengths = _log_length(train.outcomes), _log_length(test.outcomes)
    columns = []
    for weak, strong in arm_pairs(len(train.outcomes.arms)):
        quality = train.outcomes.quality[:, [weak, strong]]
        both = ~np.isnan(quality).any(axis=1)
        value = apgr(quality[both, 0], quality[both, 1], train_lengths[both])
        columns.append(-test_lengths if value < 0.5 else test_lengths)
    return np.stack(columns, axis=1)


def _base_rates(outcomes: Outcomes) -> Floats:
    judged = outcomes.judged.sum(axis=0)
    return np.asarray((outcomes.adequate.sum(axis=0) + 0.5) / (judged + 1))


def _neighbours(train: EncodedOutcomes, test: EncodedOutcomes) -> Floats:
    """Share of adequate attempts among the nearest training prompts by cosine.

    A neighbour that an arm never answered does not count for it; an arm without any falls back on
    its share over all training prompts.
    """
    judged = train.outcomes.judged
    adequate = train.outcomes.adequate & judged
    base = _base_rates(train.outcomes)
    count = min(NEIGHBOURS, len(train))
    result = np.empty((len(test), len(base)))
    for start in range(0, len(test), _BLOCK):
        cosine = test.embeddings[start : start + _BLOCK] @ train.embeddings.T
        nearest = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
        answered = judged[nearest].sum(axis=1)
        good = adequate[nearest].sum(axis=1)
        result[start : start + _BLOCK] = np.where(
            answered > 0, good / np.maximum(answered, 1), base[None, :]
        )
    return result


def _labels(outcomes: Outcomes) -> npt.NDArray[np.intp]:
    """Position of the cheapest adequate arm, ``k`` where there is none."""
    adequate = outcomes.adequate
    label = np.where(adequate.any(axis=1), adequate.argmax(axis=1), adequate.shape[1])
    return np.asarray(label, dtype=np.intp)


def _multinomial(train: EncodedOutcomes, test: EncodedOutcomes) -> Floats:
    """P(label is this arm or a cheaper one) by multinomial logistic regression on labels.

    Labels need prompts that every arm answered; without enough of them, the base rates.
    """
    arms = len(train.outcomes.arms)
    complete = np.flatnonzero(train.outcomes.complete)
    labels = _labels(train.outcomes)[complete]
    if len(np.unique(labels)) < 2:
        return np.tile(_base_rates(train.outcomes), (len(test), 1))
    train_rows, test_rows = _standardised(train.take(complete), test)
    model = _logistic().fit(train_rows, labels)
    distribution = np.zeros((len(test), arms + 1))
    distribution[:, model.classes_] = model.predict_proba(test_rows)
    return np.asarray(distribution.cumsum(axis=1)[:, :arms])


def _independent(train: EncodedOutcomes, test: EncodedOutcomes) -> Floats:
    """P(adequate) by one logistic regression for each arm alone; the base rate of an arm of one class."""
    train_rows, test_rows = _standardised(train, test)
    result = np.tile(_base_rates(train.outcomes), (len(test), 1))
    for arm, judged in enumerate(train.outcomes.judged.T):
        adequate = train.outcomes.adequate[judged, arm]
        if len(np.unique(adequate)) == 2:
            result[:, arm] = (
                _logistic().fit(train_rows[judged], adequate).predict_proba(test_rows)[:, 1]
            )
    return result


def _logistic() -> LogisticRegression:
    return LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000, tol=1e-3)


def _standardised(train: EncodedOutcomes, test: EncodedOutcomes) -> tuple[Floats, Floats]:
    """Vectors and lexical features of both sides in units of the training rows."""
    scaler = StandardScaler()
    train_rows = scaler.fit_transform(np.hstack([train.embeddings, train.features]))
    return train_rows, scaler.transform(np.hstack([test.embeddings, test.features]))


def _fitted(train: EncodedOutcomes, test: EncodedOutcomes, *, seed: int) -> BaselineScores:
    """Every baseline, fitted on ``train`` and asked about ``test``."""
    adequate = {
        "knn": _neighbours(train, test),
        "multinomial": _multinomial(train, test),
        "independent": _independent(train, test),
    }
    length = _length(train, test)
    chance = np.random.default_rng(seed).random(length.shape)
    return BaselineScores(
        adequate,
        {"length": length}
        | {name: pair_differences(value) for name, value in adequate.items()}
        | {"random": chance},
    )


def _merged(parts: Sequence[dict[str, Floats]], order: npt.NDArray[np.intp]) -> dict[str, Floats]:
    merged = {}
    for name in parts[0]:
        stacked = np.concatenate([part[name] for part in parts])
        merged[name] = np.empty_like(stacked)
        merged[name][order] = stacked
    return merged


def _cross_fitted(rows: EncodedOutcomes, *, seed: int) -> BaselineScores | None:
    """Every baseline on the rows themselves, each prompt scored by a fit that did not see its group.

    Returns:
        ``None`` where there are fewer than two groups to split.
    """
    folds = min(FOLDS, len(set(rows.outcomes.groups)))
    if folds < 2:
        return None
    split = GroupKFold(folds, shuffle=True, random_state=seed)
    parts: list[BaselineScores] = []
    places: list[npt.NDArray[np.intp]] = []
    for train, test in split.split(rows.features, groups=rows.outcomes.groups.astype(str)):
        parts.append(_fitted(rows.take(train), rows.take(test), seed=seed + len(parts)))
        places.append(test)
    order = np.concatenate(places)
    return BaselineScores(
        _merged([part.adequate for part in parts], order),
        _merged([part.pairs for part in parts], order),
    )


def baseline_scores(
    train: EncodedOutcomes | None, test: EncodedOutcomes, *, seed: int
) -> BaselineScores | None:
    """Scores of the baselines for the test rows.

    Args:
        train: what they are fitted on; ``None`` cross-fits them on the test rows.
        test: the prompts to score.
        seed: of the folds and of the random baseline.

    Returns:
        ``None`` where there are too few prompts to fit anything.
    """
    if train is None:
        return _cross_fitted(test, seed=seed)
    return _fitted(train, test, seed=seed) if len(train) else None
