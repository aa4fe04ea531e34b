"""What the installed genai-prices has otherwise than a catalog file, and how it gets into the file."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from importlib import resources

import pytest

from router.catalog.catalog import Catalog, load_catalog, parse_catalog
from router.catalog.catalog_changes import CatalogChanges, available_models, changes_of, new_models
from router.catalog.catalog_edits import with_models, with_prices
from router.catalog.freshness import concerns
from router.catalog.price_history import check_past_prices
from router.catalog.prices import PRICE_SOURCE, find_record
from router.core.errors import BadArtifact, InvalidInput
from tests.conftest import NOON

TODAY = NOON.date()
HEAD = """# A file of ours: every word of it stays.
tiers: [low, high] # two are enough
default_lengths:
  low: {p50: 10, p90: 20, p99: 30}
  high: {p50: 10, p90: 20, p99: 30}
models:
"""


def model(name: str, *more: str, provider: str = "openai") -> str:
    lines = [
        f"- id: {name}",
        f"  provider: {provider}",
        "  tier: low",
        "  max_output_tokens: 100",
        "  speed: {first_token_s: 1, output_tokens_per_s: 10}",
        *(f"  {line}" for line in more),
    ]
    return "".join(f"  {line}\n" for line in lines)


def price(day: str, usd: str, *more: str) -> list[str]:
    """Lines of one of the prices of a model."""
    lines = [f"- from: {day}", f'  input_usd_per_mtok: "{usd}"', f'  output_usd_per_mtok: "{usd}"']
    return [f"  {line}" for line in (*lines, *more)]


OLD_PRICE = ["prices:", *price("2026-01-01", "9")]


def read(*models: str) -> tuple[str, Catalog]:
    text = HEAD + "".join(models)
    return text, parse_catalog(text.encode(), name="c.yaml")


def changes(*models: str, today: date = TODAY, pin: bool = False) -> CatalogChanges:
    return changes_of(read(*models)[1], today, pin=pin)


def test_what_ships_follows_the_table_and_differs_in_nothing() -> None:
    found = changes_of(load_catalog(), TODAY)
    assert (found.changed, found.removed, found.kept) == ((), (), ())


def test_a_price_that_the_table_has_otherwise_changes_today() -> None:
    record = find_record("gpt-5-nano", "openai")
    assert record is not None
    (found,) = changes(model("gpt-5-nano", *OLD_PRICE)).changed
    assert (found.model, found.start, found.new) == ("gpt-5-nano", TODAY, record.rates_at(NOON))
    assert found.old is not None
    assert found.old.input == 9


def test_a_price_that_is_to_change_is_told_with_the_day() -> None:
    record = find_record("gemini-3.8-flash", "google")
    assert record is not None
    last, flash = record.starts[-1], model("gemini-3.8-flash", provider="google")
    before = changes(flash, today=last - timedelta(days=1), pin=True).pinned
    assert before[-1].start == last
    assert before[-1].old == before[-2].new
    on_the_day = changes(flash, today=last, pin=True).pinned
    assert [each.start for each in on_the_day] == [last]


def test_a_price_of_another_source_is_left_alone() -> None:
    contract = ["prices:", *price("2026-01-01", "9", "  source: our contract")]
    found = changes(model("gpt-5-nano", *contract))
    assert found.changed == ()
    assert [(each.model, each.why) for each in found.kept] == [
        ("gpt-5-nano", "its price has another source ('our contract')")
    ]
    of_the_table = ["prices:", *price("2026-01-01", "9", "  source: genai-prices 0.1.0")]
    assert len(changes(model("gpt-5-nano", *of_the_table)).changed) == 1


def test_a_price_by_the_hour_is_not_written_down() -> None:
    found = changes(model("deepseek-flash", provider="deepseek"), pin=True)
    assert found.pinned == ()
    assert "depends on the hour" in found.kept[0].why


def test_a_model_that_is_not_listed_any_more_is_told_unless_it_retires_or_is_our_own() -> None:
    (told,) = changes(
        model("gpt-nought"),
        model("gpt-nil", "retires: 2027-01-01"),
        model("mine", provider="our-machine"),
    ).removed
    assert told.model == "gpt-nought"
    assert told.why.endswith("it has no price and is never chosen")


def test_of_a_retired_model_nothing_is_told() -> None:
    found = changes(model("gpt-5-nano", *OLD_PRICE, f"retires: {TODAY}"))
    assert found == CatalogChanges((), (), (), ())


# --- The file ----------------------------------------------------------------------------------


def added_lines(before: str, after: str) -> list[str]:
    """The lines of a text that another lacks; all others must be there, in their order."""
    left, added = iter(before.splitlines()), list[str]()
    wanted = next(left, None)
    for line in after.splitlines():
        if line == wanted:
            wanted = next(left, None)
        else:
            added.append(line)
    assert wanted is None
    return added


def test_prices_are_added_after_the_last_one_and_every_comment_stays() -> None:
    text, catalog = read(
        "  # The first of them\n",
        model("gpt-5-nano", *OLD_PRICE, "# and here it ends"),
        "\n  # The second\n",
        model("mine", provider="ours"),
        "# The end",
    )
    after = with_prices(text, changes_of(catalog, TODAY).changed)
    assert added_lines(text, after) == [
        f"      - from: {TODAY}",
        '        input_usd_per_mtok: "0.05"',
        '        output_usd_per_mtok: "0.4"',
        '        cache_read_usd_per_mtok: "0.005"',
        f"        source: {PRICE_SOURCE}",
    ]
    assert after.endswith("# The end")
    again = parse_catalog(after.encode(), name="c.yaml")
    check_past_prices(again, catalog, NOON)
    assert changes_of(again, TODAY).changed == ()
    yesterday = NOON - timedelta(days=1)
    assert again.entries[0].rates_at(yesterday) == catalog.entries[0].rates_at(yesterday)


def test_the_shipped_catalog_pinned_prices_every_model_as_before() -> None:
    text = (resources.files("router.catalog") / "catalog.yaml").read_text(encoding="utf-8")
    catalog = parse_catalog(text.encode(), name="c.yaml")
    after = with_prices(text, changes_of(catalog, TODAY, pin=True).pinned)
    pinned = parse_catalog(after.encode(), name="c.yaml")
    assert added_lines(text, after)
    check_past_prices(pinned, catalog, NOON)
    for days in (-400, -1, 0, 1, 40, 400):
        moment = NOON + timedelta(days=days)
        assert [each.rates_at(moment) for each in pinned.entries] == [
            each.rates_at(moment) for each in catalog.entries
        ]
    again = changes_of(pinned, TODAY, pin=True)
    assert (again.changed, again.pinned) == ((), ())


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n# The end\n"])
def test_a_new_model_has_what_is_known_and_waits_for_a_tier(newline: str, last: str) -> None:
    text, catalog = read(model("gpt-5-nano"))
    text = (text.rstrip("\n") + last).replace("\n", newline)
    after = with_models(text, new_models(catalog, ["gpt-6-sol"], None, NOON))
    assert after.count(newline) == after.count("\n")
    assert [line.split("#")[0].strip() for line in added_lines(text, after) if line] == [
        "- id: gpt-6-sol",
        "provider: openai",
        'tier: "?"',
        "tokenizer: { encoding: o200k_base }",
        "max_output_tokens: 8192",
        "capabilities: []",
        "speed: { first_token_s: 1, output_tokens_per_s: 10 }",
    ]
    with pytest.raises(BadArtifact, match=r"models\[1\] \(gpt-6-sol\): its tier is still '\?'"):
        parse_catalog(after.encode(), name="c.yaml")
    finished = parse_catalog(after.replace('"?"', "high").encode(), name="c.yaml")
    assert finished.entries[1].rates_at(NOON) is not None


def test_a_tier_may_be_given_at_once_and_the_speed_is_that_of_a_model_of_the_tier() -> None:
    made = new_models(load_catalog(), ["gpt-6-*"], "high", NOON)
    assert {each.tier for each in made} == {"high"}
    assert {each.alike for each in made} == {"gpt-6.1-sol"}
    assert "gpt-6-luna" not in {each.id for each in made}


def test_a_provider_that_the_catalog_lacks_can_be_named_and_its_tokens_are_counted_high() -> None:
    (made,) = new_models(load_catalog(), ["groq/llama-3.3-70b-versatile"], "low", NOON)
    assert (made.listed.provider, made.alike) == ("groq", None)
    assert made.token_rule.factor == Decimal("1.2")


def test_an_id_that_is_taken_by_another_provider_gets_its_own_and_keeps_its_price() -> None:
    text, catalog = read(model("gpt-5-mini"))
    (made,) = new_models(catalog, ["github-copilot/gpt-5-mini"], "low", NOON)
    assert made.id == "github-copilot/gpt-5-mini"
    after = parse_catalog(with_models(text, [made]).encode(), name="c.yaml")
    assert after.entries[1].rates_at(NOON) == made.listed.rates


@pytest.mark.parametrize("name", ["null", "1e5", "yes", "a: b", "a # b", "- x", 'quo"ted', "日本"])
def test_whatever_a_model_is_called_its_name_is_written_as_a_text(name: str) -> None:
    text, catalog = read(model("gpt-5-nano"))
    (made,) = new_models(catalog, ["gpt-6-sol"], "low", NOON)
    after = parse_catalog(with_models(text, [replace(made, id=name)]).encode(), name="c.yaml")
    assert after.ids == ("gpt-5-nano", name)


def test_what_could_be_added_is_not_in_the_catalog_yet() -> None:
    catalog = load_catalog()
    listed = {(each.provider, each.record.id) for each in available_models(catalog, NOON)}
    assert listed
    assert not listed & {(entry.spec.provider, entry.spec.id) for entry in catalog.entries}


@pytest.mark.parametrize(
    ("patterns", "tier", "problem"),
    [
        (["gpt-6-soll"], None, "'gpt-6-soll' fits no model of genai-prices that the catalog lacks; did"),
        (["gpt-5-nano"], None, "the catalog has it already"),
        (["openai/gpt-5-nano"], None, "the catalog has it already"),
        (["zzzzzz"], None, "--available lists them"),
        (["*"], None, "models are more than 100; name fewer"),
        (["gpt-6-sol"], "hihg", "--tier: 'hihg' is not in the catalog; did you mean high?"),
        (["gpt-6-sol"], "?", "--tier: '?' is not in the catalog; known: high, low, medium"),
    ],
)  # fmt: skip
def test_what_cannot_be_added_is_refused(
    patterns: list[str], tier: str | None, problem: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        new_models(load_catalog(), patterns, tier, NOON)
    assert problem in refused.value.message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            HEAD + model("gpt-5-nano", 'prices: [{from: 2026-01-01, input_usd_per_mtok: "9", '
                         'output_usd_per_mtok: "9"}]'),
            r"models\[0\] \(gpt-5-nano\): prices is written within brackets",
        ),
        (HEAD + model("gpt-5-nano", "prices: []"), r"models\[0\] \(gpt-5-nano\): prices is empty"),
        (
            HEAD.replace("models:", "models: [") + "{id: gpt-5-nano, provider: openai, tier: low, "
            "max_output_tokens: 1, speed: {first_token_s: 1, output_tokens_per_s: 1}}]",
            r"models\[0\] \(gpt-5-nano\) is written within brackets",
        ),
        (
            HEAD + model("gpt-5-nano", "prices: &ours", *price("2026-01-01", "9"))
            + model("gpt-6-sol", "prices: *ours"),
            "the catalog has anchors",
        ),
    ],
)  # fmt: skip
def test_a_form_that_lines_cannot_be_added_to_is_refused_with_what_to_do(
    text: str, problem: str
) -> None:
    catalog = parse_catalog(text.encode(), name="c.yaml")
    found = changes_of(catalog, TODAY, pin=True)
    with pytest.raises(InvalidInput, match=problem) as refused:
        with_prices(text, (*found.changed, *found.pinned))
    assert refused.value.message.endswith(", and try again")


# --- What grows old ----------------------------------------------------------------------------


def aged(days: int) -> Catalog:
    day = TODAY - timedelta(days=days)
    return read(model("gpt-5-nano", "prices:", *price(f"{day}", "9")))[1]


def test_a_price_that_the_table_has_otherwise_is_stale_after_some_days() -> None:
    assert concerns(aged(90), NOON, None) == []
    assert concerns(aged(91), NOON, None) == [
        f"prices of gpt-5-nano are older than 90 days, and {PRICE_SOURCE} has others; look with "
        "`mitsumori catalog update`"
    ]
    assert concerns(aged(91), NOON, None, days=91) == []


def test_a_table_that_was_installed_long_ago_is_stale() -> None:
    catalog = load_catalog()
    assert concerns(catalog, NOON, NOON - timedelta(days=90)) == []
    (told,) = concerns(catalog, NOON, NOON - timedelta(days=91))
    assert told.startswith(f"{PRICE_SOURCE} was installed 91 days ago; install a newer release")


@pytest.mark.parametrize(
    ("day", "told"),
    [
        ("2026-12-24", None),
        ("2026-12-23", "gpt-5-nano retires on 2026-12-23, in 30 days; nothing replaces it"),
        ("2026-11-24", "gpt-5-nano retires on 2026-11-24, in 1 day; nothing replaces it"),
        (
            "2026-11-23",
            "gpt-5-nano retired on 2026-11-23; nothing replaces it; take it out when no decision on it is "
            "open",
        ),
    ],
)  # fmt: skip
def test_a_retirement_is_told_thirty_days_before_and_from_then_on(
    day: str, told: str | None
) -> None:
    _, catalog = read(model("gpt-5-nano", f"retires: {day}"))
    assert concerns(catalog, NOON, None) == ([told] if told else [])


def test_the_replacement_is_told_too() -> None:
    _, catalog = read(
        model("gpt-5-nano", "retires: 2026-12-01", "replaced_by: gpt-6-sol"), model("gpt-6-sol")
    )
    (told,) = concerns(catalog, NOON, None)
    assert told == "gpt-5-nano retires on 2026-12-01, in 8 days; gpt-6-sol replaces it"
