"""Which model is to be placed in which bundle, and which plans are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from router.catalog.catalog_file import closest
from router.classifier.manifest import BundleManifest
from router.core.errors import InvalidInput
from router.core.types import NONE_LABEL
from router.paths import ENCODERS
from training.encoders.embedding import CACHE
from training.histories.history import History
from training.histories.judges import choose_judge
from training.histories.ladders import Standard, standard_of
from training.histories.split import SEED

__all__ = [
    "MIN_ATTEMPTS",
    "ArrivalPlan",
    "check_attempts",
    "check_names",
    "parse_arm",
    "standard_for",
]

MIN_ATTEMPTS = 10
"""Fewest judged attempts from which a model is placed."""
LONGEST_NAME = 200
"""Characters of an id in the catalog, at most."""


@dataclass(frozen=True)
class ArrivalPlan:
    """Which model is to be placed in which bundle.

    Attributes:
        bundle: directory of the bundle.
        histories: files with attempts of ``model``.
        name: id of the model in the catalog.
        model: its name in the histories.
        tier: the arm near whose ability it is expected.
        out: directory of the bundle to be written.
        judge: whose quality counts; ``None``: the known judge of a history.
        adequate_at: the quality from which an attempt is adequate, 0..1; ``None``: that of the history.
        skip_bad_rows: whether bad rows are skipped.
        replace: whether a model that the bundle places already gets a new place.
        seed: of the folds.
        encoders: folder of encoders.
        cache: folder of cached embeddings; ``None`` keeps none.
    """

    bundle: Path
    histories: Sequence[Path]
    name: str
    model: str
    tier: str
    out: Path
    judge: str | None = None
    adequate_at: float | None = None
    skip_bad_rows: bool = False
    replace: bool = False
    seed: int = SEED
    encoders: Path = ENCODERS
    cache: Path | None = CACHE

    @property
    def key(self) -> str:
        """By which a bundle knows the model: its id without the host's name before the last ``/``."""
        return self.name.rsplit("/", 1)[-1]


def parse_arm(text: str) -> tuple[str, str]:
    """Name and model from ``NAME=MODEL``; ``NAME`` alone stands for both.

    Raises:
        InvalidInput: one of them is empty, or the name cannot be an id of the catalog.
    """
    name, separator, model = (part.strip() for part in text.partition("="))
    if not name or (separator and not model):
        raise InvalidInput(
            f"--arm: {text!r} is not NAME=MODEL: the id in the catalog, and the model in the history",
            field="arm",
        )
    if len(name) > LONGEST_NAME or not name.isprintable() or name.endswith("/"):
        raise InvalidInput(
            f"--arm: {name[:60]!r} cannot be an id of the catalog: it has at most {LONGEST_NAME} characters, "
            "none of them a control character, and ends with the name of the model, not of its host",
            reason="NAME_INVALID",
            field="arm",
        )
    return name, model or name


def check_names(plan: ArrivalPlan, manifest: BundleManifest) -> None:
    """Refuse a bundle without a scale, and names that it does not know, or has already.

    Raises:
        InvalidInput: fewer than two arms stand on the scale, the tier is none of them, or the name is that
            of an arm, of a tier or of a placed model that is not to be replaced.
    """
    tiers = [arm.name for arm in manifest.placed_arms]
    if len(tiers) < 2:
        raise InvalidInput(
            f"{plan.bundle} has no scale of ability to place a model on: an older release made it, or "
            "nothing linked its arms to the scale; train it again with attempts of a model whose ability is "
            "known, or with several histories and without --arms, as "
            "make train HISTORY='A.parquet B.parquet' does",
            reason="NOT_ON_SCALE",
            field="bundle",
        )
    if plan.tier not in tiers:
        raise InvalidInput(
            f"--tier: {plan.tier} is no tier on this bundle's scale; it has {', '.join(tiers)}",
            reason="TIER_UNKNOWN",
            field="tier",
        )
    taken = {NONE_LABEL, *(arm.name for arm in manifest.arms), *(arm.tier for arm in manifest.arms)}
    if taken & {plan.name, plan.key}:
        raise InvalidInput(
            f"--arm: {plan.name} is an arm or tier of this bundle already; name the model by its id in the "
            "catalog",
            reason="ARM_EXISTS",
            field="arm",
        )
    known = manifest.abilities.get(plan.key)
    if known is not None and not known.elsewhere and not plan.replace:
        raise InvalidInput(
            f"--arm: the bundle places {plan.key} already, at {known.points:.0f} ± {known.uncertainty:.0f} "
            f"points by {known.attempts:,} attempts; --replace places it anew, by these attempts alone",
            reason="MODEL_EXISTS",
            field="arm",
        )


def standard_for(plan: ArrivalPlan, history: History) -> Standard:
    """How a history graded the answers of the model.

    Raises:
        InvalidInput: it lacks the model, grades no answer for itself, or several judges graded them; and as
            :func:`judges.choose_judge`.
    """
    if plan.model not in history.models:
        raise InvalidInput(
            f"--arm: the history {history.name} has no attempts of {plan.model}; "
            f"{closest(plan.model, history.models)}",
            reason="MODEL_UNKNOWN",
            field="arm",
        )
    standard = standard_of(history, adequate_at=plan.adequate_at, judge=plan.judge)
    if standard.grades != "answers":
        raise InvalidInput(
            f"the history {history.name} compares answers with one another, which does not tell whether one "
            "is adequate; name a history that grades each answer for itself, or train again with this one "
            "(make train)",
            reason="NOT_GRADED",
            field="history",
        )
    own = history.counts[history.counts["model"] == plan.model]
    judge = choose_judge(own, standard.judge, history.name)
    if standard.judge is None and judge.others:
        named = ", ".join(one or "an unnamed judge" for one in sorted((judge.name, *judge.others)))
        raise InvalidInput(
            f"{history.name}: the attempts of {plan.model} are judged by {named}, and judges are never "
            "mixed: choose one with --judge",
            reason="JUDGES_DIFFER",
            field="judge",
        )
    # Others of the history may have been judged by somebody else.
    return replace(standard, judge=judge.name if judge.attempts else None)


def check_attempts(plan: ArrivalPlan, judged: int) -> None:
    """Refuse fewer judged attempts than :data:`MIN_ATTEMPTS`.

    Raises:
        InvalidInput: there are too few.
    """
    if judged < MIN_ATTEMPTS:
        raise InvalidInput(
            f"{plan.model} has {judged} judged attempts, and a place needs {MIN_ATTEMPTS}; judge more with "
            f"`python -m training judge`, and until then give the model the tier {plan.tier} in the catalog, "
            "which needs none",
            reason="TOO_FEW_ATTEMPTS",
            field="history",
        )
