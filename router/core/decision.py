"""The decision: one pure function from candidates to a choice and its reasons.

What each goal ranks by, and how it explains a choice, is in :mod:`router.core.goals`.

No clock, no I/O, no randomness: a replay runs the same function over old decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from router.core.errors import Exhausted, NotPossible
from router.core.exclusions import blocked, exclusion_reasons, no_eligible_model, unmet
from router.core.exploration import explored, explored_reason, rivals
from router.core.goals import at_stake, goal_reason
from router.core.health import ALL_HEALTHY, Health, fallback_chain, left_out
from router.core.limit_effects import (
    deferral,
    may_reach_a_limit,
    rank_under_soft_limits,
    refused_by_limits,
    soft_limits_passed,
)
from router.core.limits import SoftAction
from router.core.ruling import NO_RULING, Ruling
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Exploration,
    Goal,
    Model,
    Reason,
)

__all__ = ["decide"]


def _replacement_reasons(
    model: Model, constraints: Constraints, ruling: Ruling
) -> Iterable[Reason]:
    """A reason where a model was chosen because one that was asked for has retired."""
    if not model.replaces:
        return
    lists = (constraints.models, *(rule.effects.models for rule in ruling.rules))
    named = [names & model.replaces for names in lists if names and model.id not in names]
    retired = sorted(frozenset().union(*named))
    if retired:
        has = "has" if len(retired) == 1 else "have"
        yield Reason(
            "REPLACED",
            f"{', '.join(retired)} {has} retired: {model.id} was chosen instead",
            dict.fromkeys(retired, model.id),
        )


def _left_to_chance(
    ranked: Sequence[Candidate], constraints: Constraints, goal: Goal, regret: float, health: Health
) -> list[Candidate]:
    """The candidates that chance may choose from: healthy ones that pass no soft value, and the best.

    Where the best is not healthy, nothing is left to chance.
    """
    choice = rivals(ranked, constraints, goal, regret)
    if health is not ALL_HEALTHY:
        sound = [each for each in choice if health.why(each) is None]
        choice = [each for each in sound if each.model.id not in health.due]
        if ranked[0] not in choice:
            return [ranked[0]]
    if len(choice) == 1 or not may_reach_a_limit(choice):
        return choice
    return [
        each for each in choice if each is choice[0] or not soft_limits_passed(each, *SoftAction)
    ]


def _trying(chosen: Candidate, health: Health) -> Reason:
    model = chosen.model.id
    return Reason("MODELS_UNHEALTHY", f"this call tries {model} again: {health.due[model]}")


class _Field(NamedTuple):
    """What takes part in a decision.

    Attributes:
        eligible: candidates, at least one, in the order of their names.
        excluded: how many are left out, by the name of the exclusion.
        alone: whether constraints, rules and limits leave only one of several.
        of_health: reasons for what the health of models changed.
    """

    eligible: list[Candidate]
    excluded: Counter[str]
    alone: bool
    of_health: Sequence[Reason]


def _field(
    candidates: Sequence[Candidate],
    constraints: Constraints,
    ruling: Ruling,
    health: Health,
    batch: bool,
) -> _Field:
    """What constraints, rules, limits and health leave.

    Args:
        candidates: in the order of their names.
        constraints: as in :func:`decide`.
        ruling: likewise.
        health: likewise.
        batch: likewise.

    Raises: as :func:`decide`.
    """
    exclusions = [unmet(candidate, constraints, ruling) for candidate in candidates]
    if may_reach_a_limit(candidates):
        exclusions = [
            name or blocked(candidate)
            for candidate, name in zip(candidates, exclusions, strict=True)
        ]
    eligible = [c for c, name in zip(candidates, exclusions, strict=True) if name is None]
    excluded = Counter(name for name in exclusions if name is not None)
    alone = len(eligible) == 1 and len(candidates) > 1
    if not eligible:
        if any(name.startswith("limit_") for name in excluded):
            raise refused_by_limits(candidates, exclusions)
        raise no_eligible_model(candidates, constraints, ruling, excluded)
    of_health: Sequence[Reason] = ()
    if health is not ALL_HEALTHY:
        out, of_health = left_out(eligible, health)
        eligible = [each for each in eligible if each.model.id not in out]
        excluded.update(out.values())
    deferred = deferral(eligible, ruling) if batch else None
    if deferred is not None:
        raise deferred
    return _Field(eligible, excluded, alone, of_health)


def decide(
    candidates: Sequence[Candidate],
    constraints: Constraints,
    goal: Goal,
    *,
    ruling: Ruling = NO_RULING,
    health: Health = ALL_HEALTHY,
    complexity: float = 1.0,
    batch: bool = False,
    top_tier: str | None = None,
    moment: datetime | None = None,
    exploration: Exploration | None = None,
) -> Decision:
    """Choose a model.

    The goal says how: see :class:`~router.core.types.MissCost`, :class:`~router.core.types.WillingnessToPay`
    and :class:`~router.core.types.QualityTarget`. Soft limits and pacing warn, downgrade and defer batch
    work; hard limits exclude candidates.

    Where the decision would be refused and rules give way, it is made without all of these: so they refuse
    nothing, and never change why something is refused.

    Args:
        candidates: every model of the catalog with its probability, quote and limits.
        constraints: what the caller allows.
        goal: what the choice aims for.
        ruling: what the routing table allows. Its goal is the caller's business.
        health: of all models; unhealthy ones are left out as long as others are left.
        complexity: of the prompt, 0..1: the simpler, the less a miss costs.
        batch: whether the work can wait.
        top_tier: the highest tier of the catalog, which a soft limit may forbid.
        moment: the current time, for pacing; ``None`` turns pacing off.
        exploration: how much is left to chance, and the number that decides; ``None``: nothing is. Where a
            soft limit or pacing acts nothing is left to chance either, and no model that is not healthy.

    Returns:
        All eligible candidates, best first, or first the one that chance chose, the reasons, and what to try
        next. The order of ``candidates`` does not matter.

    Raises:
        NotPossible: no candidate meets the constraints; the message says why.
        Exhausted: some candidates meet the constraints, but a limit blocks each of them.
    """
    goal = at_stake(goal, complexity)
    candidates = sorted(candidates, key=lambda candidate: candidate.model.id)
    try:
        field = _field(candidates, constraints, ruling, health, batch)
    except (Exhausted, NotPossible):
        if not ruling.gives_way:
            raise
        ruling = ruling.after_giving_way()
        field = _field(candidates, constraints, ruling, health, batch)
    eligible, excluded, alone, of_health = field
    ranked, notes = rank_under_soft_limits(eligible, goal, top_tier, moment)
    downgraded = any(note.code == "DOWNGRADED" for note in notes)
    reasons = notes if downgraded else [goal_reason(ranked, goal, complexity), *notes]
    found = None
    if exploration is not None and exploration.share > 0 and not notes:
        choice = _left_to_chance(ranked, constraints, goal, exploration.regret, health)
        if len(choice) > 1:
            found = explored(exploration, choice)
            if found.chosen != found.best:
                reasons = [explored_reason(found, choice, goal)]
                ranked.sort(key=lambda each: each.model.id != found.chosen)
    if alone:
        reasons.append(Reason("ONLY_CANDIDATE", "the only model that meets the constraints"))
    reasons.extend(of_health)
    if ranked[0].model.id in health.due:
        reasons.append(_trying(ranked[0], health))
    reasons.extend(_replacement_reasons(ranked[0].model, constraints, ruling))
    reasons.extend(ruling.reasons)
    reasons.extend(exclusion_reasons(excluded))
    return Decision(
        tuple(ranked), tuple(reasons), fallback_chain(ranked, health), found, bool(ruling.gave_way)
    )
