"""What conversations cost where the choice counts prompt caches, beside first turns and one model for all.

The dialogues are those of ``examinations/dialogues/``, each after an instruction as long as first prompts in
a real trace of conversations (Mooncake, FAST'25, Apache-2.0; quantiles below), with the pauses of that trace.
Input is paid for at the price of the cache as far as the model has read it before, within the life of the
provider's cache, whatever the choice counted on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, pairwise, product

from benchmarks.conversations import read_dialogues
from benchmarks.report import Figure
from router.core.conversation import NO_CONVERSATION, Conversation, with_cache_worth
from router.core.goals import at_stake, expected_cost, quote_of
from router.core.types import Candidate, Constraints, Importance, Message, MissCost, Prompt
from router.paths import DEFAULT_BUNDLE
from router.routing.conversations import Conversations, PromptState, Turn
from router.routing.router import Assessment, RouteQuery, Router
from router.rpc.assembly import build_router
from router.settings import Settings

__all__ = ["Spent", "dialogues", "measure", "run"]

CONTEXTS = (0, 4_400, 6_600, 11_200)
"""Tokens before a dialogue: none, and the quantiles .3, .5 and .7 of the first prompts of conversations."""
IMPORTANCES = (Importance.MEDIUM, Importance.HIGH)
PAUSES_S = (0.0, 3.0, 9.0, 21.0, 63.0)
"""Seconds between turns: the quantiles .1, .3, .5, .7 and .9."""
AWAY_S = 900.0
"""A pause after which no cache is left; it follows each third dialogue's first turn."""
_SENTENCE = "Answer as the handbook says, section {number}, and name the section. "
_TOKENS_PER_SENTENCE = 14
_NOBODY = "nobody"
"""Who asks: one tenant."""
_START = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class Spent:
    """What some conversations cost.

    Attributes:
        price: USD, input at the price of the cache where it was read before.
        risk: USD, of inadequate answers, as the goal counts them.
        changes: of the model from one turn to the next.
        turns: in all.
    """

    price: float = 0.0
    risk: float = 0.0
    changes: int = 0
    turns: int = 0

    @property
    def cost(self) -> float:
        """Price and risk, USD."""
        return self.price + self.risk


def dialogues() -> list[tuple[Prompt, ...]]:
    """The prompts of each dialogue, turn by turn."""
    found: list[list[Prompt]] = []
    for turn in read_dialogues():
        before = found[-1][-1].messages if found else ()
        if not before or turn.prompt.messages[: len(before)] != before:
            found.append([])
        found[-1].append(turn.prompt)
    return [tuple(each) for each in found]


class Assessor:
    """Assessments of prompts after an instruction of some length, each once."""

    def __init__(self, router: Router, tokens: int, importance: Importance) -> None:
        self._router, self._importance = router, importance
        sentences = map(_numbered, range(tokens // _TOKENS_PER_SENTENCE))
        self._before = (Message("system", "".join(sentences)),) if tokens else ()
        self._known: dict[Prompt, tuple[RouteQuery, Assessment]] = {}

    def assessed(self, prompt: Prompt) -> tuple[RouteQuery, Assessment]:
        """The request for a prompt, and what is known of it."""
        if prompt not in self._known:
            query = RouteQuery(
                request_id="",
                scope={},
                prompt=Prompt((*self._before, *prompt.messages)),
                constraints=Constraints(),
                goal=None,
                importance=self._importance,
                conversation_id="dialogue",
                max_alternatives=0,
            )
            self._known[prompt] = query, self._router.assess(query)
        return self._known[prompt]


def _numbered(number: int) -> str:
    return _SENTENCE.format(number=number)


Policy = Callable[[Conversation, str | None], Conversation]
"""What a decision is told: of the conversation as it is, and the model of its first turn."""


def counting(found: Conversation, _: str | None) -> Conversation:
    """As the service decides."""
    return found


def first_turns(_: Conversation, __: str | None) -> Conversation:
    """As if each turn were the first one."""
    return NO_CONVERSATION


def one_model(_: Conversation, first: str | None) -> Conversation:
    """The model of the first turn for all."""
    return NO_CONVERSATION if first is None else Conversation(first, in_tool_loop=True)


def run(
    assessor: Assessor, router: Router, talks: Sequence[Sequence[Prompt]], told: Policy
) -> Spent:
    """What dialogues cost under a policy.

    Args:
        assessor: assesses their prompts.
        router: decides.
        talks: the prompts of each.
        told: the policy.
    """
    spent, pauses = Spent(), cycle(PAUSES_S)
    for place, talk in enumerate(talks):
        clock = [_START]
        caches = Conversations(now=lambda clock=clock: clock[0])  # type: ignore[misc]
        models: list[str] = []
        for number, prompt in enumerate(talk):
            query, assessed = assessor.assessed(prompt)
            state = PromptState(query.prompt, assessed.task)
            found = caches.view(_NOBODY, query.conversation_id, state)
            conversation = told(found, models[0] if models else None)
            routed = router.decide(query, assessed, assessed.candidates, conversation=conversation)
            (chosen,) = with_cache_worth([routed.decision.chosen], found)
            _pay(spent, chosen, assessed)
            models.append(chosen.model.id)
            caches.decided((_NOBODY, query.conversation_id), f"{number}", state, _turn(chosen))
            away = place % 3 == 0 and number == 0
            clock[0] += timedelta(seconds=AWAY_S if away else next(pauses))
        spent.turns += len(talk)
        spent.changes += sum(before != after for before, after in pairwise(models))
    return spent


def _pay(spent: Spent, chosen: Candidate, assessed: Assessment) -> None:
    goal = at_stake(assessed.goal, assessed.score.complexity)
    assert isinstance(goal, MissCost)
    price = quote_of(chosen).price.expected
    spent.price += (price - chosen.cache.now) / 1e9
    spent.risk += (expected_cost(chosen, goal.nanos) - price) / 1e9


def _turn(chosen: Candidate) -> Turn:
    tokens = quote_of(chosen).input_tokens.tokens
    return Turn(chosen.model.id, chosen.model.provider, 0.0, tokens, 0.0, expects_cache=False)


POLICIES: dict[str, Policy] = {
    "": counting,
    "· baseline each turn as a first one": first_turns,
    "· baseline the model of the first turn": one_model,
}


def measure() -> Iterator[Figure]:
    """Cost of 1,000 turns, price and risk of a miss, by importance and by what comes before a dialogue."""
    router = replace(build_router(Settings(bundle=DEFAULT_BUNDLE)), now=lambda: _START)
    router.warm_up()
    talks = dialogues()
    for importance, tokens in product(IMPORTANCES, CONTEXTS):
        assessor = Assessor(router, tokens, importance)
        found = {label: run(assessor, router, talks, told) for label, told in POLICIES.items()}
        most = min(each.cost for label, each in found.items() if label)
        title = f"importance {importance.value}, {tokens} tokens before {len(talks)} dialogues"
        for label, each in found.items():
            name, thousand = label or title, 1_000 / each.turns
            target = None if label else most * thousand
            yield Figure(
                f"{name}: price and risk of 1,000 turns", each.cost * thousand, "$", target
            )
            yield Figure(f"{name}: price of 1,000 turns", each.price * thousand, "$")
            yield Figure(f"{name}: changes of the model", each.changes, "")
