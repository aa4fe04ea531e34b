"""P(adequate) of a model of the catalog, from the arms of a bundle and what is known of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.classifier.manifest import BundleManifest, ModelAbility
from router.core.ability import Line, Node, lines_between, nodes_of, p_on
from router.core.model_names import canonical_name
from router.core.plurals import counted
from router.core.types import Model, Score

__all__ = [
    "KnownAbility",
    "ModelOdds",
    "ability_of",
    "arm_names",
    "arm_of",
    "known_place",
    "odds_of",
    "p_of_model",
    "prompt_lines",
]


@dataclass(frozen=True, slots=True)
class KnownAbility:
    """What is known of the ability of a model.

    Attributes:
        source: ``arm`` (the bundle has an arm of its own for the model), ``attempts`` (its own ones placed it
            on the scale, in the histories of the bundle or elsewhere), ``published`` (scores in the catalog
            did) or ``tier`` (it is taken to be as its tier).
        basis: the same for people, such as ``180 attempts of its own``.
        points: on the scale of ability; ``None``: the bundle has no scale.
        uncertainty: standard deviation of the points, in points; ``None``: not known.
        strengths: logits per unit of each demand of a prompt; empty: none are known.
        arm: the arm that is this model, so that P(adequate) of it is the arm's; ``None``: there is none.
    """

    source: str
    basis: str
    points: float | None = None
    uncertainty: float | None = None
    strengths: Sequence[float] = ()
    arm: str | None = None


def arm_names(manifest: BundleManifest) -> dict[str, str]:
    """The arm that speaks for a model or for the other models of a tier, by the id or the tier.

    The first arm of a tier speaks for the tier; later ones were added for single models.
    """
    tiers = {arm.tier: arm.name for arm in reversed(manifest.arms)}
    return tiers | {arm.name: arm.name for arm in manifest.arms}


def arm_of(model: str, tier: str, arms: Mapping[str, str]) -> str | None:
    """The arm that speaks for a model, its own before that of its tier; ``None``: the bundle has neither.

    Args:
        model: its id in the catalog.
        tier: its tier.
        arms: of :func:`arm_names`.
    """
    return arms.get(model) or arms.get(tier)


def known_place(model: str, manifest: BundleManifest) -> ModelAbility | None:
    """The place of a model in a bundle, by its name without host, maker, date and «preview».

    Args:
        model: its id in the catalog.
        manifest: of the bundle.
    """
    return manifest.abilities.get(canonical_name(model))


def ability_of(model: Model, arm: str | None, manifest: BundleManifest) -> KnownAbility:
    """The ability of a model by the best evidence: its own arm, its own attempts, published scores, its tier.

    Args:
        model: of the catalog.
        arm: the arm for it or its tier; ``None``: the bundle has none.
        manifest: of the bundle. Where it places fewer than two arms on the scale, every model is as its arm.
    """
    placed = {one.name: one.ability for one in manifest.placed_arms}
    if arm == model.id:
        return KnownAbility("arm", "an arm of its own", placed.get(arm))
    if arm is not None and len(placed) >= 2:
        known = known_place(model.id, manifest)
        if known is not None:
            basis = counted(known.attempts, "attempt of its own", "attempts of its own")
            if known.elsewhere:
                basis += f" in {' and '.join(known.elsewhere)}"
            return KnownAbility(
                "attempts",
                basis,
                known.points,
                known.uncertainty,
                known.strengths,
                _arm_that_is(model.id, known, manifest),
            )
        if (told := model.ability) is not None:
            return KnownAbility("published", told.basis, told.points, told.uncertainty)
    return KnownAbility("tier", f"its tier, {model.tier}", placed.get(arm or ""))


def _arm_that_is(model: str, known: ModelAbility, manifest: BundleManifest) -> str | None:
    """The arm that this model alone taught; ``None`` also where ``add-arm`` has placed the model anew."""
    name = canonical_name(model)
    for arm in manifest.arms:
        if arm.ability == known.points and {canonical_name(one) for one in arm.models} == {name}:
            return arm.name
    return None


@dataclass(frozen=True, slots=True)
class ModelOdds:
    """What of P(adequate) of a model depends on no prompt.

    Attributes:
        arm: whose P(adequate) it is, unless ``nodes`` are given; ``None``: no arm speaks for the model.
        basis: what the ability rests on: the model's own attempts, published scores, its tier; empty
            without an arm.
        nodes: its place among the arms, of :func:`~router.core.ability.nodes_of`; ``None``: as ``arm``.
        strengths: logits per unit of each demand of a prompt; empty: none are known.
    """

    arm: str | None
    basis: str
    nodes: tuple[Node, ...] | None = None
    strengths: Sequence[float] = ()

    def p(self, score: Score, lines: Sequence[Line]) -> float | None:
        """P(adequate) of a prompt; ``None`` without an arm.

        Args:
            score: of the prompt.
            lines: of :func:`prompt_lines`.
        """
        if self.nodes is None:
            return None if self.arm is None else score.p_adequate[self.arm]
        shift = sum(a * b for a, b in zip(self.strengths, score.demands, strict=False))
        return p_on(lines, self.nodes, shift)


def prompt_lines(manifest: BundleManifest, score: Score) -> list[Line]:
    """The logits of P(adequate) of a prompt along the scale of ability; empty where the bundle has none."""
    placed = [(one.name, one.ability) for one in manifest.arms if one.ability is not None]
    if len(placed) < 2:
        return []
    return lines_between([score.p_adequate[name] for name, _ in placed], [at for _, at in placed])


def odds_of(model: Model, arm: str | None, manifest: BundleManifest) -> ModelOdds:
    """How P(adequate) of a model follows from the score of a prompt.

    Args:
        model: of the catalog.
        arm: the arm for it or its tier; ``None``: the bundle has none.
        manifest: of the bundle. Where it places fewer than two arms on the scale, every model is as its arm.
    """
    if arm is None:
        return ModelOdds(None, "")
    known = ability_of(model, arm, manifest)
    if known.arm is not None:
        return ModelOdds(known.arm, known.basis)
    if known.points is None or known.uncertainty is None:
        return ModelOdds(arm, known.basis)
    points = [one.ability or 0.0 for one in manifest.placed_arms]
    nodes = nodes_of(points, known.points, known.uncertainty)
    return ModelOdds(arm, known.basis, nodes, known.strengths)


def p_of_model(
    model: Model, arm: str | None, manifest: BundleManifest, score: Score
) -> tuple[float | None, str]:
    """P(adequate) of a model on one prompt, and what its ability rests on.

    Args:
        model: as for :func:`odds_of`, like the next two.
        arm: see ``model``.
        manifest: see ``model``.
        score: of the prompt.
    """
    odds = odds_of(model, arm, manifest)
    return odds.p(score, prompt_lines(manifest, score)), odds.basis
