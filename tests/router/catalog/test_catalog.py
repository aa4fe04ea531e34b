from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from router.catalog.catalog import load_catalog
from router.core.ability import Ability
from router.core.errors import BadArtifact, InvalidInput
from router.core.types import Lengths

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

MINIMAL = """
tiers: [low, high]
default_lengths:
  low: {p50: 10, p90: 20, p99: 30}
  high: {p50: 10, p90: 20, p99: 30}
models:
  - id: mine
    provider: nobody
    tier: low
    max_output_tokens: 100
    speed: {first_token_s: 1, output_tokens_per_s: 10}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(text)
    return path


def test_the_shipped_catalog_has_the_big_providers_and_a_self_hosted_model() -> None:
    providers = {entry.spec.provider for entry in load_catalog().entries}
    assert providers >= {"openai", "anthropic", "google", "mistral", "deepseek", "self-hosted"}


def test_every_shipped_model_has_a_price_and_every_tier_a_model() -> None:
    catalog = load_catalog()
    assert all(entry.rates_at(NOON) for entry in catalog.entries)
    assert {entry.spec.tier for entry in catalog.entries} == set(catalog.tiers)


def test_a_price_is_the_one_of_its_date_and_hour() -> None:
    entry = next(e for e in load_catalog().entries if e.spec.id == "deepseek-flash")
    night = entry.rates_at(NOON.replace(hour=20))
    peak = entry.rates_at(NOON.replace(hour=7))
    assert night is not None
    assert peak is not None
    assert (night.input, peak.input) == (Decimal("0.15"), Decimal("0.3"))


def test_an_override_holds_from_its_date_on(tmp_path: Path) -> None:
    text = MINIMAL + (
        "    prices:\n"
        '      - {from: 2026-01-01, input_usd_per_mtok: "1", output_usd_per_mtok: "2"}\n'
        '      - {from: 2026-12-01, input_usd_per_mtok: "3", output_usd_per_mtok: "4"}\n'
    )
    (entry,) = load_catalog(written(tmp_path, text)).entries
    assert entry.rates_at(datetime(2025, 12, 31, tzinfo=UTC)) is None
    now, later = entry.rates_at(NOON), entry.rates_at(NOON.replace(month=12))
    assert now is not None
    assert later is not None
    assert (now.input, later.input) == (1, 3)


def test_rates_are_known_until_the_next_moment_at_which_some_may_change() -> None:
    catalog, flash = (
        load_catalog(),
        "deepseek-flash",
    )  # dearer from 01:00 to 04:00 and from 06:00 to 10:00
    for hour, start, end in ((0, 0, 1), (1, 1, 4), (5, 4, 6), (9, 6, 10), (23, 10, 24)):
        found = catalog.at(NOON.replace(hour=hour, minute=59))
        midnight = NOON.replace(hour=0)
        assert (found.start, found.end) == (
            midnight + timedelta(hours=start),
            midnight + timedelta(hours=end),
        )
        for moment in (found.start, found.end - timedelta(microseconds=1)):
            assert catalog.at(moment) == found
        assert catalog.at(found.end) != found
        assert found.models[catalog.ids.index(flash)].rates == next(
            entry.rates_at(found.start) for entry in catalog.entries if entry.spec.id == flash
        )


def test_a_moment_of_another_time_zone_has_the_rates_of_the_same_moment() -> None:
    catalog = load_catalog()
    assert catalog.at(NOON.astimezone(timezone(timedelta(hours=9)))) == catalog.at(NOON)


def test_an_override_is_in_force_from_midnight(tmp_path: Path) -> None:
    priced = """    prices:
      - {from: 2026-11-24, input_usd_per_mtok: "1", output_usd_per_mtok: "2"}
