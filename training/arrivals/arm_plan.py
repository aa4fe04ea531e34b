"""Which arm to add to which bundle, and which plans and attempts are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from router.classifier.manifest import BundleManifest
from router.core.errors import InvalidInput
from router.core.types import NONE_LABEL
from router.paths import ENCODERS
from training.encoders.embedding import CACHE
from training.histories.history import History
from training.histories.ladders import choose_ladder
from training.histories.outcome_table import ReadOptions
from training.histories.split import SEED

__all__ = ["MIN_ATTEMPTS", "ArmPlan", "check_attempts", "check_judge", "check_names", "parse_arm"]

MIN_ATTEMPTS = 10
"""Fewest judged attempts from which an arm of its own is fitted."""


@dataclass(frozen=True)
class ArmPlan:
    """Which arm to add to which bundle.

    Attributes:
        bundle: directory of the bundle.
        histories: files with attempts of ``model``.
        arm: name of the new arm: the id of a catalog model, which then uses it.
        model: its name in the histories.
        tier: the arm whose head is the starting point.
        out: directory of the bundle to be written.
        after: the arm that it follows on the ladder; ``None``: ``tier``.
        reading: judge, threshold and prices; its arms are not read.
        seed: of the order in which attempts are learnt and of the draws behind intervals.
        encoders: folder of encoders.
        cache: folder of cached embeddings; ``None`` keeps none.
    """

    bundle: Path
    histories: Sequence[Path]
    arm: str
    model: str
    tier: str
    out: Path
    after: str | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    seed: int = SEED
    encoders: Path = ENCODERS
    cache: Path | None = CACHE


def parse_arm(text: str) -> tuple[str, str]:
    """Name and model from ``NAME=MODEL``; ``NAME`` alone stands for both.

    Raises:
        InvalidInput: one of them is empty.
    """
    name, separator, model = (part.strip() for part in text.partition("="))
    if not name or (separator and not model):
        raise InvalidInput(
            f"--arm: {text!r} is not NAME=MODEL: the id in the catalog, and the model in the history",
            field="arm",
        )
    return name, model or name


def check_names(arrival: ArmPlan, manifest: BundleManifest) -> None:
    """Refuse names that the bundle does not know, or has already.

    Raises:
        InvalidInput: the tier or the arm to follow is unknown; the arm or its model is in the bundle.
    """
    names = [arm.name for arm in manifest.arms]
    for option, name in (("tier", arrival.tier), ("after", arrival.after or arrival.tier)):
        if name not in names:
            raise InvalidInput(
                f"--{option}: {name} is no arm of this bundle; it has {', '.join(names)}",
                reason="ARM_UNKNOWN",
                field=option,
            )
    taken = {NONE_LABEL, *names, *(arm.tier for arm in manifest.arms)}
    if arrival.arm in taken:
        raise InvalidInput(
            f"--arm: {arrival.arm} is an arm or tier of this bundle already; name the arm by the id of "
            "its model in the catalog",
            reason="ARM_EXISTS",
            field="arm",
        )
    for arm in manifest.arms:
        if arrival.model in arm.models:
            raise InvalidInput(
                f"--arm: the arm {arm.name} was trained on the model {arrival.model} already; to use "
                "more attempts, train again with all of them",
                reason="MODEL_EXISTS",
                field="arm",
            )


def check_judge(arrival: ArmPlan, histories: Sequence[History]) -> None:
    """Refuse attempts of several judges unless one judge was chosen.

    Raises:
        InvalidInput: they are mixed, or a history does not have the model.
    """
    judges: set[str] = set()
    for history in histories:
        ladder = choose_ladder(history, {arrival.arm: arrival.model}, judge=arrival.reading.judge)
        if ladder.judge is not None:
            judges.add(ladder.judge)
            continue
        rows = history.counts
        judged = rows[(rows["model"] == arrival.model) & rows["judged"]]
        judges.update(judged["judge"].fillna(""))
    if len(judges) > 1:
        named = ", ".join(sorted(judge or "an unnamed judge" for judge in judges))
        raise InvalidInput(
            f"the attempts of {arrival.model} are judged by {named}, and judges are never mixed; choose "
            "one with --judge",
            reason="JUDGES_DIFFER",
            field="judge",
        )


def check_attempts(arrival: ArmPlan, judged: int) -> None:
    """Refuse fewer judged attempts than :data:`MIN_ATTEMPTS`.

    Raises:
        InvalidInput: there are too few.
    """
    if judged < MIN_ATTEMPTS:
        raise InvalidInput(
            f"{arrival.model} has {judged} judged attempts, and an arm needs {MIN_ATTEMPTS}; until then "
            f"give the model the tier {arrival.tier} in the catalog, which needs none",
            reason="TOO_FEW_ATTEMPTS",
            field="history",
        )
