from __future__ import annotations

from decimal import Decimal

import pytest

from router.core.rates import Rates
from router.core.types import (
    Decision,
    Importance,
    LatencyRange,
    Message,
    MissCost,
    MissCosts,
    PriceRange,
    Prompt,
    QualityTarget,
    QualityTargets,
    Quote,
    TokenCount,
)
from tests.builders import EXPIRES, candidate


def test_a_prompt_is_as_long_as_its_messages_together() -> None:
    prompt = Prompt((Message("system", "Be brief."), Message("user", "見積もり")))
    assert prompt.characters == 9 + 4


def test_a_rate_has_at_most_nine_decimals_and_may_be_nothing() -> None:
    rates = Rates(Decimal("0.000000001"), Decimal(0))
    assert rates.femtos == (1, 0, 1)
    assert "femtos" not in repr(rates)


@pytest.mark.parametrize("usd", ["-0.000000001", "-1", "NaN", "Infinity", "0.0000000001"])
def test_what_is_no_rate_is_refused_wherever_it_stands(usd: str) -> None:
    for rates in ((usd, "1"), ("1", usd), ("1", "1", usd)):
        with pytest.raises(ValueError, match="0 or more, with at most nine decimals"):
            Rates(*map(Decimal, rates))


def test_nothing_of_a_quote_is_reasoning_unless_it_says_so() -> None:
    quote = Quote(
        "small", TokenCount(1, True, 1), 1, 1, 1, PriceRange(1, 1, 1, 1), LatencyRange(1, 1), EXPIRES,
        "prices", 1,
    )  # fmt: skip
    assert (quote.reasoning_tokens_p50, quote.reasoning_tokens_p90) == (0, 0)


def test_the_first_of_the_ranked_is_chosen() -> None:
    ranked = tuple(candidate(name) for name in "abc")
    assert Decision(ranked, ()).chosen is ranked[0]


def test_each_importance_has_a_cost_of_a_miss_of_its_own() -> None:
    costs = [MissCosts().of(each) for each in Importance]
    assert costs == [MissCost(50_000_000), MissCost(250_000_000), MissCost(2_500_000_000)]
    assert MissCosts(low=Decimal("0.000000001")).of(Importance.LOW) == MissCost(1)


def test_without_a_word_the_regret_of_a_target_is_five_points() -> None:
    assert QualityTarget(0.9) == QualityTarget(0.9, 0.05)


def test_each_importance_has_a_target_of_its_own() -> None:
    targets = [QualityTargets().of(each) for each in Importance]
    assert targets == [QualityTarget(0.4), QualityTarget(0.6), QualityTarget(0.8)]
