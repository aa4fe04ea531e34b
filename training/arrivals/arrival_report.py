"""The report on a model that was placed in a bundle, and the section of the model card on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from router.classifier.bundle import Bundle
from router.classifier.manifest import BundleManifest
from router.core.ability import NEVER_SURE
from router.core.model_names import canonical_name
from router.core.plurals import counted
from training.arrivals.arrival_evidence import ArrivalEvidence
from training.arrivals.arrival_plan import ArrivalPlan
from training.arrivals.model_place import PRIOR_SPREAD, JudgedPrompts, Peers, Place, fit_place
from training.evaluation.calibration_metrics import ece
from training.evaluation.evaluation_report import json_ready
from training.fitting.demands import MIN_MODEL_ATTEMPTS
from training.histories.split import folds
from training.pages.arrival_page import WAYS, place_words
from training.scale.ability import DEVIATION_SPREAD

__all__ = ["CrossValidation", "arrival_report", "card_section", "cross_validated", "with_section"]

Floats = npt.NDArray[np.float64]

FOLDS = 5
WIDTH_90 = 1.645
"""Half the width of a 90 % interval, in standard deviations."""


@dataclass(frozen=True)
class CrossValidation:
    """P(adequate) of ``n`` attempts, each by a place that was fitted without the attempts of its fold.

    Attributes:
        tier: float64 ``(n,)``, as the arm of its tier.
        placed: float64 ``(n,)``, by ability.
        strong: float64 ``(n,)``, by ability and strengths; ``None`` where there are too few attempts.
        adequate: bool ``(n,)``.
    """

    tier: Floats
    placed: Floats
    strong: Floats | None
    adequate: npt.NDArray[np.bool_]

    @property
    def strengths_help(self) -> bool:
        """Whether strengths lower the log-loss."""
        return self.strong is not None and self._log_loss(self.strong) < self._log_loss(self.placed)

    def _log_loss(self, p: Floats) -> float:
        right = np.where(self.adequate, p, 1 - p)
        return float(-np.log(np.maximum(right, NEVER_SURE)).mean())

    def figures(self) -> dict[str, Any]:
        """Log-loss in nats, ECE and mean P of each; ``real`` is the share that was adequate."""
        ways = {"tier": self.tier, "placed": self.placed, "with_strengths": self.strong}
        return {
            "folds": FOLDS,
            "real": float(self.adequate.mean()),
            **{
                name: None
                if p is None
                else {
                    "log_loss": self._log_loss(p),
                    "ece": ece(self.adequate, p),
                    "said": float(p.mean()),
                }
                for name, p in ways.items()
            },
        }


def cross_validated(
    attempts: JudgedPrompts,
    peers: Peers,
    tier_points: float,
    groups: npt.NDArray[np.object_],
    *,
    seed: int,
) -> CrossValidation:
    """Place the model five times, each time without a fifth of its prompts.

    Args:
        attempts: ``n`` of them.
        peers: what others did at these prompts.
        tier_points: the ability of the arm of its tier.
        groups: ``n`` keys of the prompts; a prompt is in one fold.
        seed: of the folds.
    """
    fold = folds(groups.tolist(), count=FOLDS, seed=seed)
    tier, placed, strong = (np.full(len(attempts), np.nan) for _ in range(3))
    for at in range(FOLDS):
        test, train = fold == at, attempts.rows(fold != at)
        there = attempts.rows(test)
        place = fit_place(train, tier_points, peers)
        placed[test] = place.p_adequate(there)
        tier[test] = Place(tier_points, 0.0, np.zeros(0), place.leniency).p_adequate(there)
        if attempts.tells_strengths:
            strong[test] = fit_place(train, tier_points, peers, strengths=True).p_adequate(there)
    known = strong if attempts.tells_strengths else None
    return CrossValidation(tier, placed, known, attempts.adequate)


def _neighbours(plan: ArrivalPlan, manifest: BundleManifest, points: float) -> list[Any]:
    """The next models below and above, among the half of the known ones with the most attempts."""
    others = {name: one for name, one in manifest.abilities.items() if name != plan.key}
    least = np.median([one.attempts for one in others.values()]) if others else 0
    known = sorted((one.points, name) for name, one in others.items() if one.attempts >= least)
    below, above = (
        [one for one in known if one[0] <= points],
        [one for one in known if one[0] > points],
    )
    ends = below[-1] if below else None, above[0] if above else None
    return [None if end is None else {"model": end[1], "points": end[0]} for end in ends]


def arrival_report(
    plan: ArrivalPlan,
    bundle: Bundle,
    evidence: ArrivalEvidence,
    place: Place,
    checked: CrossValidation,
) -> dict[str, Any]:
    """The report, ready for JSON: ``metrics.arrivals.NAME`` of the manifest.

    Args:
        plan: which model.
        bundle: that it is placed in.
        evidence: its attempts.
        place: fitted on all of them.
        checked: what the same fit says of attempts that it did not see.
    """
    attempts, peers = evidence.attempts, evidence.peers
    tier = next(arm for arm in bundle.manifest.placed_arms if arm.name == plan.tier)
    before = bundle.manifest.abilities.get(plan.key)
    counts = np.bincount(attempts.history, minlength=len(evidence.histories))
    half = WIDTH_90 * place.uncertainty
    made: dict[str, Any] = json_ready(
        {
            "model": plan.model,
            "tier": plan.tier,
            "parent": bundle.version,
            "replaces": None if before is None else before.points,
            "histories": [
                {
                    "name": history.name,
                    "sha256": history.sha256,
                    "adequate_at": standard.adequate_at,
                    "judge": standard.judge or None,
                    "attempts": counts[at],
                    "peers": peers.models[at],
                    "leniency": place.leniency[at] if peers.models[at] else None,
                }
                for at, (history, standard) in enumerate(
                    zip(evidence.histories, evidence.standards, strict=True)
                )
            ],
            "attempts": len(attempts),
            "seen_prompts": None if evidence.seen is None else evidence.seen.sum(),
            "adequate_share": attempts.adequate.mean(),
            "ability": {
                "points": place.points,
                "uncertainty": place.uncertainty,
                "low": place.points - half,
                "high": place.points + half,
            },
            "prior": {"points": tier.ability, "spread": PRIOR_SPREAD},
            "between": _neighbours(plan, bundle.manifest, place.points),
            "strengths": place.strengths,
            "cross_validation": checked.figures(),
        }
    )
    return {**made, "notes": _notes(plan, bundle, made)}


def _notes(plan: ArrivalPlan, bundle: Bundle, report: Mapping[str, Any]) -> list[str]:
    """What the user should know."""
    notes = [
        f"serving uses this place for the catalog model {plan.name}",
        f"output lengths are those of the tier {plan.tier}, until settled usage corrects them",
    ]
    if plan.key != plan.name:
        notes[0] += f" and for {plan.key} of any host"
    listed = canonical_name(plan.model)
    if listed != plan.key and listed in bundle.manifest.abilities:
        known = bundle.manifest.abilities[listed].points
        notes.append(f"the bundle places {plan.model} as {listed}, too, at {known:.0f} points")
    seen, total = report["seen_prompts"], report["attempts"]
    if seen is None:
        notes.append("the bundle does not record its training prompts")
    elif seen:
        notes.append(
            f"{seen:,} of {counted(total, 'attempt is', 'attempts are')} at its training prompts"
        )
    for one in report["histories"]:
        if not one["peers"]:
            notes.append(
                f"{one['name']} has no model that the bundle places, at these prompts: a strict judge and a "
                f"less able model look alike, so the place is known to ± {100 * DEVIATION_SPREAD:.0f} points "
                "at best; attempts of a known model at the same prompts would tell them apart"
            )
        else:
            strict = "strict" if one["leniency"] < 0 else "lenient"
            notes.append(
                f"{one['name']}: {counted(one['peers'], 'known model tells', 'known models tell')} that its "
                f"judge is {abs(one['leniency']):.2f} logits more {strict} than the bundle; the place is "
                "corrected for it"
            )
    if not bundle.classifier.demands:
        notes.append("no strengths: this bundle tells no demands of prompts")
    elif report["cross_validation"]["with_strengths"] is None:
        notes.append(f"no strengths: they are fitted from {MIN_MODEL_ATTEMPTS} attempts on")
    elif not report["strengths"]:
        notes.append("no strengths: they do not lower the log-loss of attempts left out")
    return notes


def _title(key: str) -> str:
    return f"## The model {key}, placed on the scale of ability"


def card_section(key: str, report: Mapping[str, Any]) -> str:
    """The section of the model card on a placed model, as Markdown.

    Args:
        key: by which the bundle knows it.
        report: of :func:`arrival_report`.
    """
    checked = report["cross_validation"]
    losses = ", ".join(
        f"{words} {checked[way]['log_loss']:.4f} (ECE {checked[way]['ece']:.3f}, mean P "
        f"{checked[way]['said']:.3f})"
        for way, words in WAYS.items()
        if checked[way]
    )
    return (
        f"{_title(key)}\n\n"
        f"`{report['model']}`: {place_words(report)}. Placed in `{report['parent']}` "
        f"{'with' if report['strengths'] else 'without'} strengths. Log-loss of its attempts by "
        f"{FOLDS}-fold cross-validation: {losses}; {checked['real']:.3f} of them were adequate. The figures "
        "above were measured without this model.\n"
    )


def with_section(card: str, key: str, section: str) -> str:
    """The card with the section on a model, in the place of an older one on the same model.

    Args:
        card: Markdown.
        key: by which the bundle knows the model.
        section: of :func:`card_section`.
    """
    head, title, rest = card.partition(_title(key))
    if title:
        _, heading, later = rest.partition("\n## ")
        card = head + heading.lstrip("\n") + later
    return f"{card.rstrip()}\n\n{section}".lstrip("\n")
