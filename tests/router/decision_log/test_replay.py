"""Logged decisions made anew, with other bundles and policies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.catalog.catalog import Catalog, load_catalog
from router.classifier.bundle import Bundle, load_bundle
from router.core.errors import InvalidInput
from router.core.types import QualityTarget
from router.decision_log import replay as replaying
from router.decision_log.reader import LoggedDecision, LogRow
from router.decision_log.reader import logged as logged_row
from router.decision_log.record import LoggedMissCost, LoggedQualityTarget
from router.decision_log.record_json import serialize
from router.decision_log.replay import ReplayPolicy, ReplayReport, replay
from router.ledger.base import HoldState, StoredDecision
from router.paths import DEFAULT_BUNDLE, ENCODERS, MODELS
from router.routing.router import Router
from tests.conftest import NOON
from tests.router.decision_log.builders import (
    logged,
    prompts,
    usage_of,
    with_candidates,
    with_record,
    with_usage_of,
)

OTHER = MODELS / "bundles" / "multilingual"

CATALOG = load_catalog()


def policy(bundle: Bundle, **changes: Any) -> ReplayPolicy:
    tiers = {entry.spec.id: entry.spec.tier for entry in CATALOG.entries}
    return replace(ReplayPolicy(bundle, tiers, None, None, NOON), **changes)


def renamed(folder: Path, source: Path = DEFAULT_BUNDLE) -> Bundle:
    """The same classifier under another version."""
    shutil.copytree(source, folder / "renamed")
    path = folder / "renamed" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**manifest, "name": "renamed"}), encoding="utf-8")
    return load_bundle(folder / "renamed", ENCODERS)


@pytest.fixture(scope="module")
def other() -> Bundle:
    return load_bundle(OTHER, ENCODERS)


def test_the_same_bundle_decides_the_same_even_where_nothing_was_kept(router: Router) -> None:
    rows = logged(router, prompts(40))
    found = replay(rows, policy(router.bundle))
    assert (found.replayed, found.overlap.agreement, found.moves) == (40, 1.0, {})
    for estimates in found.estimates.values():
        assert estimates.dr.value == pytest.approx(estimates.logged.value)
        assert estimates.difference.value == pytest.approx(0)
    spent = sum(row.spent or 0 for row in rows) / len(rows) / 1e9
    assert found.estimates["cost_usd"].logged.value == pytest.approx(spent)


def test_the_text_scores_as_it_was_served_without_the_system_messages(
    router: Router, tmp_path: Path
) -> None:
    for kind in ("text", "redacted"):
        rows = logged(router, prompts(24), log_prompts=kind)
        found = replay(rows, policy(renamed(tmp_path / kind)))
        assert (found.replayed, found.overlap.agreement) == (24, 1.0)


def test_the_kept_vector_scores_without_words_and_says_so(router: Router, tmp_path: Path) -> None:
    rows = logged(router, prompts(24), log_prompts="embedding")
    found = replay(rows, policy(renamed(tmp_path)))
    assert found.replayed == 24
    assert any("without their words" in line for line in found.cautions) == (
        router.bundle.classifier.reads_tokens
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("off", "nothing of the prompt was kept"),
        ("hash", "only a hash"),
        ("embedding", "another encoder"),
    ],
)
def test_where_the_prompt_cannot_be_scored_the_remedy_is_named(
    kind: str, words: str, router: Router, other: Bundle
) -> None:
    rows = logged(router, prompts(3), log_prompts=kind, prompt_key="k")
    with pytest.raises(InvalidInput, match="none of 3 decisions can be replayed") as caught:
        replay(rows, policy(other))
    assert words in caught.value.message
    assert "log_prompts" in caught.value.message
    assert "\n" not in caught.value.message


def test_what_is_left_out_is_counted_by_reason(router: Router) -> None:
    rows: list[LogRow] = []
    first, *others = logged(router, prompts(11))
    rows.append(first)
    rows.append(replace(others[0], state="expired"))
    rows.append(with_usage_of(others[1], outcome="timeout"))
    rows.append(with_usage_of(others[2], quality=None))
    rows.append(with_usage_of(others[3], model="another"))
    rows.append(replace(others[4], spent=None))
    rows.append(with_candidates(others[5], latency_s=None))
    rows.append(others[6])
    rows.append(unreadable(others[7], version=2))
    rows.append(unreadable(others[8], goal=None))
    rows.append(unreadable(others[9], bundle=None))
    found = replay(rows, policy(router.bundle))
    assert (found.read, found.replayed) == (11, 2)
    assert found.left_out == {
        "not settled": 1,
        "the call failed": 1,
        "the quality was not reported": 1,
        "another model than the chosen one was called": 1,
        "its cost is not known": 1,
        "the record has no latencies": 1,
        "the record is of an unknown version": 1,
        "the record lacks goal": 1,
        "the record lacks bundle": 1,
    }
    assert any("too few to tell" in line for line in found.cautions)
    assert any("quality is known for 67% of the answers" in line for line in found.notes)
    newer = (
        "1 decision left out: the record is of an unknown version (read it with the release that"
    )
    assert any(line.startswith(newer) for line in found.notes)


def unreadable(row: LoggedDecision, **changes: Any) -> LogRow:
    """The row as a ledger would give it, had its record this field, or lacked it."""
    content = json.loads(serialize(row.record)) | changes
    text = json.dumps({name: value for name, value in content.items() if value is not None})
    return logged_row(
        StoredDecision(
            row.id, HoldState.SETTLED, row.created, row.created, row.labels, None, None, False, 0,
            text, {},
        )
    )  # fmt: skip


def test_a_fault_of_ours_is_no_reason_to_leave_a_decision_out(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = logged(router, prompts(1))
    monkeypatch.delattr(replaying, "decide")
    with pytest.raises(NameError):
        replay(rows, policy(router.bundle))


def test_a_record_that_does_not_say_tiers_takes_those_of_the_catalog(router: Router) -> None:
    rows = [with_candidates(row, tier="") for row in logged(router, prompts(12))]
    assert replay(rows, policy(router.bundle)).overlap.agreement == 1.0


def explored(rows: Sequence[LoggedDecision], seed: int) -> Iterator[LoggedDecision]:
    """As if the router had chosen among all candidates by lot, with its own promises kept."""
    rng = np.random.default_rng(seed)
    for row in rows:
        candidates = list(row.record.candidates)
        first = candidates.pop(int(rng.integers(len(candidates))))
        assert first.p_adequate is not None
        quality = float(rng.random() < first.p_adequate)
        yield replace(
            with_record(
                with_usage_of(row, model=first.model, quality=quality),
                candidates=(first, *candidates),
                propensity=1 / (len(candidates) + 1),
            ),
            spent=first.price_nanos.expected,
        )


def test_with_logged_exploration_the_intervals_cover_another_policy(
    router: Router,
) -> None:
    rows = logged(router, prompts(96)) * 12
    rows = [with_record(row, prompt_hash=str(place)) for place, row in enumerate(rows)]
    goal = QualityTarget(0.75)
    # The classifier's promises are the truth of this world.
    expected = np.mean([_promise(row, goal) for row in rows])
    asked = policy(router.bundle, goal=goal)
    reports: list[ReplayReport] = [replay(explored(rows, seed), asked) for seed in range(48)]
    for estimator in ("ips", "snips", "dr"):
        intervals = [getattr(found.estimates["adequate"], estimator) for found in reports]
        # Of one in fifteen decisions something is known: intervals of 95 % hold a little less often.
        assert sum(each.low <= expected <= each.high for each in intervals) >= 36
        assert np.mean([each.value for each in intervals]) == pytest.approx(expected, abs=0.04)
    for found in reports:
        adequate = found.estimates["adequate"]
        assert adequate.dr.high - adequate.dr.low < adequate.ips.high - adequate.ips.low
        assert found.overlap.uncovered == 0.0
        assert not any("certain" in line for line in found.cautions)


def _promise(row: LoggedDecision, goal: QualityTarget) -> float:
    """P(adequate) of the cheapest candidate that reaches the goal, else of those near the best."""
    promised = [
        (c.p_adequate, c.price_nanos.expected)
        for c in row.record.candidates
        if c.p_adequate is not None
    ]
    able = [one for one in promised if one[0] >= goal.p_adequate]
    if able:
        return min(able, key=lambda one: one[1])[0]
    best = max(p for p, _ in promised)
    level = [one for one in promised if one[0] >= best - goal.regret]
    return min(level, key=lambda one: one[1])[0]


def priced(folder: Path, models: set[str | None], input_usd: str, output_usd: str) -> Catalog:
    """A catalog of these models at these prices per million tokens."""
    text = "tiers: [low, medium, high]\ndefault_lengths:\n"
    text += "".join(f"  {t}: {{p50: 200, p90: 800, p99: 2000}}\n" for t in CATALOG.tiers)
    text += "models:\n"
    for entry in CATALOG.entries:
        if entry.spec.id in models:
            text += (
                f"  - id: {entry.spec.id}\n    provider: acme\n    tier: {entry.spec.tier}\n"
                "    tokenizer: {encoding: o200k_base}\n    context_window: 100000\n"
                "    max_output_tokens: 10000\n    capabilities: []\n"
                "    speed: {first_token_s: 1, output_tokens_per_s: 50}\n"
                "    prices:\n      - from: 2020-01-01\n"
                f"        input_usd_per_mtok: '{input_usd}'\n"
                f"        output_usd_per_mtok: '{output_usd}'\n"
            )
    path = folder / "catalog.yaml"
    path.write_text(text)
    return load_catalog(path)


def test_a_catalog_quotes_anew_at_its_prices(router: Router, tmp_path: Path) -> None:
    rows = logged(router, prompts(12))
    used = {usage_of(row).model for row in rows}
    catalog = priced(tmp_path, used, "1000", "2000")
    found = replay(rows, policy(router.bundle, catalog=catalog))
    # 50 tokens in at $1,000 and 100 out at $2,000 per million.
    assert found.estimates["cost_usd"].logged.value == pytest.approx(0.25)
    assert any(catalog.price_table in line for line in found.notes)


@pytest.mark.parametrize(
    ("quality", "adequate"), [(0.4999996, 1.0), (0.4999994, 0.0), (0.5, 1.0), (0.49, 0.0)]
)
def test_quality_counts_to_six_decimals_against_the_threshold(
    quality: float, adequate: float, router: Router
) -> None:
    """A float32 on the way to the log makes .7 of .69999999, which must still reach .7."""
    assert router.bundle.manifest.adequacy_threshold == 0.5
    (row,) = logged(router, prompts(1))
    found = replay([with_usage_of(row, quality=quality)], policy(router.bundle))
    assert found.estimates["adequate"].logged.value == adequate
    assert found.estimates["quality"].logged.value == quality


def test_money_counts_in_whole_nano_dollars_as_booked_or_rounded_up_at_new_prices(
    router: Router, tmp_path: Path
) -> None:
    (row,) = logged(router, prompts(1))
    row = replace(with_usage_of(row, input_tokens=3, output_tokens=0), spent=7)
    booked = replay([row], policy(router.bundle))
    assert booked.estimates["cost_usd"].logged.value == 7 / 1e9
    # Half a nano-dollar per token: three of them are 1.5, and a started nano-dollar counts whole.
    catalog = priced(tmp_path, {usage_of(row).model}, "0.0005", "1")
    anew = replay([row], policy(router.bundle, catalog=catalog))
    assert anew.estimates["cost_usd"].logged.value == 2 / 1e9


def test_a_replay_keeps_the_logged_goals(router: Router) -> None:
    rows = logged(router, prompts(12))
    assert {type(row.record.goal) for row in rows} == {LoggedMissCost}
    assert replay(rows, policy(router.bundle)).moves == {}
    # What a record of before says of its target holds as it did then, with a regret of a point.
    old = [with_record(row, goal=LoggedQualityTarget(1.0)) for row in rows]
    then, now = policy(router.bundle), policy(router.bundle, goal=QualityTarget(1.0, 0.01))
    assert replay(old, then).moves == replay(rows, now).moves
