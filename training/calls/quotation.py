"""The quote of a run before it starts: what its calls are expected to cost, and cost at most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from router.classifier.bundle import Bundle
from router.classifier.model_ability import arm_names, arm_of
from router.core.errors import InvalidInput
from router.core.quotes import quote
from router.core.types import Lengths, Message
from training.calls.paid_calls import Call
from training.calls.tariff import Tariff, worst_price

__all__ = ["ModelQuote", "RunQuote", "length_of", "quote_run"]

LengthOf = Callable[[Call, Tariff], Lengths]
"""Predicts the length of the visible answer."""


@dataclass
class ModelQuote:
    """What the calls to one model cost.

    Attributes:
        calls: how many.
        input_tokens: of them together.
        output_tokens: at the median, hidden reasoning included.
        expected: nano-dollars.
        high: nano-dollars, every answer at its 90th percentile.
        worst: nano-dollars, every answer as long as its call allows.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    expected: int = 0
    high: int = 0
    worst: int = 0


@dataclass(frozen=True)
class RunQuote:
    """The quote of a run.

    Attributes:
        models: by model, in the order of the run.
        calls: those that can be sent, in their order.
        expected: nano-dollars of each of ``calls``.
        left_out: why a call cannot be sent, with how many.
    """

    models: Mapping[str, ModelQuote]
    calls: tuple[Call, ...]
    expected: tuple[int, ...]
    left_out: Mapping[str, int]

    @property
    def total(self) -> int:
        """Expected nano-dollars of the whole run."""
        return sum(self.expected)

    @property
    def worst(self) -> int:
        """Nano-dollars, if every answer is as long as its call allows."""
        return sum(one.worst for one in self.models.values())

    def affordable(self, money: int) -> int:
        """How many of the first calls are expected to fit some nano-dollars."""
        count = 0
        for price in self.expected:
            money -= price
            if money < 0:
                break
            count += 1
        return count


def length_of(bundle: Bundle, text: Callable[[Call], str]) -> LengthOf:
    """Lengths as the bundle predicts them for the tier of a model; a text is scored once.

    Args:
        bundle: loaded.
        text: of a call, as the classifier reads it.
    """
    arms = arm_names(bundle.manifest)
    scored: dict[str, Mapping[str, Lengths]] = {}

    def lengths(call: Call, tariff: Tariff) -> Lengths:
        read = text(call)
        if read not in scored:
            scored.clear()  # the calls of one prompt follow one another
            scored[read] = bundle.score(read).lengths
        found, model = scored[read], tariff.model
        arm = arm_of(model.id, model.tier, arms) or bundle.manifest.arms[-1].name
        return found.get(arm) or max(found.values(), key=lambda one: one.p90, default=_UNKNOWN)

    return lengths


_UNKNOWN = Lengths(300, 1200, 3000)


def _refusal(
    tariff: Tariff, messages: tuple[Message, ...], most: int, price_cap: int, when: datetime
) -> str:
    try:
        bounds = tariff.bounds(messages, most)
    except InvalidInput:
        return "the tokenizer cannot count the prompt"
    if bounds is None:
        return "the prompt does not fit the context window"
    if worst_price(tariff.rates_at(when), bounds) > price_cap:
        return "the worst case alone is above the budget"
    return ""


def quote_run(
    calls: Iterable[Call],
    tariffs: Mapping[str, Tariff],
    lengths: LengthOf,
    *,
    budget: int,
    when: datetime,
) -> RunQuote:
    """Quote calls that are not yet paid for.

    Args:
        calls: in the order of the run.
        tariffs: by model.
        lengths: predicts.
        budget: nano-dollars of the whole run; a call that alone may cost more is left out.
        when: of the prices, aware.
    """
    models = {name: ModelQuote() for name in tariffs}
    sent: list[Call] = []
    expected: list[int] = []
    left_out: dict[str, int] = defaultdict(int)
    for call in calls:
        tariff = tariffs[call.model]
        why = _refusal(tariff, tuple(call.messages), call.max_output_tokens, budget, when)
        if why:
            left_out[why] += 1
            continue
        found = quote(
            tariff.model,
            tariff.rates_at(when),
            tariff.count(call.messages),
            lengths(call, tariff),
            max_output_tokens=call.max_output_tokens,
            expires=when,
            price_table="",
        )
        one = models[call.model]
        one.calls += 1
        one.input_tokens += found.input_tokens.tokens
        one.output_tokens += found.output_tokens_p50
        one.expected += found.price.expected
        one.high += found.price.high
        one.worst += found.price.worst
        sent.append(call)
        expected.append(found.price.expected)
    return RunQuote(models, tuple(sent), tuple(expected), dict(left_out))
