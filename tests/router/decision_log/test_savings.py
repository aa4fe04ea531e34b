"""What the choices of a log saved against one model: which decisions count, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from router.cli.render import savings_lines
from router.core.off_policy import Interval
from router.decision_log.reader import LoggedDecision
from router.decision_log.record import LoggedExploration, PriceNanos
from router.decision_log.replay import replay
from router.decision_log.savings import Savings, SavingsTally
from router.routing.router import Router
from tests.router.decision_log.builders import logged, prompts, with_record, with_usage_of
from tests.router.decision_log.test_replay import policy

CANNOT = "cannot tell: every choice had propensity 1"


def savings(rows: Sequence[LoggedDecision], model: str = "") -> Savings:
    tally = SavingsTally()
    for row in rows:
        tally.add(row)
    return tally.savings(model)


@pytest.fixture(scope="module")
def certain(router: Router) -> list[LoggedDecision]:
    return logged(router, prompts(30))


@pytest.fixture(scope="module")
def drawn(router: Router) -> list[LoggedDecision]:
    """All decisions left to chance."""
    return logged(replace(router, explore=1.0, explore_regret=5.0), prompts(200))


def test_a_log_without_chance_says_that_it_cannot_tell(certain: list[LoggedDecision]) -> None:
    found = savings(certain)
    assert (found.saved_usd, found.quality_gained, found.decisions) == (None, None, 30)
    (caution,) = found.cautions
    assert caution.startswith(CANNOT)
    assert savings_lines(found) == [f"savings against one model, {found.model}: {caution}"]


def test_an_empty_log_says_that_no_decision_counts() -> None:
    found = savings([])
    assert (found.model, found.decisions, found.saved_usd) == ("", 0, None)
    assert found.cautions == ("cannot tell: no settled decision counts; report usage with Settle",)


def test_a_model_that_was_no_candidate_is_said(drawn: list[LoggedDecision]) -> None:
    assert savings(drawn, "nobody").cautions == (
        "cannot tell: nobody was not a candidate in any decision",
    )


def test_a_log_with_chance_tells_and_replay_says_the_same(
    router: Router, drawn: list[LoggedDecision]
) -> None:
    best = max(
        {each.model for row in drawn for each in row.record.candidates},
        key=lambda name: sum((row.record.propensity_of(name) or 0) > 0 for row in drawn),
    )
    found = savings(drawn, best)
    assert found.saved_usd is not None
    assert found.quality_gained is not None
    assert found.saved_usd.low <= found.saved_usd.value <= found.saved_usd.high
    covered = [row for row in drawn if row.record.propensity_of(best)]
    assert (found.decisions, found.covered, found.judged) == (200, len(covered), len(covered))
    assert found.spent_usd == pytest.approx(sum(row.spent or 0 for row in covered) / 1e9)
    # In this world a call costs what was quoted, so the quotes of that model are the truth.
    quoted = [row.record.candidate(best) for row in covered]
    truth = sum(each.price_nanos.expected for each in quoted if each) / 1e9 - found.spent_usd
    assert found.saved_usd.value == pytest.approx(truth)
    report = replay(drawn, policy(router.bundle, single=best))
    assert report.savings == found
    assert report.overlap.uncovered < 0.05


def test_what_does_not_count_is_said_by_reason(drawn: list[LoggedDecision]) -> None:
    first, second, third, fourth, *others = drawn
    found = savings(
        [
            replace(first, state="held"),
            with_usage_of(second, model="another"),
            with_record(third, redrawn=True, exploration=None, propensity=1.0),
            with_record(fourth, propensity=0.5, exploration=None),
            replace(others[0], state="quoted"),
            *others[1:],
        ]
    )
    assert found.decisions == 195
    assert found.cautions[-4:] == (
        "1 decision left out: not settled",
        "1 decision left out: another model than the chosen one was called",
        "1 decision left out: it was made again after a limit had filled up, so its propensity is not known",
        "1 decision left out: its record does not say what else could have been chosen",
    )


def test_failed_calls_cost_too_and_unjudged_ones_have_no_quality(
    drawn: list[LoggedDecision],
) -> None:
    whole = savings(drawn)
    found = savings(
        [with_usage_of(row, outcome="error", quality=None) for row in drawn], whole.model
    )
    assert (found.decisions, found.saved_usd) == (whole.decisions, whole.saved_usd)
    assert (found.judged, found.quality_gained) == (0, None)


def test_the_best_single_model_is_the_cheapest_that_was_expected_to_be_as_adequate(
    certain: list[LoggedDecision],
) -> None:
    row = certain[0]
    base = row.record.candidates[0]

    def priced(nanos: int) -> PriceNanos:
        return PriceNanos(0, nanos, nanos, nanos)

    def candidates(*made: tuple[str, float, int]) -> SavingsTally:
        some = tuple(
            msgspec.structs.replace(base, model=name, p_adequate=p, price_nanos=priced(price))
            for name, p, price in made
        )
        tally = SavingsTally()
        tally.add(with_usage_of(with_record(row, candidates=some), model=some[0].model))
        return tally

    made = [("chosen", 0.7, 50), ("worse", 0.69, 1), ("as good", 0.7, 40), ("better", 0.9, 60)]
    assert candidates(*made).best_single == "as good"
    assert candidates(*made[:2]).best_single == "chosen"


def test_a_model_that_could_seldom_be_chosen_is_said_to_stand_for_these_alone(
    drawn: list[LoggedDecision],
) -> None:
    name = drawn[0].record.chosen.model
    rows = [
        row
        if place % 2
        else with_record(row, exploration=LoggedExploration(0.5, 0.0, 0.9, {"x": 0.5, "y": 0.5}))
        for place, row in enumerate(drawn)
    ]
    assert "could not have been chosen in 1" in " ".join(savings(rows, name).cautions)


def test_the_lines_for_people() -> None:
    found = Savings(
        "m", 4_000, 3_112, 45, 9.87, Interval(1.25, -0.5, 3.0), 1_200, Interval(0.012, -0.01, 0.03),
        ("a caution",),
    )  # fmt: skip
    assert savings_lines(found) == [
        "saved against always m: $1.25 (95 %: −$0.500 … $3.00) in 3,112 of 4,000 decisions, which cost "
        "$9.87; chance chose it 45 times where another was the best",
        "mean quality against always m: +0.012 (95 %: -0.010 … +0.030), of 1,200 that were judged",
        "savings against one model, m: a caution",
    ]


def test_a_new_choice_that_could_not_have_been_made_is_uncovered(
    router: Router, drawn: list[LoggedDecision]
) -> None:
    """Every record says that only the chosen model could have been chosen."""
    rows = [
        with_record(
            row,
            exploration=LoggedExploration(
                0.5, 0.0, 0.9, {row.record.chosen.model: row.record.propensity}
            ),
        )
        for row in drawn
    ]
    report = replay(rows, policy(router.bundle))
    assert report.moves
    assert report.overlap.uncovered == pytest.approx(sum(report.moves.values()) / len(rows))
