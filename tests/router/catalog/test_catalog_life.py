"""Models come, are served in regions, retire on a day and are replaced."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest

from router.catalog.catalog import Catalog, parse_catalog
from router.core.errors import BadArtifact
from router.core.types import Model
from tests.conftest import NOON

MIDNIGHT = NOON.replace(day=24, hour=0)
MOMENT = timedelta(microseconds=1)


def catalog(*models: str) -> Catalog:
    """A catalog of models a, b, c …, each with some lines of its own."""
    lines = ["tiers: [low, high]", "default_lengths:"]
    lines += [f"  {tier}: {{p50: 1, p90: 2, p99: 3}}" for tier in ("low", "high")]
    lines.append("models:")
    for name, told in zip("abcd", models, strict=False):
        lines.append(
            f"  - {{id: {name}, provider: nobody, {'' if 'tier:' in told else 'tier: low, '}"
            f"max_output_tokens: 9, speed: {{first_token_s: 1, output_tokens_per_s: 1}}, {told}}}"
        )
    return parse_catalog("\n".join(lines).encode(), name="c.yaml", now=lambda: NOON)


RETIRING = catalog("retires: 2026-11-24, replaced_by: b", "", "retires: 2026-11-24")
TOKYO = timezone(timedelta(hours=9))


def test_a_model_is_in_service_until_the_midnight_that_begins_its_day_in_utc() -> None:
    before, after = RETIRING.at(MIDNIGHT - MOMENT).models, RETIRING.at(MIDNIGHT).models
    day = date(2026, 11, 24)
    assert [model.retired for model in before] == [None, None, None]
    assert [model.retired for model in after] == [day, None, day]
    assert before[1].replaces == frozenset()
    assert after[1].replaces == {"a"}


def test_what_holds_now_is_not_used_beyond_that_midnight() -> None:
    assert RETIRING.at(MIDNIGHT - MOMENT).end == MIDNIGHT
    assert RETIRING.at(MIDNIGHT).start == MIDNIGHT


@pytest.mark.parametrize("moment", [MIDNIGHT - MOMENT, MIDNIGHT])
def test_the_day_is_told_in_utc_wherever_the_clock_is(moment: datetime) -> None:
    assert RETIRING.at(moment.astimezone(TOKYO)).models == RETIRING.at(moment).models


def test_a_retired_model_is_still_priced_for_its_open_decisions() -> None:
    price = 'prices: [{from: 2026-01-01, input_usd_per_mtok: "1", output_usd_per_mtok: "2"}]'
    entry = catalog(f"retires: 2026-11-24, {price}").priced("a")
    assert entry is not None
    assert entry.rates_at(MIDNIGHT) == entry.rates_at(NOON)
    assert entry.rates_at(MIDNIGHT) is not None


def test_regions_are_labels_and_none_are_said_where_none_are_known() -> None:
    made = catalog("regions: [eu, us-east-1]", "regions: []", "")
    assert made.regions == {"eu", "us-east-1"}
    models: tuple[Model, ...] = made.at(NOON).models
    assert [model.regions for model in models] == [made.regions, set(), set()]


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        (["replaced_by: b", ""], "models[0] (a): has replaced_by, but no retires; say from which day"),
        (
            ["retires: 2026-12-01, replaced_by: bb", ""],
            "models[0] (a): replaced_by: 'bb' is not in the catalog; did you mean b?",
        ),
        (
            ["retires: 2026-12-01, replaced_by: a"],
            "models[0] (a): replaced_by: a model cannot replace itself",
        ),
        (
            ["retires: 2026-12-01, replaced_by: b", "retires: 2026-12-02, replaced_by: c", ""],
            "models[0] (a): replaced_by: b is itself replaced by c; name the model that stays",
        ),
        (
            ["retires: 2026-12-01, replaced_by: b", "retires: 2026-12-02, replaced_by: a"],
            "models[0] (a): replaced_by: b is replaced by a in turn; one of them must stay",
        ),
        (
            ["", "retires: 2026-12-01, replaced_by: c", "retires: 2026-12-01"],
            "models[1] (b): replaced_by: c retires on 2026-12-01, no later than b; name a model that stays",
        ),
        (["retires: soon"], "models[0] (a): retires: Input should be a valid date"),
        (["retires: 20261201"], "models[0] (a): retires: must be a date, such as"),
        (["retires: 2026-12-01 10:00:00"], "models[0] (a): retires: must be a date, such as"),
        (["retires: 2026-02-30"], "c.yaml is not valid YAML: it has a date"),
        (["regions: eu"], "models[0] (a): regions: must be a list of labels such as [eu, us]"),
        (["regions: [EU]"], "models[0] (a): regions: must be a list of labels"),
        (["regions: [no]"], 'quote "no", which YAML takes for false'),
        (["regions: ['']"], "models[0] (a): regions: must be a list of labels"),
        ([f"regions: [{'e' * 64}]"], "models[0] (a): regions: must be a list of labels"),
        (
            ["", 'tier: "?"'],
            "models[1] (b): its tier is still '?': how able a model is no price list says; write low or high",
        ),
        (
            [
                "prices: [{from: 2026-01-01, input_usd_per_mtok: '1', output_usd_per_mtok: '1', "
                "long_inputs: [{above_input_tokens: 9, input_usd_per_mtok: '1', output_usd_per_mtok: '1'}, "
                "{above_input_tokens: 9, input_usd_per_mtok: '1', output_usd_per_mtok: '1'}]}]"
            ],
            "models[0] (a): prices.0: long_inputs must ascend by above_input_tokens",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_place_and_what_to_do(
    models: list[str], problem: str
) -> None:
    with pytest.raises(BadArtifact) as refused:
        catalog(*models)
    assert problem in refused.value.message
    assert refused.value.message.startswith("c.yaml")
    assert "\n" not in refused.value.message


def test_a_replacement_may_retire_after_what_it_replaces() -> None:
    made = catalog("retires: 2026-12-01, replaced_by: b", "retires: 2026-12-02")
    assert made.at(NOON.replace(month=12, day=1)).models[1].replaces == {"a"}


def test_long_inputs_cost_what_the_file_says() -> None:
    made = catalog(
        "prices: [{from: 2026-01-01, input_usd_per_mtok: '1', output_usd_per_mtok: '2', long_inputs: ["
        "{above_input_tokens: 200000, input_usd_per_mtok: '3', output_usd_per_mtok: '4'}]}]"
    )
    rates = made.entries[0].rates_at(NOON)
    assert rates is not None
    (surcharge,) = rates.surcharges
    assert surcharge.above_input_tokens == 200_000
    assert surcharge.rates.input == 3
