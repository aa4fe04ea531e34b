"""A short hour of the simulation: the real server, providers over HTTP, and what must come out of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulation.__main__ import main, simulate, simulate_agents
from benchmarks.simulation.agenda import START, Agenda, Process
from benchmarks.simulation.agent_runs import TURNS, agent_figures, agent_table
from benchmarks.simulation.conditions import CALM, CONDITIONS, FROM_S, UNTIL_S, Condition, Victims
from benchmarks.simulation.provider import World
from benchmarks.simulation.results import Result, figures_of, interval, table_of
from benchmarks.simulation.traffic import HOUR_S, read_trace, synthetic_trace
from benchmarks.simulation.truth import Truth
from benchmarks.simulation.variants import BASELINES, EVERYTHING, Variant
from router.core.errors import InvalidInput

OUTAGE = next(each for each in CONDITIONS if each.outage)
THROTTLED = next(each for each in CONDITIONS if each.name == "throttled")
BATCH = next(each for each in CONDITIONS if each.batch)
UNAWARE = Variant("unaware", limits=False, headers=False)
HURRIED = Variant("hurried", limits=False, headers=False, deferral=False)
IMPATIENT = Variant("by load alone", deferral=False)
BARE = Variant("without health and failover", health=False, failover=False)
REQUESTS = 60


@pytest.fixture(scope="module")
def results() -> list[Result]:
    arrivals = synthetic_trace(REQUESTS, seed=3)
    found, gap = simulate(arrivals, (CALM, OUTAGE), (BARE, BASELINES[1]), seed=3)
    assert 0 < gap < 0.2
    return found


@pytest.fixture(scope="module")
def limited() -> list[Result]:
    arrivals = synthetic_trace(REQUESTS, seed=3)
    return simulate(arrivals, (THROTTLED, BATCH), (UNAWARE, HURRIED, IMPATIENT), seed=3)[0]


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


def test_who_knows_what_a_provider_allows_goes_elsewhere_before_it_refuses(
    limited: list[Result],
) -> None:
    aware, unaware = of(limited, THROTTLED, EVERYTHING), of(limited, THROTTLED, UNAWARE)
    assert sum(len(each.failed_at_s) for each in aware.hour.answers) == aware.reroutes == 0
    assert unaware.reroutes > 0
    assert aware.failed == unaware.failed == 0


def test_batch_work_waits_for_its_turn_and_is_answered(limited: list[Result]) -> None:
    load, hurried = of(limited, BATCH, IMPATIENT), of(limited, BATCH, HURRIED)
    assert load.deferred > 0 == hurried.deferred
    assert load.reroutes < hurried.reroutes
    assert load.failed == 0
    waited = [
        answer
        for asked, answer in zip(load.hour.traffic, load.hour.answers, strict=True)
        if answer.deferred
    ]
    assert all(load.hour.traffic[each.number].batch for each in waited)
    # They come back one after the other, not together.
    assert len({each.done_s for each in waited}) == len(waited)


def test_an_agent_run_that_is_begun_as_a_task_comes_to_its_end() -> None:
    hours = simulate_agents(synthetic_trace(100, seed=7), seed=7)
    free, alone, tasks = hours
    assert [run.turns for run in free.runs] == [TURNS] * 5
    assert alone.cost_nanos < free.cost_nanos
    # The budget is shared: runs stop between two turns, after money was spent on them.
    assert any(run.halfway for run in alone.runs)
    assert alone.wasted_nanos > 0
    # A task has its cap held: it is refused before its first turn, or comes to its end.
    assert {run.turns for run in tasks.runs} <= {0, TURNS}
    assert all(run.refused == (run.turns == 0) for run in tasks.runs)
    assert tasks.wasted_nanos == 0
    assert any(run.turns == TURNS for run in tasks.runs)
    figures = {each.name: each for each in agent_figures(hours)}
    assert figures["agent runs, as tasks: stopped half-way"].holds
    assert figures["agent runs, turn by turn: stopped half-way"].target is None
    assert [row[0] for row in agent_table(hours).rows] == [each.name for each in hours]


def test_a_thinned_hour_is_as_crowded_as_the_whole_one(limited: list[Result]) -> None:
    hour = of(limited, BATCH, EVERYTHING).hour
    truth = Truth({}, 3)
    world = World(Agenda(), hour.traffic, truth, BATCH, Victims("", ""))
    assert len(hour.traffic) == REQUESTS + REQUESTS // 3
    assert world.full_speed == 0.04 * REQUESTS
    # Of the smallest hours, one call at a time is at full speed.
    assert World(Agenda(), hour.traffic[:1], truth, BATCH, Victims("", "")).full_speed == 1


def test_what_is_allowed_concerns_the_throttled_provider_or_all_in_batch() -> None:
    victims = Victims("m", "p", {"p": 50, "q": 10})
    assert CALM.allowed(["p", "q"], victims) == {}
    assert THROTTLED.allowed(["q", "p"], victims) == {"p": 20}
    assert BATCH.allowed(["p", "q", "r"], victims) == {"p": 100, "q": 20, "r": 5}


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
