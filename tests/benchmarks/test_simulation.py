"""A short hour of the simulation: the real server, providers over HTTP, and what must come out of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulation.__main__ import main, simulate
from benchmarks.simulation.agenda import START, Agenda, Process
from benchmarks.simulation.conditions import CALM, CONDITIONS, FROM_S, UNTIL_S, Condition, Victims
from benchmarks.simulation.results import Result, figures_of, interval, table_of
from benchmarks.simulation.traffic import HOUR_S, read_trace, synthetic_trace
from benchmarks.simulation.variants import BASELINES, EVERYTHING, Variant
from router.core.errors import InvalidInput

OUTAGE = next(each for each in CONDITIONS if each.outage)
BARE = Variant("without health and failover", health=False, failover=False)
REQUESTS = 60


@pytest.fixture(scope="module")
def results() -> list[Result]:
    arrivals = synthetic_trace(REQUESTS, seed=3)
    found, gap = simulate(arrivals, (CALM, OUTAGE), (BARE, BASELINES[1]), seed=3)
    assert 0 < gap < 0.2
    return found


def of(results: list[Result], condition: Condition, variant: Variant) -> Result:
    return next(
        each for each in results if (each.hour.condition, each.hour.variant) == (condition, variant)
    )


def test_in_a_calm_hour_everybody_is_answered_and_what_is_booked_is_what_was_charged(
    results: list[Result],
) -> None:
    calm = of(results, CALM, EVERYTHING)
    assert len(calm.hour.answers) == REQUESTS
    assert (calm.failed, calm.deferred, calm.mispriced) == (0, 0, 0)
    assert calm.quality > of(results, CALM, BASELINES[1]).quality
    assert calm.loss_usd < of(results, CALM, BASELINES[1]).loss_usd
    assert 0 < calm.p50_s <= calm.p99_s
    # Without failures, what answers to failures changes nothing.
    assert [asdict(each) for each in of(results, CALM, BARE).hour.answers] == [
        asdict(each) for each in calm.hour.answers
    ]


def test_an_outage_is_survived_with_health_and_failover_and_not_without(
    results: list[Result],
) -> None:
    whole, bare = of(results, OUTAGE, EVERYTHING), of(results, OUTAGE, BARE)
    assert whole.failed == 0 < bare.failed
    assert whole.reroutes > 0 == bare.reroutes
    failed_at = [at for answer in bare.hour.answers for at in answer.failed_at_s]
    assert min(failed_at) >= FROM_S


def test_every_figure_and_the_table_are_made_of_the_results(results: list[Result]) -> None:
    figures = {each.name: each for each in figures_of(results)}
    whole = of(results, CALM, EVERYTHING)
    assert figures["calm, everything: price"].value == whole.cost_usd
    assert figures["outage, everything: failed"].target == 1.0
    assert figures["calm, everything: bookings off"].value == 0
    ratio = whole.loss_usd / of(results, CALM, BASELINES[1]).loss_usd
    assert figures["calm, everything: price + risk over the best baseline"].value == ratio
    those = [each for each in results if each.hour.condition == CALM]
    shown = [row[0] for row in table_of(those, seed=3).rows]
    assert shown == [EVERYTHING.name, BARE.name, BASELINES[1].name]


def test_simulated_time_stands_still_between_moments() -> None:
    agenda, seen = Agenda(), []

    def waiter(name: str, *waits_s: float) -> Process:
        for wait_s in waits_s:
            seen.append((name, agenda.now_s))
            yield wait_s
        seen.append((name, agenda.now_s))

    agenda.begin(5.0, waiter("a", 10.0))
    agenda.begin(1.0, waiter("b", 4.0, 0.0))
    while agenda.step():
        pass
    assert seen == [("b", 1.0), ("a", 5.0), ("b", 5.0), ("b", 5.0), ("a", 15.0)]
    assert (agenda.now() - START).total_seconds() == 15.0


def test_an_outage_begins_and_ends_at_its_moments_and_concerns_one_provider() -> None:
    victims = Victims("m", "p")
    moments = (FROM_S - 0.1, FROM_S, UNTIL_S - 0.1, UNTIL_S)
    assert [OUTAGE.fails("p", at, victims) for at in moments] == [False, True, True, False]
    assert not OUTAGE.fails("q", FROM_S, victims)
    assert not CALM.fails("p", FROM_S, victims)
    slow = Condition("slow", "", slowdown=10.0)
    assert [slow.slower("m", at, victims) for at in moments] == [1.0, 10.0, 10.0, 1.0]
    assert slow.slower("n", FROM_S, victims) == 1.0


def test_an_hour_of_our_own_is_an_hour_and_the_same_each_time() -> None:
    made = synthetic_trace(500, seed=1)
    assert made == synthetic_trace(500, seed=1) != synthetic_trace(500, seed=2)
    assert len(made) == 500
    assert all(0 <= each.at_s < HOUR_S for each in made)
    assert [each.at_s for each in made] == sorted(each.at_s for each in made)


def test_an_interval_holds_the_mean_and_is_that_of_the_same_resamples() -> None:
    values = np.random.default_rng(1).normal(2.0, 1.0, 400)
    low, high = interval(values, seed=5)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.2)
    assert interval(values, seed=5) == (low, high)


def test_a_trace_is_thinned_evenly_and_a_wrong_one_is_refused_by_its_name(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "trace.parquet"
    rows = {
        "t_s": [3599.0, 0.0, 1.5, 3600.0],
        "input_tokens": [1, 2, 3, 4],
        "output_tokens": [5] * 4,
    }
    pq.write_table(pa.table(rows), path)
    assert [each.at_s for each in read_trace(path, 0)] == [0.0, 1.5, 3599.0]
    assert [each.at_s for each in read_trace(path, 2)] == [0.0, 3599.0]
    pq.write_table(pa.table({"t_s": [1.0]}), path)
    with pytest.raises(InvalidInput, match=r"trace\.parquet"):
        read_trace(path, 0)
    with pytest.raises(InvalidInput, match=r"missing\.parquet.*--trace"):
        read_trace(tmp_path / "missing.parquet", 0)


def test_an_unknown_condition_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"there is no 'flood'; choose from calm, outage"):
        main(["--conditions", "flood"])
