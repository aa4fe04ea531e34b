"""A history plays the models, and the log that comes of it is one that can be replayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.catalog.catalog import Catalog
from router.classifier.bundle import Bundle, load_bundle
from router.core.types import QualityTarget
from router.decision_log.replay import ReplayPolicy, replay
from router.paths import DEFAULT_BUNDLE, ENCODERS
from tests.conftest import NOON
from training.histories import demonstration
from training.histories.tabulating import Reading, Table, tabulate_all
from training.rehearsal.rehearsing import candidates_of, catalog_of, rehearse

LOGGED, NEW = QualityTarget(0.5), QualityTarget(0.9)


@pytest.fixture(scope="module")
def table() -> Table:
    made = demonstration.demonstration_history(5)
    return tabulate_all([made], Reading(arms=demonstration.ARMS, prices=demonstration.PRICES))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(DEFAULT_BUNDLE, ENCODERS)


@pytest.fixture(scope="module")
def catalog(table: Table) -> Catalog:
    return catalog_of(table)


def policy(bundle: Bundle, catalog: Catalog, goal: QualityTarget) -> ReplayPolicy:
    tiers = {entry.spec.id: entry.spec.tier for entry in catalog.entries}
    return ReplayPolicy(bundle, tiers, goal, None, NOON)


def test_every_arm_is_a_tier_at_the_prices_of_the_table(table: Table, catalog: Catalog) -> None:
    assert catalog.tiers == ("low", "medium", "high")
    assert catalog.ids == tuple(demonstration.ARMS.values())
    for entry in catalog.entries:
        assert entry.rates_at(NOON) == table.rates[entry.spec.tier]


def test_an_arm_whose_costs_were_logged_has_the_price_of_its_mean(table: Table) -> None:
    logged = replace(table, rates=dict.fromkeys(table.rates))
    for place, entry in enumerate(catalog_of(logged).entries):
        rates = entry.rates_at(NOON)
        assert rates is not None
        cost = float(rates.output) * 1e3 * table.outcomes.output_tokens[:, place].mean()
        assert cost == pytest.approx(table.outcomes.cost_nanos[:, place].mean(), rel=1e-3)


def test_candidates_are_those_that_serving_would_choose_from(
    table: Table, bundle: Bundle, catalog: Catalog
) -> None:
    some = table.outcomes.rows(np.arange(20))
    found = candidates_of(some, bundle, catalog)
    assert [one.model.tier for one in found[0]] == ["low", "medium", "high"]
    for text, each in zip(some.texts, found, strict=True):
        assert {one.arm: one.p_adequate for one in each} == bundle.score(text).p_adequate


def test_without_chance_the_log_is_the_truth_of_its_goal(
    table: Table, bundle: Bundle, catalog: Catalog
) -> None:
    some = table.outcomes.rows(np.arange(40))
    log = rehearse(some, bundle, catalog, LOGGED)
    assert [row.state for row in log] == ["settled"] * 40
    assert {row.record.propensity for row in log} == {1.0}
    found = replay(log, policy(bundle, catalog, LOGGED))
    assert (found.replayed, found.moves) == (40, {})
    for row, text in zip(log, range(40), strict=True):
        arm = some.arms.index(row.labels["tier"])
        assert row.spent == some.cost_nanos[text, arm]
        assert row.record.usage.quality == some.quality[text, arm]


def test_propensities_are_those_of_the_lot(table: Table, bundle: Bundle, catalog: Catalog) -> None:
    some = table.outcomes.rows(np.arange(100))
    log = rehearse(some, bundle, catalog, LOGGED, explore=0.3, rounds=3, seed=2)
    assert len(log) == 300
    best = [row.labels["model"] for row in rehearse(some, bundle, catalog, LOGGED)] * 3
    for row, first in zip(log, best, strict=True):
        wanted = 0.8 if row.labels["model"] == first else 0.1
        assert row.record.propensity == pytest.approx(wanted)
        assert row.record.chosen.model == row.labels["model"]
    kept = np.mean([row.labels["model"] == first for row, first in zip(log, best, strict=True)])
    assert 0.72 < kept < 0.88
    assert log == rehearse(some, bundle, catalog, LOGGED, explore=0.3, rounds=3, seed=2)


def test_a_replay_of_the_rehearsal_covers_what_another_goal_really_brings(
    table: Table, bundle: Bundle, catalog: Catalog
) -> None:
    test = table.outcomes.rows(np.arange(300))
    log = rehearse(test, bundle, catalog, LOGGED, explore=0.5, rounds=2, seed=3)
    report = replay(log, policy(bundle, catalog, NEW))
    truth = np.mean([row.record.usage.quality for row in rehearse(test, bundle, catalog, NEW)])
    found = report.estimates["quality"]
    assert found.snips is not None
    for one in (found.ips, found.snips, found.dr):
        assert one.low <= truth <= one.high
    assert not report.overlap.thin


def test_prompts_that_not_every_arm_answered_are_left_out(
    table: Table, bundle: Bundle, catalog: Catalog
) -> None:
    some = table.outcomes.rows(np.arange(10))
    some.quality[3, 2] = np.nan
    assert len(rehearse(some, bundle, catalog, LOGGED)) == 9
