"""What a decision makes of the turns before: whose prompt cache counts, whose answer was inadequate. Pure.

A model that answered the turn before has read most of this prompt, and its provider takes less for what its
cache still holds. Another model reads all of it anew, once. So models are ranked by their price over this
turn and those that are likely to follow, with what each prompt cache saves: the model of before is kept as
long as its cache is worth no less than what another would save. The risk of a miss counts as ever, so that a
harder task still gets another model. Quotes do not count on a cache, which a provider may drop at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.core.goals import expected_cost, quote_of, ranked_by
from router.core.money import format_usd, short_usd
from router.core.prompt_cache import cache_saving, prompt_cache_of
from router.core.types import Candidate, Goal, QualityTarget, Reason

__all__ = [
    "FURTHER_TURNS",
    "NO_CONVERSATION",
    "Conversation",
    "ConversationPolicy",
    "change_reason",
    "escalated_reason",
    "no_more_able",
    "with_cache_savings",
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


def with_cache_savings(
    candidates: Sequence[Candidate], conversation: Conversation
) -> list[Candidate]:
    """The candidates with what prompt caches save on each; unchanged where no cache holds anything.

    Args:
        candidates: with their quotes.
        conversation: up to now.
    """
    if not conversation.cached:
        return list(candidates)
    return [
        # Of two that cost the same the model of before stays.
        each._replace(
            cache_saving=_saving(each, conversation) + (each.model.id == conversation.model)
        )
        for each in candidates
    ]


def _saving(candidate: Candidate, conversation: Conversation) -> int:
    model, quote = candidate.model, candidate.quote
    if quote is None or model.rates is None:
        return 0
    tokens, least = quote.input_tokens.tokens, prompt_cache_of(model.provider).least_tokens
    if tokens < least:
        return 0
    held = min(conversation.cached.get(model.id, 0), tokens)
    return cache_saving(
        model.rates,
        tokens,
        held if held >= least else 0,
        further_turns=conversation.further_turns,
    )


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
    if not (conversation.in_tool_loop or conversation.cached):
        return None
    chosen = ranked[0]
    alone = ranked_by(goal, [each._replace(cache_saving=0) for each in ranked])[0]
    if chosen.model.id == alone.model.id:
        return None
    name, other = chosen.model.id, alone.model.id
    if conversation.in_tool_loop and name == conversation.model:
        return Reason(
            "KEPT_MODEL",
            f"kept {name}: the conversation is inside a tool loop; {other} would be chosen outside of one",
            {"because": "tool_loop", "instead_of": other},
        )
    stake = 0 if isinstance(goal, QualityTarget) else goal.nanos
    turns = 1 + conversation.further_turns
    plain = expected_cost(chosen, stake) - expected_cost(alone, stake)
    chosen_saves = chosen.cache_saving
    alone_saves = next(each.cache_saving for each in ranked if each.model.id == other)
    worth, would_save = round((chosen_saves - alone_saves) * turns), round(plain * turns)
    facts = {
        "because": "prompt_cache",
        "instead_of": other,
        "cache_worth_usd": format_usd(worth)[1:],
        "would_save_usd": format_usd(would_save)[1:],
        "turns": f"{turns:g}",
        "cached_tokens": str(conversation.cached.get(name, 0)),
        "input_tokens": str(quote_of(chosen).input_tokens.tokens),
    }
    kept = "kept" if name == conversation.model else "chose"
    return Reason(
        "KEPT_MODEL",
        f"{kept} {name}: its prompt cache is worth about {short_usd(worth)} over this turn and the "
        f"{conversation.further_turns:g} likely to follow, {other} would save {short_usd(would_save)}",
        facts,
    )
