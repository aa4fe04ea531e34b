"""What calls to a model cost: its rates, how its tokens are counted, what its calls can take at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from router.catalog.catalog import Catalog, CatalogEntry
from router.catalog.prices import find_record
from router.catalog.tokens import TokenCounter, TokenRule, is_exact, scaled
from router.core.errors import InvalidInput
from router.core.pricing import call_price
from router.core.quotes import output_cap
from router.core.rates import Rates
from router.core.types import Message, Model, Prompt, Speed, TokenCount
from training.calls.usage import TEMPLATE_TOKENS, CallBounds, Usage
from training.histories.ladders import MAKERS, check_prices, reference_rates

__all__ = ["Tariff", "prices_of", "tariffs_of", "worst_price"]

_ENCODING = "o200k_base"
_UNKNOWN_WINDOW = 2**31
"""Context window of a model that no table lists: the endpoint refuses what does not fit."""


@dataclass(frozen=True)
class Tariff:
    """One model of a run.

    Attributes:
        model: as the catalog has it; ``tier`` is the highest for a model that the catalog does not list.
        rule: how its tokens are counted.
        exact: whether the rule is the model's own tokenizer.
        given: rates by ``--price``, which hold at any time; ``None``: those of the catalog or the table.
        counter: counts.
    """

    model: Model
    rule: TokenRule
    exact: bool
    counter: TokenCounter = field(repr=False)
    given: Rates | None = None
    entry: CatalogEntry | None = None

    def rates_at(self, when: datetime) -> Rates:
        """The rates in force at an aware moment.

        Raises:
            InvalidInput: no price is known for it.
        """
        if self.given is not None:
            return self.given
        listed = self.entry.rates_at(when) if self.entry is not None else None
        rates = listed or reference_rates(self.model.id, self.model.id, {}, when)
        if rates is None:
            raise InvalidInput(
                f"no price is known for {self.model.id}; give it in USD per million tokens, such as "
                f"--price {self.model.id}=0.10,0.40",
                reason="PRICE_UNKNOWN",
                field="price",
            )
        return rates

    def count(self, messages: Sequence[Message]) -> TokenCount:
        """Input tokens of a chat.

        Raises:
            InvalidInput: the tokenizer fails on it.
        """
        counted = self.counter.count(Prompt(tuple(messages)), self.rule.encoding)
        found = scaled(counted, self.rule, exact=self.exact)
        return found._replace(worst=found.worst + TEMPLATE_TOKENS)

    def count_text(self, text: str) -> TokenCount:
        """Output tokens of a text; 0 of an empty one. A text that cannot be counted has one per byte."""
        if not text:
            return TokenCount(0, exact=True, worst=0)
        try:
            counted = self.counter.text_tokens(text, self.rule.encoding)
        except InvalidInput:
            size = len(text.encode("utf-8", "replace"))
            return TokenCount(size, exact=False, worst=size)
        return scaled(counted, self.rule, exact=self.exact)

    def bounds(self, messages: Sequence[Message], max_output_tokens: int) -> CallBounds | None:
        """What a call can use at most; ``None`` where its input does not fit the context window.

        Args:
            messages: what is sent.
            max_output_tokens: the limit of the call; the model may have a lower one.

        Raises:
            InvalidInput: the tokenizer fails on the messages.
        """
        counted = self.count(messages)
        cap = output_cap(self.model, counted.tokens, max_output_tokens)
        return CallBounds(counted, cap) if cap > 0 else None


def worst_price(rates: Rates, bounds: CallBounds) -> int:
    """The most that a call can cost, nano-dollars."""
    return call_price(rates, bounds.input.worst, bounds.output_worst)


def prices_of(rates: Rates, usage: Usage) -> tuple[int, int]:
    """What a call cost, and what the provider may bill for it at most, nano-dollars."""
    cost = call_price(
        rates,
        usage.input_tokens,
        usage.output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
    )
    billed = call_price(
        rates,
        usage.billed_input,
        usage.billed_output,
        cached_input_tokens=usage.cached_input_tokens,
    )
    return cost, max(cost, billed)


def _window(name: str) -> int:
    for provider in (*MAKERS, None):
        record = find_record(name, provider)
        if record is not None and record.context_window is not None:
            return record.context_window
    return _UNKNOWN_WINDOW


def _unlisted(name: str, tier: str) -> Model:
    window = _window(name)
    return Model(name, "", tier, None, window, window, frozenset(), Speed(1.0, 50.0))


def tariffs_of(
    models: Sequence[str],
    catalog: Catalog,
    prices: Mapping[str, Rates],
    counter: TokenCounter,
    when: datetime,
) -> dict[str, Tariff]:
    """The tariff of every model of a run.

    Args:
        models: names, as the endpoint knows them.
        catalog: lists models with prices, tokenizers and allowances for hidden reasoning.
        prices: by ``--price``; they come before the catalog's.
        counter: counts tokens.
        when: an aware moment, at which every price must be known.

    Raises:
        InvalidInput: a price is unknown, or one is of no model here.
    """
    check_prices(prices, {name: (name,) for name in models})
    listed = {entry.spec.id: entry for entry in catalog.entries}
    found = {}
    for name in models:
        entry = listed.get(name)
        if entry is not None:
            made = Tariff(entry.at(when), entry.token_rule, entry.exact_tokens, counter)
        else:
            rule = TokenRule(_ENCODING)
            made = Tariff(_unlisted(name, catalog.tiers[-1]), rule, is_exact(name, rule), counter)
        found[name] = Tariff(made.model, made.rule, made.exact, counter, prices.get(name), entry)
        found[name].rates_at(when)
    return found
