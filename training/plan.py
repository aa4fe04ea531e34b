"""What to train and where to put it, the names that follow from it, and what cannot be trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from router.core.errors import InvalidInput
from router.paths import ENCODERS
from training.encoders.embedding import CACHE
from training.histories import demonstration
from training.histories.outcome_table import ReadOptions
from training.histories.outcomes import Outcomes
from training.histories.split import SEED
from training.tracking.store import MODEL

__all__ = ["TrainingPlan", "bundle_name", "check_split", "check_table", "model_name"]

MIN_PROMPTS = 30
"""Fewest prompts that are trained on."""
_DEMONSTRATION = f"{MODEL}-{demonstration.NAME}"
"""Made-up data never trains a bundle under the name that serves."""
_NAMED_HISTORIES = 3
"""Most histories that a bundle's name lists one by one."""


@dataclass(frozen=True)
class TrainingPlan:
    """What to train and where to put it.

    Attributes:
        histories: files; none of them: the demonstration history.
        reading: arms, judge, threshold and prices.
        encoder: its name, or ``cascade``: a fast one, and a second one for close choices.
        out: directory of the bundle.
        name: of the bundle; ``None`` makes one from the encoder and the histories.
        model: name in MLflow's registry; ``None``: the one that promotion and serving go by, and one of
            its own for the demonstration.
        seed: of the split, the folds and the intervals.
        holdout: share of the prompts that is held out, 0 < holdout < 1.
        encoders: folder of encoders.
        cache: folder of cached embeddings; ``None`` keeps none.
        tracking: MLflow's address; ``None`` tracks nothing.
        unseen_sources: whether each source is left out in turn, where several are pooled by tier.
        catalog: the models that are going to be served; ``None``: the catalog that ships.
    """

    histories: Sequence[Path]
    out: Path
    encoder: str = "static"
    reading: ReadOptions = field(default_factory=ReadOptions)
    name: str | None = None
    model: str | None = None
    seed: int = SEED
    holdout: float = 0.2
    encoders: Path = ENCODERS
    cache: Path | None = CACHE
    tracking: str | None = None
    unseen_sources: bool = True
    catalog: Path | None = None


def _checked_name(option: str, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InvalidInput(
            f"--{option} {name!r}: use letters, digits, '.', '_' and '-', a letter or digit first",
            field=option,
        )
    return name


def bundle_name(plan: TrainingPlan) -> str:
    """The name of a bundle: as asked, else from the encoder and the histories.

    Raises:
        InvalidInput: the name cannot be part of a path or an address.
    """
    if plan.name is not None:
        return _checked_name("name", plan.name)
    if not plan.histories:
        return _DEMONSTRATION
    stems = [re.sub(r"[^A-Za-z0-9._]+", "_", path.stem) for path in plan.histories]
    data = stems if len(stems) <= _NAMED_HISTORIES else [f"{len(stems)}-histories"]
    return "-".join([MODEL, plan.encoder, *data])


def model_name(plan: TrainingPlan) -> str:
    """Under which name the bundle is registered in MLflow.

    Raises:
        InvalidInput: the name cannot be part of an address.
    """
    if plan.model is not None:
        return _checked_name("registered-model", plan.model)
    return MODEL if plan.histories else _DEMONSTRATION


def _refuse(reason: str, message: str, field_name: str = "history") -> InvalidInput:
    return InvalidInput(message, reason=reason, field=field_name)


def check_table(outcomes: Outcomes) -> None:
    """Refuse a table from which nothing can be learnt.

    Raises:
        InvalidInput: no judged attempts, an arm without any, too few prompts, or one class only.
    """
    judged = outcomes.judged
    if not judged.any():
        raise _refuse(
            "NO_ATTEMPTS",
            "no attempt of these arms has a quality, so there is nothing to learn from; add the column "
            "quality (0..1)",
        )
    empty = [arm for arm, column in zip(outcomes.arms, judged.T, strict=True) if not column.any()]
    if empty:
        raise _refuse(
            "ARM_EMPTY",
            f"the arm {' and '.join(empty)} has no judged attempt; leave it out of --arms, or give "
            "its attempts a quality (0..1)",
            "arms",
        )
    if len(outcomes) < MIN_PROMPTS:
        raise _refuse(
            "TOO_FEW_PROMPTS",
            f"{len(outcomes)} prompts are too few to train on; at least {MIN_PROMPTS} are needed",
        )
    adequate = outcomes.adequate[judged]
    if adequate.all() or not adequate.any():
        every = "every attempt is adequate" if adequate.all() else "no attempt is adequate"
        raise _refuse(
            "ONE_CLASS",
            f"{every}, so nothing tells prompts apart; choose other arms, or another threshold with "
            "--adequate-at",
        )


def check_split(train: Outcomes, test: Outcomes) -> None:
    """Refuse a split of which one side cannot be used.

    Args:
        train: the prompts to train on.
        test: the held-out prompts.

    Raises:
        InvalidInput: nothing is held out, or the training side lacks an arm or a class.
    """
    if not len(test) or not train.teaches:
        raise _refuse(
            "SPLIT_TOO_SMALL",
            f"with {len(train)} prompts to train on and {len(test)} held out, one side lacks an arm or "
            "a class; add prompts, or change --holdout or --seed",
        )
