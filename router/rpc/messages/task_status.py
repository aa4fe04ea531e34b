"""A task as messages show it: its cap, what is left of it, and its quote."""

from __future__ import annotations

import msgspec

from mitsumori.money import fill_money
from mitsumori.v1 import task_pb2
from router.core.task_quote import TaskQuote
from router.core.types import PriceRange
from router.ledger.base import HoldState, StoredTask
from router.routing.task_record import TaskRecord
from router.rpc.messages.values import fill_timestamp

__all__ = ["STATES", "fill_task", "fill_task_quote", "fill_turn"]

STATES = {
    HoldState.HELD: task_pb2.TASK_STATE_OPEN,
    HoldState.RELEASED: task_pb2.TASK_STATE_ENDED,
    HoldState.EXPIRED: task_pb2.TASK_STATE_EXPIRED,
}
"""State of a task in the ledger → in the protocol."""
_record = msgspec.json.Decoder(TaskRecord)


def fill_turn(target: task_pb2.TaskStatus, task: StoredTask) -> None:
    """Write into a message what a turn needs to know of its task."""
    target.task_id = task.id
    target.state = STATES[task.state]
    fill_money(target.cap, task.cap)
    fill_money(target.left, task.left)
    target.turns = task.turns
    fill_money(target.held, task.held)
    fill_money(target.spent, task.spent)
    fill_timestamp(target.expire_time, task.expires)


def fill_task(target: task_pb2.TaskStatus, task: StoredTask) -> None:
    """Write a task into a message."""
    fill_turn(target, task)
    fill_timestamp(target.create_time, task.created)
    target.labels.update(task.labels)
    quote = _record.decode(task.record)
    _fill_quote(target.quote, quote, quote.turns, quote.max_turns, quote.price_nanos)


def fill_task_quote(target: task_pb2.TaskQuote, quote: TaskQuote) -> None:
    """Write the quote of a task into a message."""
    _fill_quote(target, quote, quote.plan.turns, quote.plan.max_turns, quote.price)


def _fill_quote(
    target: task_pb2.TaskQuote,
    quote: TaskQuote | TaskRecord,
    turns: int,
    max_turns: int,
    price: PriceRange,
) -> None:
    target.model = quote.model
    fill_money(target.price.low, price.low)
    fill_money(target.price.expected, price.expected)
    fill_money(target.price.high, price.high)
    fill_money(target.price.worst, price.worst)
    target.turns, target.max_turns = turns, max_turns
    target.input_tokens, target.max_input_tokens = quote.input_tokens, quote.max_input_tokens
    target.output_tokens, target.max_output_tokens = quote.output_tokens, quote.max_output_tokens
    target.fitting_turns = quote.fitting_turns
    target.price_table_version = quote.price_table
