"""What a decision makes of the turns before: whose prompt cache counts, whose answer was inadequate. Pure.

A model that answered the turn before has read most of this prompt, and its provider takes less for what its
cache still holds. Another model reads all of it anew, once. So the model of before is kept as long as its
cache is worth no less, over this turn and those that are likely to follow, than what another would save. The
risk of a miss counts as ever, so that a harder task still gets a better model. Quotes do not count on a
cache, which a provider may drop at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.core.goals import expected_cost, price_of, quote_of, ranked_by
from router.core.money import format_usd, short_usd
from router.core.prompt_cache import cache_worth, prompt_cache_of
from router.core.types import (
    NO_CACHE,
    CacheWorth,
    Candidate,
    Goal,
    Model,
    QualityTarget,
    Quote,
    Reason,
)

__all__ = [
    "FURTHER_TURNS",
    "NO_CONVERSATION",
    "Conversation",
    "ConversationPolicy",
    "change_reason",
    "escalated_reason",
    "no_more_able",
    "with_cache_savings",
    "with_cache_worth",
]

FURTHER_TURNS = 0.7
"""Turns that are likely to follow one while its prompt cache lives. In the Mooncake conversation trace
(FAST'25, Apache-2.0: 12,031 requests of an hour) 39 % to 42 % of the requests continue an earlier one, 98.6 %
of them within five minutes of it, and after the fifth turn another is as likely as after the first. So the
number of turns is geometric, with 0.4 / 0.6 to come at any of them."""


@dataclass(frozen=True)
class ConversationPolicy:
    """What is remembered of conversations.

    Attributes:
        remembered: how many, those with the latest turns, ≥ 0; 0: each turn is decided as a first one.
        further_turns: turns that are likely to follow one while a prompt cache lives, ≥ 0.
    """

    remembered: int = 10_000
    further_turns: float = FURTHER_TURNS


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is known of the turns before.

    Attributes:
        model: id of the model that answered last; empty: nothing is known.
        cached: id of a model → tokens of this prompt that its prompt cache holds.
        in_tool_loop: whether the prompt ends with what a tool returned to that model.
        inadequate: id of each model whose answer to the task in hand was reported inadequate → its
            P(adequate) for it.
        further_turns: turns that are likely to follow while a cache lives, ≥ 0.
    """

    model: str
    cached: Mapping[str, int] = field(default_factory=dict)
    in_tool_loop: bool = False
    inadequate: Mapping[str, float] = field(default_factory=dict)
    further_turns: float = FURTHER_TURNS

    @property
    def binds(self) -> bool:
        """Whether the choice may depend on it: then nothing is left to chance."""
        return bool(self.in_tool_loop or self.cached or self.inadequate)

    @property
    def bound_to(self) -> str | None:
        """Id of the model that shall go on whatever else would be better; ``None``: there is none."""
        return self.model if self.in_tool_loop else None


NO_CONVERSATION = Conversation("")


def with_cache_worth(
    candidates: Sequence[Candidate], conversation: Conversation
) -> Sequence[Candidate]:
    """The candidates with what prompt caches save on each; the same where no cache holds anything.

    Args:
        candidates: with their quotes.
        conversation: up to now.
    """
    if not conversation.cached:
        return candidates
    held = conversation.cached
    # Making each anew is faster than replacing a field.
    return [
        Candidate(model, arm, p, quote, amounts, limits, basis, _worth(model, quote, held))
        for model, arm, p, quote, amounts, limits, basis, *_ in candidates
    ]


def _worth(model: Model, quote: Quote | None, cached: Mapping[str, int]) -> CacheWorth:
    if quote is None or model.rates is None:
        return NO_CACHE
    tokens, least = quote.input_tokens.tokens, prompt_cache_of(model.provider).least_tokens
    if tokens < least:
        return NO_CACHE
    held = min(cached.get(model.id, 0), tokens)
    return cache_worth(model.rates, tokens, held if held >= least else 0)


def with_cache_savings(
    eligible: Sequence[Candidate], conversation: Conversation
) -> Sequence[Candidate]:
    """The candidates with what the ranking counts of their prompt caches, on average over the turns to come.

    Only what a cache holds now is an advantage: in further turns another model has a cache, too. So of what
    further turns save, that part counts by which it exceeds the most that the cache of a cheaper model would
    save then. Where one of two costs as much as the other, the model of before stays.

    Args:
        eligible: those that could be chosen.
        conversation: up to now.
    """
    if not any(each.cache.now for each in eligible):
        return eligible
    turns, found = conversation.further_turns, []
    for each in eligible:
        if each.cache.now:
            price = price_of(each)
            rival = max((one.cache.later for one in eligible if price_of(one) < price), default=0)
            total = each.cache.now + turns * (each.cache.later - rival)
            saving = max(round(total / (1 + turns)), 0) + (each.model.id == conversation.model)
            found.append(each._replace(cache_saving=saving))
        else:
            found.append(each)
    return found


def _without_saving(candidate: Candidate) -> Candidate:
    return candidate._replace(cache_saving=0) if candidate.cache_saving else candidate


def no_more_able(
    candidates: Sequence[Candidate], eligible: Sequence[Candidate], inadequate: Mapping[str, float]
) -> frozenset[str]:
    """Ids of those no more able than a model whose answer was inadequate; empty where no other is left.

    Args:
        candidates: all of them.
        eligible: those that could be chosen.
        inadequate: of the :class:`Conversation`.
    """
    now = {each.model.id: each.p_adequate for each in candidates if each.model.id in inadequate}
    highest = max(now.get(model) or p for model, p in inadequate.items())
    found = frozenset(
        each.model.id
        for each in eligible
        if each.model.id in inadequate or (each.p_adequate or 0.0) <= highest
    )
    return found if len(found) < len(eligible) else frozenset()


def escalated_reason(inadequate: Mapping[str, float], out: frozenset[str]) -> Reason:
    """Why models were left out that may not do better than one that did not do.

    Args:
        inadequate: of the :class:`Conversation`.
        out: of :func:`no_more_able`.
    """
    failed, others = sorted(inadequate), sorted(out)
    return Reason(
        "ESCALATED",
        f"an answer of {' and of '.join(failed)} to this task was reported inadequate; left out, since they "
        f"are no more able: {', '.join(others)}",
        {each: "inadequate" if each in inadequate else "no more able" for each in others},
    )


def change_reason(
    ranked: Sequence[Candidate], goal: Goal, conversation: Conversation
) -> Reason | None:
    """Why the turns before changed the choice; ``None``: it is the same without them.

    Args:
        ranked: eligible candidates, best first.
        goal: for this prompt.
        conversation: up to now.
    """
    chosen = ranked[0]
    if not (conversation.in_tool_loop or chosen.cache_saving):
        return None
    alone = ranked_by(goal, [_without_saving(each) for each in ranked])[0]
    name, other = chosen.model.id, alone.model.id
    if name == other:
        return None
    if name == conversation.bound_to:
        return Reason(
            "KEPT_MODEL",
            f"kept {name}: the conversation is inside a tool loop; {other} would be chosen outside of one",
            {"because": "tool_loop", "instead_of": other},
        )
    stake = 0 if isinstance(goal, QualityTarget) else goal.nanos
    more = expected_cost(chosen, stake) - expected_cost(alone, stake)
    turns = 1 + conversation.further_turns
    worth, would_save = round(chosen.cache_saving * turns), round(more * turns)
    does = "kept" if name == conversation.model else "back to"
    return Reason(
        "KEPT_MODEL",
        f"{does} {name}: its prompt cache is worth about {short_usd(worth)} over this turn and the "
        f"{conversation.further_turns:g} likely to follow, {other} would save {short_usd(would_save)}",
        {
            "because": "prompt_cache",
            "instead_of": other,
            "cache_worth_usd": format_usd(worth)[1:],
            "would_save_usd": format_usd(would_save)[1:],
            "turns": f"{turns:g}",
            "input_tokens": str(quote_of(chosen).input_tokens.tokens),
        },
    )
