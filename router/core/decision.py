"""The decision: one pure function from candidates to a choice and its reasons.

What each goal ranks by, and how it explains a choice, is in :mod:`router.core.goals`.

No clock, no I/O, no randomness: a replay runs the same function over old decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from router.core.conversation import (
    NO_CONVERSATION,
    Conversation,
    change_reason,
    escalated_reason,
    no_more_able,
    with_cache_savings,
)
from router.core.errors import Exhausted, NotPossible
from router.core.exclusions import blocked, exclusion_reasons, no_eligible_model, unmet
from router.core.exploration import explored, explored_reason, rivals
from router.core.goals import at_stake, goal_reason
from router.core.health import ALL_HEALTHY, Health, fallback_chain, left_out
from router.core.limit_effects import (
    capped_tier,
    deferral,
    may_reach_a_limit,
    rank_under_soft_limits,
    refused_by_limits,
    soft_limits_passed,
)
from router.core.limits import SoftAction
from router.core.load import (
    NO_LOAD,
    PROVIDER_FULL,
    Full,
    Load,
    full_accounts,
    load_refusal,
    load_shifted,
)
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

__all__ = ["decide", "set_aside"]


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


def _why(
    ranked: Sequence[Candidate], goal: Goal, complexity: float, conversation: Conversation
) -> Iterable[Reason]:
    """The turns before where they changed the choice, else the goal."""
    changed = change_reason(ranked, goal, conversation)
    yield goal_reason(ranked, goal, complexity) if changed is None else changed


def set_aside(
    candidates: Sequence[Candidate],
    eligible: Sequence[Candidate],
    health: Health,
    conversation: Conversation,
) -> tuple[Mapping[str, str], Sequence[Reason]]:
    """The candidates that are left out as long as others are left, id → name of the exclusion; and why.

    Args:
        candidates: all of them.
        eligible: those that could be chosen.
        health: of all models.
        conversation: up to now.
    """
    out: Mapping[str, str] = {}
    reasons: Sequence[Reason] = ()
    if health is not ALL_HEALTHY:
        out, reasons = left_out(eligible, health)
    if conversation.inadequate:
        left = [each for each in eligible if each.model.id not in out]
        tried = no_more_able(candidates, left, conversation.inadequate)
        if tried:
            out = {**out, **dict.fromkeys(tried, "no_more_able")}
            reasons = [escalated_reason(conversation.inadequate, tried), *reasons]
    return out, reasons


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


def _eligible(
    candidates: Sequence[Candidate],
    constraints: Constraints,
    ruling: Ruling,
    top_tier: str | None,
) -> tuple[list[Candidate], Counter[str], Reason | None]:
    """The candidates that can be chosen, how many cannot by why, and a reason if limits close the top tier.

    Raises:
        NotPossible: none meets the constraints.
        Exhausted: a limit blocks each that does.
    """
    exclusions = [unmet(candidate, constraints, ruling) for candidate in candidates]
    capped = None
    if may_reach_a_limit(candidates):
        exclusions = [
            name or blocked(candidate)
            for candidate, name in zip(candidates, exclusions, strict=True)
        ]
        capped = capped_tier(candidates, exclusions, top_tier)
    eligible = [c for c, name in zip(candidates, exclusions, strict=True) if name is None]
    excluded = Counter(name for name in exclusions if name is not None)
    if eligible:
        return eligible, excluded, capped
    if any(name.startswith("limit_") for name in excluded):
        raise refused_by_limits(candidates, exclusions)
    raise no_eligible_model(candidates, constraints, ruling, excluded)


def _with_room(
    eligible: list[Candidate], load: Load, *, batch: bool, moment: datetime | None
) -> tuple[list[Candidate], Mapping[str, Full]]:
    """The candidates whose providers have room for the call, and by id what the others lack."""
    if load is NO_LOAD:
        return eligible, {}
    full = full_accounts(eligible, load)
    if len(full) == len(eligible):
        raise load_refusal(eligible, full, load, batch=batch, moment=moment)
    return [each for each in eligible if each.model.id not in full], full


class _Field(NamedTuple):
    """What takes part in a decision.

    Attributes:
        eligible: candidates that nothing leaves out, but perhaps a provider without room for the call.
        room: those whose providers have room; at least one.
        full: by id what the others lack.
        excluded: how many candidates are left out, by why.
        alone: whether constraints, rules and limits leave only one of several.
        capped: the reason if limits close the top tier.
        set_aside: reasons for what was left out as long as others are left.
    """

    eligible: list[Candidate]
    room: list[Candidate]
    full: Mapping[str, Full]
    excluded: Counter[str]
    alone: bool
    capped: Reason | None
    set_aside: Sequence[Reason]


def _field(
    candidates: Sequence[Candidate],
    constraints: Constraints,
    ruling: Ruling,
    health: Health,
    load: Load,
    conversation: Conversation,
    *,
    batch: bool,
    top_tier: str | None,
    moment: datetime | None,
) -> _Field:
    """What takes part under a ruling. Arguments and errors are those of :func:`decide`.

    Args:
        candidates: in the order of their names.
        constraints: as there.
        ruling: of which every rule applies.
        health: as there.
        load: as there.
        conversation: as there.
        batch: as there.
        top_tier: as there.
        moment: as there.
    """
    eligible, excluded, capped = _eligible(candidates, constraints, ruling, top_tier)
    alone = len(eligible) == 1 and len(candidates) > 1
    out, why = set_aside(candidates, eligible, health, conversation)
    if out:
        eligible = [each for each in eligible if each.model.id not in out]
        excluded.update(out.values())
    deferred = deferral(eligible, ruling, moment) if batch else None
    if deferred is not None:
        raise deferred
    eligible = list(with_cache_savings(eligible, conversation))
    room, full = _with_room(eligible, load, batch=batch, moment=moment)
    excluded.update(PROVIDER_FULL for _ in full)
    return _Field(eligible, room, full, excluded, alone, capped, why)


def decide(
    candidates: Sequence[Candidate],
    constraints: Constraints,
    goal: Goal,
    *,
    ruling: Ruling = NO_RULING,
    health: Health = ALL_HEALTHY,
    load: Load = NO_LOAD,
    complexity: float = 1.0,
    batch: bool = False,
    top_tier: str | None = None,
    moment: datetime | None = None,
    exploration: Exploration | None = None,
    conversation: Conversation = NO_CONVERSATION,
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
        load: how far limits of providers are used; a model without room for the call is left out.
        complexity: of the prompt, 0..1: the simpler, the less a miss costs.
        batch: whether the work can wait.
        top_tier: the highest tier of the catalog, which a soft limit may forbid.
        moment: the current time, for pacing; ``None`` turns pacing off.
        exploration: how much is left to chance, and the number that decides; ``None``: nothing is. Where a
            soft limit, pacing or the conversation acts nothing is left to chance either, and no model that
            is not healthy.
        conversation: up to now. The candidates have what its prompt caches are worth.

    Returns:
        All eligible candidates, best first, or first the one that chance chose, the reasons, and what to try
        next. The order of ``candidates`` does not matter.

    Raises:
        NotPossible: no candidate meets the constraints; the message says why.
        Exhausted: some candidates meet the constraints, but a limit blocks each of them, or their providers
            have no room.
        Deferred: likewise, for batch work that may have a chance later.
    """
    goal = at_stake(goal, complexity)
    candidates = sorted(candidates, key=lambda candidate: candidate.model.id)

    def field(ruling: Ruling) -> _Field:
        return _field(
            candidates,
            constraints,
            ruling,
            health,
            load,
            conversation,
            batch=batch,
            top_tier=top_tier,
            moment=moment,
        )

    try:
        eligible, room, full, excluded, alone, capped, aside = field(ruling)
    except (Exhausted, NotPossible):
        if not ruling.gives_way:
            raise
        ruling = ruling.after_giving_way()
        eligible, room, full, excluded, alone, capped, aside = field(ruling)
    bound_to = conversation.bound_to
    ranked, notes = rank_under_soft_limits(room, goal, top_tier, moment, bound_to)
    downgraded = any(note.code == "DOWNGRADED" for note in notes)
    reasons = notes if downgraded else [*_why(ranked, goal, complexity, conversation), *notes]
    found = None
    certain = bool(notes) or conversation.binds
    if exploration is not None and exploration.share > 0 and not certain:
        choice = _left_to_chance(ranked, constraints, goal, exploration.regret, health)
        if len(choice) > 1:
            found = explored(exploration, choice)
            if found.chosen != found.best:
                reasons = [explored_reason(found, choice, goal)]
                ranked.sort(key=lambda each: each.model.id != found.chosen)
    if alone:
        reasons.append(Reason("ONLY_CANDIDATE", "the only model that meets the constraints"))
    if full:
        best = rank_under_soft_limits(eligible, goal, top_tier, moment, bound_to)[0][0]
        reasons.extend(load_shifted(best, ranked[0], full))
    if capped is not None:
        reasons.append(capped)
    reasons.extend(aside)
    if ranked[0].model.id in health.due:
        reasons.append(_trying(ranked[0], health))
    reasons.extend(_replacement_reasons(ranked[0].model, constraints, ruling))
    reasons.extend(ruling.reasons)
    reasons.extend(exclusion_reasons(excluded))
    chain = fallback_chain(ranked, health)
    gave_way = bool(ruling.gave_way)
    return Decision(tuple(ranked), tuple(reasons), chain, found, tuple(full), gave_way)
