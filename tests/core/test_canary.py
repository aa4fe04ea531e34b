"""What is counted of a canary and of the rest, who is on which side, and when it halts."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from router.core.canary import (
    CountedCall,
    Halt,
    Margins,
    Side,
    Tally,
    draw_of,
    evidence,
    halt_of,
)
from router.core.sequential_test import NOTHING_SEEN, Stream

GOOD, BAD = CountedCall(False, quality=1.0), CountedCall(False, quality=0.0)
MARGINS = Margins()


def after(tally: Tally, call: CountedCall, times: int, *, took: bool) -> Tally:
    for _ in range(times):
        tally = tally.with_call(call, took=took)
    return tally


def test_each_call_counts_on_its_side_as_far_as_it_is_known() -> None:
    tally = Tally(usual=100)
    tally = tally.with_call(CountedCall(False, 250, 0.75), took=True)
    tally = tally.with_call(CountedCall(True), took=True)
    tally = tally.with_call(CountedCall(False, 100), took=False)
    ours, rest = tally.canary, tally.rest
    assert (ours.quality.count, ours.quality.mean) == (1, 0.75)
    assert (ours.errors.count, ours.errors.mean) == (2, 0.5)
    # Shares of ten usual calls.
    assert (ours.cost.count, ours.cost.mean) == (1, 0.25)
    assert (rest.cost.mean, rest.errors.mean, rest.quality) == (0.1, 0.0, NOTHING_SEEN)


@pytest.mark.parametrize(
    ("nanos", "counted"), [(999, 0.999), (1_000, 1.0), (1_001, 1.0), (10**9, 1.0)]
)
def test_a_call_counts_as_ten_usual_ones_at_most(nanos: int, counted: float) -> None:
    tally = Tally(usual=100).with_call(CountedCall(False, nanos), took=True)
    assert tally.canary.cost.total == counted


def test_the_usual_cost_is_learnt_from_the_first_30_calls_of_the_rest_which_are_not_compared() -> (
    None
):
    tally = after(Tally(), CountedCall(False, 40), 15, took=False)
    tally = after(tally, CountedCall(False, 9_999), 100, took=True)
    tally = after(tally, CountedCall(False, 60), 14, took=False)
    tally = after(tally, CountedCall(True), 5, took=False)  # what it cost is not known
    assert (tally.usual, tally.canary.cost, tally.rest.cost) == (None, NOTHING_SEEN, NOTHING_SEEN)
    tally = tally.with_call(CountedCall(False, 60), took=False)
    assert (tally.usual, tally.rest.cost) == (50, NOTHING_SEEN)
    tally = tally.with_call(CountedCall(False, 50), took=False)
    assert tally.rest.cost == NOTHING_SEEN.with_value(0.1)


def test_where_calls_cost_nothing_the_usual_cost_is_learnt_once_one_does() -> None:
    tally = after(Tally(), CountedCall(False, 0), 40, took=False)
    assert tally.usual is None
    assert tally.with_call(CountedCall(False, 4_100), took=False).usual == 100


def test_a_tally_that_takes_another_usual_cost_counts_costs_anew() -> None:
    tally = Tally(usual=100).with_call(CountedCall(False, 250, 0.75), took=True)
    assert tally.with_usual(100) is tally
    other = tally.with_usual(50)
    assert (other.usual, other.canary.cost) == (50, NOTHING_SEEN)
    assert other.canary.quality == tally.canary.quality


def test_tallies_of_processes_add_up() -> None:
    one = after(Tally(usual=10), GOOD, 3, took=True)
    other = after(Tally(usual=10), BAD, 2, took=False)
    both = one + other
    assert both.usual == 10
    assert (both.canary, both.rest) == (one.canary, other.rest)
    assert (one + one).canary.errors.count == 6


def test_a_canary_like_the_rest_is_not_halted() -> None:
    tally = after(Tally(usual=100), CountedCall(False, 100, 0.9), 5_000, took=False)
    tally = after(tally, CountedCall(False, 100, 0.9), 300, took=True)
    assert halt_of(tally, MARGINS) is None
    assert evidence(tally, MARGINS) == {"quality": 0.0, "cost": 0.0, "errors": 0.0}
    assert halt_of(Tally(), MARGINS) is None


def test_a_canary_with_worse_answers_is_halted_and_told_why() -> None:
    tally = after(Tally(), GOOD, 400, took=False)
    calls = 0
    while halt_of(tally, MARGINS) is None:
        assert evidence(tally, MARGINS)["quality"] < 1
        tally, calls = tally.with_call(BAD, took=True), calls + 1
    assert 5 < calls < 20
    assert evidence(tally, MARGINS)["quality"] >= 1
    assert halt_of(tally, MARGINS) == Halt(
        "quality",
        f"quality: mean quality 0.000 over {calls} settled calls of the canary, 1.000 over 400 of the rest; "
        "more than 0.01 lower, at an error of 5% over the whole run",
    )
    assert halt_of(tally, replace(MARGINS, quality=1.0)) is None


def test_a_canary_whose_calls_cost_twice_as_much_is_halted() -> None:
    tally = after(Tally(usual=1_000_000), CountedCall(False, 1_000_000), 2_000, took=False)
    tally = after(tally, CountedCall(False, 2_000_000), 150, took=True)
    found = halt_of(tally, MARGINS)
    assert found is not None
    assert found.check == "cost"
    assert found.text.startswith(
        "cost: $0.00200 per call over 150 settled calls of the canary, $0.00100 over"
    )
    assert "more than 5% higher" in found.text
    assert halt_of(tally, replace(MARGINS, cost=1.0)) is None


def test_a_canary_whose_calls_fail_is_halted() -> None:
    tally = after(Tally(), CountedCall(False), 400, took=False)
    tally = after(tally, CountedCall(True), 15, took=True)
    found = halt_of(tally, MARGINS)
    assert found is not None
    assert found.check == "errors"
    assert "100.0% of calls fail over 15 settled calls of the canary, 0.0% over 400" in found.text
    assert "more than 1 percentage points higher" in found.text


def test_a_canary_that_is_better_is_never_halted() -> None:
    tally = Tally(usual=100)
    tally = after(tally, CountedCall(True, 400, 0.1), 1_000, took=False)
    assert halt_of(after(tally, CountedCall(False, 50, 1.0), 1_000, took=True), MARGINS) is None


def test_of_1000_canaries_like_the_rest_at_most_5_percent_are_ever_halted() -> None:
    random, halted = Random(16), 0
    for _ in range(1_000):
        tally = Tally(usual=100)
        for _ in range(60):
            call = CountedCall(
                random.random() < 0.05,
                round(100 * random.lognormvariate(-0.5, 1)),
                float(random.random() < 0.75),
            )
            tally = tally.with_call(call, took=random.random() < 0.5)
            # Looked at after every call; without a margin, so that it is at the edge of what is allowed.
            if halt_of(tally, Margins(0, 0, 0)) is not None:
                halted += 1
                break
    assert halted <= 50


def test_the_number_of_a_request_is_even_and_depends_on_tenant_and_conversation_alone() -> None:
    draws = [draw_of("acme", f"chat-{i}") for i in range(10_000)]
    assert draws == [draw_of("acme", f"chat-{i}") for i in range(10_000)]
    assert all(0 <= each < 1 for each in draws)
    assert all(900 < sum(int(each * 10) == tenth for each in draws) < 1_100 for tenth in range(10))
    assert draw_of("other", "chat-0") != draws[0]
    # The same in every release: a conversation must not change sides by an upgrade.
    assert draw_of("acme", "chat-0") == pytest.approx(GOLDEN_DRAW, abs=1e-12)
    assert draw_of("a", "bc") != draw_of("ab", "c")


GOLDEN_DRAW = 0.18663434222183217


def test_a_side_adds_stream_by_stream() -> None:
    one = Side(errors=Stream(2, 1.0, 0.5))
    assert one + one == Side(errors=Stream(4, 2.0, 1.0))
