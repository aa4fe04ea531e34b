"""A task as its caller holds it: one quote and one hold for a whole agent run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mitsumori.decision import Decision, PriceRange, TaskStatus, price_of
from mitsumori.errors import CallFailed
from mitsumori.v1 import router_pb2, task_pb2

__all__ = ["Task", "TaskQuote"]


@dataclass(frozen=True, slots=True)
class TaskQuote:
    """What all turns of a task will cost together.

    Attributes:
        model: that would be chosen for the first turn, by catalog id; each turn is decided anew.
        price: ``expected`` for the turns expected; ``high`` for the most turns, each at its 90th percentile;
            ``low`` where the context before is read from the provider's cache.
        turns: expected.
        max_turns: the most.
        input_tokens: of the turns expected together.
        max_input_tokens: of the most turns together.
        output_tokens: of the turns expected together.
        max_output_tokens: of the most turns together.
        fitting_turns: how many of the most turns fit the context window.
    """

    model: str
    price: PriceRange
    turns: int
    max_turns: int
    input_tokens: int
    max_input_tokens: int
    output_tokens: int
    max_output_tokens: int
    fitting_turns: int

    @classmethod
    def of(cls, message: task_pb2.TaskQuote) -> Self:
        """The values of a message."""
        return cls(
            model=message.model,
            price=price_of(message.price),
            turns=message.turns,
            max_turns=message.max_turns,
            input_tokens=message.input_tokens,
            max_input_tokens=message.max_input_tokens,
            output_tokens=message.output_tokens,
            max_output_tokens=message.max_output_tokens,
            fitting_turns=message.fitting_turns,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task, from :meth:`mitsumori.Router.begin_task`. In a ``with``, it ends when the block does.

    Attributes:
        quote: of the whole task.
        begun: as it began, with its cap held; ``None`` where only a quote was asked for.
        first_turn: the decision on which the quote rests, without a hold.
        message: the whole reply.
    """

    quote: TaskQuote
    begun: TaskStatus | None
    first_turn: Decision
    message: router_pb2.BeginTaskResponse = field(repr=False)
    _end: Callable[[str], TaskStatus] = field(repr=False)

    @classmethod
    def of(cls, message: router_pb2.BeginTaskResponse, end: Callable[[str], TaskStatus]) -> Self:
        """The values of a reply, and how to end the task of an id."""
        begun = TaskStatus.of(message.task) if message.HasField("task") else None
        first = Decision.of(message.first_turn)
        return cls(TaskQuote.of(message.quote), begun, first, message, end)

    @property
    def id(self) -> str:
        """What turns name as their ``task_id``; empty where only a quote was asked for."""
        return "" if self.begun is None else self.begun.id

    def end(self) -> TaskStatus | None:
        """End it, as often as you like: what is left of its cap is free again. ``None`` without a task.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        return None if self.begun is None else self._end(self.begun.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.end()
        except CallFailed:
            # It ends by itself; what went wrong in the block says more.
            if error is None:
                raise