"""
    catalog = load_catalog(written(tmp_path, MINIMAL + priced))
    before = catalog.at(NOON)
    assert before.models[0].rates is None
    assert before.end == NOON.replace(day=24, hour=0)
    after = catalog.at(before.end)
    assert after.models[0].rates is not None
    assert (after.start, after.end) == (NOON.replace(day=24, hour=0), NOON.replace(day=25, hour=0))


def test_a_model_without_a_price_is_listed_without_rates(tmp_path: Path) -> None:
    (entry,) = load_catalog(written(tmp_path, MINIMAL)).entries
    assert entry.at(NOON).rates is None


def test_counts_are_exact_only_where_the_tokenizer_is_the_models_own() -> None:
    exact = {entry.spec.id: entry.exact_tokens for entry in load_catalog().entries}
    assert exact["gpt-5-nano"] is True
    assert exact["claude-haiku-5-5"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("tier: low", "tier: mid"), r"models\[0\] \(mine\): tier 'mid'"),
        (("max_output_tokens: 100", "max_output_tokens: 0"), "max_output_tokens"),
        (("provider: nobody", "provider: nobody\n    typo: 1"), "typo"),
        (("tiers: [low, high]", "tiers: [low]"), "tiers"),
        (("p90: 20", "p90: 5"), "must ascend"),
        (("output_tokens_per_s: 10", "output_tokens_per_s: .nan"), "output_tokens_per_s"),
        (("models:", "models: [}"), "not valid YAML at line"),
        (
            ("max_output_tokens: 100", "max_output_tokens: 100\n    tokenizer: {encoding: nope}"),
            "encoding must be one of",
        ),
        (
            (
                "max_output_tokens: 100",
                "max_output_tokens: 100\n    prices: [{from: 2026-01-01, "
                'input_usd_per_mtok: 0.1, output_usd_per_mtok: "1"}]',
            ),
            "must be quoted",
        ),
        *[
            (("max_output_tokens: 100", "max_output_tokens: 100\n    ability: " + ability), message)
            for ability, message in (
                ("{points: 60, uncertainty: 10, date: 2026-04-09}", "ability.source"),
                ("{points: 60, uncertainty: 10, source: '', date: 2026-04-09}", "ability.source"),
                (
                    '{points: 60, uncertainty: 10, source: "a\\e[31m", date: 2026-04-09}',
                    "ability.source.*one line of printable characters",
                ),
                ("{points: 60, uncertainty: 10, source: exam}", "ability.date"),
                ("{points: 60, source: exam, date: 2026-04-09}", "ability.uncertainty"),
                (
                    "{points: 251, uncertainty: 10, source: exam, date: 2026-04-09}",
                    "ability.points",
                ),
                (
                    "{points: -101, uncertainty: 10, source: exam, date: 2026-04-09}",
                    "ability.points",
                ),
                (
                    "{points: .nan, uncertainty: 10, source: exam, date: 2026-04-09}",
                    "ability.points",
                ),
                (
                    "{points: 60, uncertainty: 0.0099, source: exam, date: 2026-04-09}",
                    "ability.uncertainty",
                ),
                (
                    "{points: 60, uncertainty: 100.1, source: exam, date: 2026-04-09}",
                    "ability.uncertainty",
                ),
            )
        ],
    ],
)
def test_a_wrong_catalog_names_the_place(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = written(tmp_path, MINIMAL.replace(*change))
    with pytest.raises(BadArtifact, match=message) as caught:
        load_catalog(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("uncertainty", [0.01, 100.0])
def test_an_ability_may_be_as_sure_and_as_unsure_as_the_bounds(
    tmp_path: Path, uncertainty: float
) -> None:
    told = (
        f"    ability: {{points: 60, uncertainty: {uncertainty}, source: exam, date: 2026-04-09}}\n"
    )
    model = load_catalog(written(tmp_path, MINIMAL + told)).entries[0].at(NOON)
    assert model.ability is not None
    assert model.ability.uncertainty == uncertainty


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    entry = MINIMAL[MINIMAL.index("  - id") :]
    with pytest.raises(BadArtifact, match="'mine' appears twice"):
        load_catalog(written(tmp_path, MINIMAL + entry))


def test_an_allowance_for_hidden_reasoning_is_the_models_own(tmp_path: Path) -> None:
    allowed = MINIMAL + "    reasoning_tokens: {p50: 100, p90: 400, p99: 900}\n"
    catalog = load_catalog(written(tmp_path, allowed))
    assert catalog.entries[0].at(NOON).reasoning == Lengths(100, 400, 900)
    assert catalog.reasoning_allowances == {"mine": Lengths(100, 400, 900)}
    plain = load_catalog(written(tmp_path, MINIMAL))
    assert plain.entries[0].at(NOON).reasoning is None
    assert plain.reasoning_allowances == {}


def test_a_published_ability_is_the_models_own_with_source_and_date(tmp_path: Path) -> None:
    told = "    ability: {points: 60, uncertainty: 10, source: exam X, date: 2026-04-09}\n"
    catalog = load_catalog(written(tmp_path, MINIMAL + told))
    assert catalog.entries[0].at(NOON).ability == Ability(60, 10, "exam X, 2026-04-09")
    assert load_catalog(written(tmp_path, MINIMAL)).entries[0].at(NOON).ability is None


def told(ability: str) -> str:
    return MINIMAL + f"    ability: {{{ability}}}\n"


@pytest.mark.parametrize(
    ("ability", "problem"),
    [
        ("points: 60, uncertainty: 10, date: 2026-04-09", "ability.source: Field required"),
        ("points: 60, uncertainty: 10, source: ' ', date: 2026-04-09", "ability.source: must not be blank"),
        (
            "points: 60, uncertainty: 10, source: exam, date: 2026-11-25",
            "ability.date: 2026-11-25 lies in the future",
        ),
        ("points: 60, uncertainty: 10, source: exam, date: 20260409", "ability.date: must be a date"),
        ("points: true, uncertainty: 10, source: exam, date: 2026-04-09", "ability: points must not be true"),
        ("points: 60, uncertainty: yes, source: exam, date: 2026-04-09", "ability: uncertainty must not be"),
        ("points: '50', uncertainty: 10, source: exam, date: 2026-04-09", "ability.points: Input should be"),
        ("points: 50, uncertainty: '10', source: exam, date: 2026-04-09", "ability.uncertainty: Input"),
    ],
)  # fmt: skip
def test_a_wrong_ability_names_the_model_and_what_to_do(
    ability: str, problem: str, tmp_path: Path
) -> None:
    path = written(tmp_path, told(ability))
    with pytest.raises(BadArtifact) as caught:
        load_catalog(path, lambda: NOON)
    assert caught.value.message.startswith(f"{path}: models[0] (mine): {problem}")
    assert caught.value.message.endswith("leave it out where they are not known")
    assert "\n" not in caught.value.message


def test_scores_may_be_published_today_wherever_a_day_begins_first(tmp_path: Path) -> None:
    """At noon in London it is the next day in Kiribati."""
    path = written(tmp_path, told("points: 60, uncertainty: 10, source: exam, date: 2026-11-24"))
    assert load_catalog(path, lambda: NOON).entries
    with pytest.raises(BadArtifact, match="2026-11-24 lies in the future"):
        load_catalog(path, lambda: NOON.replace(hour=9, minute=59))


@pytest.mark.parametrize(
    "change",
    [
        ("max_output_tokens: 100", "max_output_tokens: true"),
        ("first_token_s: 1", "first_token_s: yes"),
        ("p50: 10", "p50: true"),
    ],
)
def test_nothing_in_a_catalog_is_true_or_false(tmp_path: Path, change: tuple[str, str]) -> None:
    with pytest.raises(BadArtifact, match="must not be true or false"):
        load_catalog(written(tmp_path, MINIMAL.replace(*change)))


def test_a_model_without_a_name_is_told_by_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL.replace("id: mine", "id: 7"))
    with pytest.raises(BadArtifact, match=r"models\[0\]: id: Input should be"):
        load_catalog(path)


def test_shipped_allowances_are_those_of_models_that_reason_and_wide() -> None:
    for entry in load_catalog().entries:
        allowance = entry.at(NOON).reasoning
        assert allowance is None or "reasoning" in entry.spec.capabilities
        assert allowance is None or allowance.p99 < entry.spec.max_output_tokens
    allowed = load_catalog().reasoning_allowances
    assert "gpt-5-nano" in allowed
    assert "ministral-8b-2512" not in allowed


def test_a_missing_catalog_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="--catalog"):
        load_catalog(tmp_path / "none.yaml")


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    catalog = load_catalog()
    with pytest.raises(InvalidInput, match="did you mean gpt-5-nano"):
        catalog.check_known("allowed_models", ["gpt5-nano"], catalog.ids)
