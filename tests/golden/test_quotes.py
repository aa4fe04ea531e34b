"""Golden quotes: what three prompts cost at most on every shipped model, at one fixed moment.

A change here is a change of prices, tokenizer or arithmetic, and wants a reason in the commit.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from router.core.types import Constraints, Importance, Message, Prompt
from router.routing.router import RouteQuery, Router

GOLDEN = Path(__file__).with_name("quotes.yaml")
PROMPTS = {
    "short": "What is the capital of France?",
    "japanese": "民法第415条に基づく債務不履行責任について論じてください。",
    "long": "The committee discussed the delivery and its penalty clause. " * 1000,
}


def worst_prices(router: Router) -> dict[str, dict[str, dict[str, int]]]:
    def quotes(text: str) -> dict[str, dict[str, int]]:
        query = RouteQuery("golden", {}, Prompt((Message("user", text),)),
                           Constraints(max_output_tokens=1000),
                           None, Importance.LOW, "", 100)  # fmt: skip
        offers = [each.quote for each in router.assess(query).candidates if each.quote]
        return {
            offer.model: {
                "tokens": offer.input_tokens.tokens,
                "worst_tokens": offer.input_tokens.worst,
                "worst_nanos": offer.price.worst,
            }
            for offer in sorted(offers, key=lambda offer: offer.model)
        }

    return {name: quotes(text) for name, text in PROMPTS.items()}


def test_the_quotes_are_the_golden_ones(router: Router) -> None:
    assert worst_prices(router) == yaml.safe_load(GOLDEN.read_text(encoding="utf-8"))
