"""P(adequate) of a model of the catalog, from the arms of a bundle and what is known of the model."""

from __future__ import annotations

from router.classifier.manifest import BundleManifest, ModelAbility
from router.core.ability import Ability, p_at
from router.core.plurals import counted
from router.core.types import Model, Score

__all__ = ["known_ability", "p_of_model"]


def known_ability(model: str, manifest: BundleManifest) -> ModelAbility | None:
    """The place of a model in a bundle. The host before its name is no part of it: self-hosted/llama-3.1-8b.

    Args:
        model: its id in the catalog.
        manifest: of the bundle.
    """
    return manifest.abilities.get(model.rsplit("/", 1)[-1])


def p_of_model(
    model: Model, arm: str | None, manifest: BundleManifest, score: Score
) -> tuple[float | None, str]:
    """P(adequate) of a model, and what its ability rests on: its own attempts, published scores, its tier.

    Args:
        model: of the catalog.
        arm: the arm for it or its tier; ``None``: the bundle has none.
        manifest: of the bundle. Where it places fewer than two arms on the scale, every model is as its arm.
        score: of the prompt.
    """
    if arm is None:
        return None, ""
    if arm == model.id:
        return score.p_adequate[arm], "an arm of its own"
    ability, placed = model.ability, manifest.placed_arms
    known = known_ability(model.id, manifest)
    shift = 0.0
    if known is not None:
        basis = counted(known.attempts, "attempt of its own", "attempts of its own")
        if known.elsewhere:
            basis += f" in {' and '.join(known.elsewhere)}"
        ability = Ability(known.points, known.uncertainty, basis)
        shift = sum(a * b for a, b in zip(known.strengths, score.demands, strict=False))
    if ability is None or len(placed) < 2:
        return score.p_adequate[arm], f"its tier, {model.tier}"
    p = p_at(
        [score.p_adequate[one.name] for one in placed],
        [one.ability or 0.0 for one in placed],
        ability.points,
        ability.uncertainty,
        shift,
    )
    return p, ability.basis
