"""Remembers the conversations of one process: who answered, what prompt caches hold, whose answer did not do.

Only hashes of messages are kept, no text, and nothing is stored. A conversation that is forgotten, by a
restart or because there are too many, goes on as a new one: prompt caches live minutes, and no limit depends
on it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from router.clock import utc_now
from router.core.breaker import Outcome
from router.core.conversation import NO_CONVERSATION, Conversation, ConversationPolicy
from router.core.prompt_cache import prompt_cache_of
from router.core.types import Prompt

__all__ = ["Conversations", "Judgement", "PromptState", "Turn"]

_MOST_CACHES = 4
"""Models of a conversation whose caches are remembered, those used last."""
_INADEQUATE = frozenset({Outcome.REFUSED, Outcome.TRUNCATED})

Key = tuple[str, str]
"""Tenant and id of a conversation."""


class PromptState(NamedTuple):
    """The prompt of a turn.

    Attributes:
        prompt: all messages up to now.
        task: a hash of the request that the last message of the user makes; ``None``: it goes on with the
            task of the turn before.
    """

    prompt: Prompt
    task: int | None

    @property
    def in_tool_loop(self) -> bool:
        """Whether it ends with what a tool returned."""
        return self.prompt.messages[-1].role == "tool"


class Turn(NamedTuple):
    """A turn that was decided.

    Attributes:
        model: id of the chosen model.
        provider: of it.
        p_adequate: of it, 0..1.
        input_tokens: of the prompt, as quoted for it.
        threshold: least quality of an adequate answer.
        expects_cache: whether its prompt cache was taken to hold a part of the prompt.
    """

    model: str
    provider: str
    p_adequate: float
    input_tokens: int
    threshold: float
    expects_cache: bool


class Judgement(NamedTuple):
    """What a caller reports of a turn.

    Attributes:
        model: that was called.
        outcome: how the call ended.
        quality: of the answer, 0..1; ``None``: it was not judged.
        cached_tokens: input tokens that came from the provider's cache; ``None``: that is not known.
    """

    model: str
    outcome: Outcome
    quality: float | None = None
    cached_tokens: int | None = None


class _Cache(NamedTuple):
    """What the prompt cache of a model holds: the first so many messages, with their hash, since when."""

    model: str
    life_s: float
    tokens: int
    messages: int
    digest: int
    since: datetime


@dataclass(frozen=True, slots=True)
class _Known:
    """A conversation up to its last turn.

    Attributes:
        model: that answered.
        task: hash of the request in hand.
        caches: of models, that used last at the end.
        inadequate: models whose answer to the task did not do → P(adequate).
        reads_cache: whether calls of this conversation read from caches, as far as it was seen.
    """

    model: str
    task: int
    caches: tuple[_Cache, ...]
    inadequate: Mapping[str, float] = field(default_factory=dict)
    reads_cache: bool = True


class _Decided(NamedTuple):
    """A turn whose report is waited for: its conversation and task."""

    key: Key
    task: int
    turn: Turn


class Conversations:
    """The conversations of one process. Thread-safe.

    Args:
        policy: may be replaced at any time.
        now: the clock; returns an aware datetime.
    """

    def __init__(
        self,
        policy: ConversationPolicy | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._policy = policy or ConversationPolicy()
        self._now = now
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, _Known] = OrderedDict()
        self._decided: OrderedDict[str, _Decided] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def policy(self) -> ConversationPolicy:
        """What is in force."""
        return self._policy

    @policy.setter
    def policy(self, policy: ConversationPolicy) -> None:
        with self._lock:
            self._policy = policy
            self._forget_oldest()

    def view(self, tenant: str, conversation_id: str, state: PromptState) -> Conversation:
        """What is known of a conversation before a turn; :data:`NO_CONVERSATION` of one that is new.

        Args:
            tenant: label of the tenant; empty where the request has none.
            conversation_id: of the request; empty: it has none.
            state: the prompt of the turn.
        """
        if not conversation_id:
            return NO_CONVERSATION
        with self._lock:
            known = self._known.get((tenant, conversation_id))
        if known is None:
            return NO_CONVERSATION
        goes_on = state.task in (None, known.task)
        return Conversation(
            known.model,
            self._held(known, state.prompt),
            state.in_tool_loop and goes_on,
            known.inadequate if goes_on else {},
            self._policy.further_turns,
        )

    def decided(self, key: Key, decision_id: str, state: PromptState, turn: Turn) -> None:
        """Remember a turn.

        Args:
            key: tenant and id of the conversation.
            decision_id: by which the turn is reported.
            state: its prompt.
            turn: what was chosen.
        """
        messages = state.prompt.messages
        cache = _Cache(
            turn.model,
            prompt_cache_of(turn.provider).life_s,
            turn.input_tokens,
            len(messages),
            hash(messages),
            self._now(),
        )
        with self._lock:
            known = self._known.pop(key, None) or _Known(turn.model, state.task or 0, ())
            same = state.task in (None, known.task)
            known = self._known[key] = replace(
                known,
                model=turn.model,
                task=known.task if state.task is None else state.task,
                caches=(*_caches_of_others(known, turn.model), cache)[-_MOST_CACHES:],
                inadequate=known.inadequate if same else {},
            )
            self._decided[decision_id] = _Decided(key, known.task, turn)
            self._forget_oldest()

    def reported(self, decision_id: str, judgement: Judgement) -> None:
        """Learn from the report of a turn; one of a decision that is not known says nothing."""
        if decision_id not in self._decided:
            return
        with self._lock:
            found = self._decided.get(decision_id)
            if found is not None and found.key in self._known:
                self._known[found.key] = _judged(self._known[found.key], found, judgement)

    def released(self, decision_id: str) -> None:
        """Learn that the call of a turn is not made: it fills no cache."""
        if decision_id not in self._decided:
            return
        with self._lock:
            found = self._decided.pop(decision_id, None)
            if found is not None and found.key in self._known:
                known, model = self._known[found.key], found.turn.model
                self._known[found.key] = replace(known, caches=_caches_of_others(known, model))

    def _held(self, known: _Known, prompt: Prompt) -> dict[str, int]:
        """By model, the tokens of a prompt that its cache holds now."""
        if not known.reads_cache:
            return {}
        now, messages = self._now(), prompt.messages
        return {
            each.model: each.tokens
            for each in known.caches
            if (now - each.since).total_seconds() <= each.life_s
            and hash(messages[: each.messages]) == each.digest
        }

    def _forget_oldest(self) -> None:
        most = self._policy.remembered
        while len(self._known) > most:
            self._known.popitem(last=False)
        while len(self._decided) > most:
            self._decided.popitem(last=False)


def _caches_of_others(known: _Known, model: str) -> tuple[_Cache, ...]:
    return tuple(each for each in known.caches if each.model != model)


def _judged(known: _Known, found: _Decided, judgement: Judgement) -> _Known:
    """A conversation after the report of a turn."""
    model, turn, tokens = judgement.model, found.turn, judgement.cached_tokens
    if judgement.outcome.failed:
        known = replace(known, caches=_caches_of_others(known, model))
    if known.task == found.task and _falls_short(judgement, turn.threshold):
        p = turn.p_adequate if model == turn.model else 0.0
        known = replace(known, inadequate={**known.inadequate, model: p})
    if tokens:
        known = replace(known, reads_cache=True)
    elif tokens == 0 and turn.expects_cache and model == turn.model and judgement.outcome.answered:
        known = replace(known, reads_cache=False)
    return known


def _falls_short(judgement: Judgement, threshold: float) -> bool:
    """Whether an answer is inadequate: by its quality where it was judged, else because it ended early."""
    if judgement.quality is not None:
        return judgement.quality < threshold
    return judgement.outcome in _INADEQUATE
