"""A catalog that replaces another: new prices are taken, past ones stay."""

from __future__ import annotations

import pytest

from router.catalog.catalog import Catalog, parse_catalog
from router.catalog.price_history import check_past_prices, with_retired
from router.core.errors import BadArtifact
from tests.conftest import NOON

TODAY = NOON.date()


def catalog(*models: tuple[str, dict[str, str]]) -> Catalog:
    """A catalog of models with input prices by day."""
    lines = ["tiers: [low, high]", "default_lengths:"]
    lines += [f"  {tier}: {{p50: 1, p90: 2, p99: 3}}" for tier in ("low", "high")]
    lines.append("models:")
    for name, prices in models:
        lines.append(
            f"  - {{id: {name}, provider: nobody, tier: low, max_output_tokens: 9, "
            "speed: {first_token_s: 1, output_tokens_per_s: 1}, prices: ["
        )
        lines += [
            f'      {{from: {day}, input_usd_per_mtok: "{price}", output_usd_per_mtok: "1"}},'
            for day, price in prices.items()
        ]
        lines.append("    ]}")
    return parse_catalog("\n".join(lines).encode(), name="test")


BEFORE = catalog(("a", {"2020-01-01": "1"}))


@pytest.mark.parametrize(
    "prices",
    [
        {"2020-01-01": "1"},
        {"2020-01-01": "1", f"{TODAY}": "2"},
        {"2020-01-01": "1", "2999-01-01": "2"},
        {"2019-01-01": "3", "2020-01-01": "1"},
        {"2020-01-01": "1.0"},
    ],
)
def test_a_price_from_today_on_or_where_there_was_none_is_taken(prices: dict[str, str]) -> None:
    check_past_prices(catalog(("a", prices)), BEFORE, NOON)


@pytest.mark.parametrize(
    ("prices", "day"),
    [
        ({"2020-01-01": "2"}, "2020-01-01"),
        ({"2020-01-01": "1", "2021-06-01": "2"}, "2021-06-01"),
        ({"2021-01-01": "1"}, "2020-01-01"),
        ({}, "2020-01-01"),
    ],
)
def test_another_price_of_a_past_day_is_refused(prices: dict[str, str], day: str) -> None:
    with pytest.raises(BadArtifact) as caught:
        check_past_prices(catalog(("a", prices)), BEFORE, NOON)
    assert caught.value.reason == "PAST_PRICE_CHANGED"
    assert caught.value.message.startswith(f"a: on {day} its price was 1 in, 1 out")
    assert f"add one from {TODAY}" in caught.value.message


def test_a_model_without_a_price_may_get_one() -> None:
    check_past_prices(catalog(("a", {"2020-01-01": "2"})), catalog(("a", {})), NOON)


def test_a_model_that_is_no_longer_listed_can_still_be_priced_and_not_come_back_cheaper() -> None:
    without = with_retired(catalog(("b", {"2020-01-01": "5"})), BEFORE)
    assert without.ids == ("b",)
    retired = without.priced("a")
    assert retired is not None
    assert retired.rates_at(NOON) == BEFORE.entries[0].rates_at(NOON)
    with pytest.raises(BadArtifact):
        check_past_prices(catalog(("a", {"2020-01-01": "2"})), without, NOON)
    back = with_retired(catalog(("a", {"2020-01-01": "1"})), without)
    assert back.ids == ("a",)
    assert [entry.spec.id for entry in back.retired] == ["b"]
