"""What processes tell each other of a breaker, and what holds of two changes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.breaker import (
    NEVER,
    Breaker,
    Call,
    HealthPolicy,
    Outcome,
    Report,
    after,
    with_probe,
    without_probe,
)
from router.core.shared_breaker import (
    FIRST,
    BreakerChange,
    change_after,
    merged,
    taken_over,
    text_of,
)

POLICY = HealthPolicy(wait_s=30, max_wait_s=100, probe_timeout_s=20)
NEW = Breaker()
OPEN = Breaker(
    failures=5,
    opened_at=100.0,
    since=90.0,
    retry_at=130.0,
    ejections=2,
    cause="5 failures in a row, the last: timeout",
)
TRIED = with_probe(OPEN, "d1", 130, POLICY)
CLOSED = Breaker(answered_at=140.0, recovered_at=140.0)

CHANGES = st.builds(BreakerChange, st.integers(0, 5), st.sampled_from(["", "a", "b", "{}"]))


@given(CHANGES, CHANGES, CHANGES)
def test_neither_order_nor_grouping_nor_repetition_of_changes_matters(
    one: BreakerChange, two: BreakerChange, three: BreakerChange
) -> None:
    assert merged(one, two) == merged(two, one)
    assert merged(merged(one, two), three) == merged(one, merged(two, three))
    assert merged(one, one) == one
    assert merged(FIRST, one) == one


@pytest.mark.parametrize("now", [-5.0, 0.0, 1.0, 9.9])
def test_a_change_is_later_than_the_one_before_it_whatever_the_clock_says(now: float) -> None:
    before = BreakerChange(9_900_000, "z")
    assert change_after(before, OPEN, now) == (9_900_001, text_of(OPEN))


def test_a_change_has_the_time_of_the_clock_where_that_is_later() -> None:
    assert change_after(FIRST, OPEN, 2.5) == (2_500_000, text_of(OPEN))
    assert change_after(BreakerChange(2_499_999, ""), OPEN, 2.5).at == 2_500_000
    assert change_after(BreakerChange(2_500_000, ""), OPEN, 2.5).at == 2_500_001


@pytest.mark.parametrize(
    "breaker",
    [
        OPEN,
        TRIED,
        replace(TRIED, tried_by="tenant acme"),
        with_probe(OPEN, "d1", 130, POLICY, "tenant acme"),
        without_probe(with_probe(OPEN, "d1", 130, POLICY, "tenant acme"), "d1"),
        CLOSED,
    ],
)
def test_another_process_knows_all_that_a_decision_needs(breaker: Breaker) -> None:
    assert taken_over(NEW, text_of(breaker), 140, POLICY) == breaker


def test_calls_that_were_counted_are_not_told() -> None:
    counting = replace(NEW, failures=3, recent=(Call(1.0, True),), answered_at=7.0)
    assert text_of(counting) == text_of(NEW) == "{}"
    assert text_of(replace(OPEN, answered_at=7.0)) == text_of(OPEN)


def test_a_closing_that_is_told_ends_what_is_left_out_here_and_keeps_what_is_counted() -> None:
    assert taken_over(OPEN, text_of(CLOSED), 150, POLICY) == CLOSED
    counting = Breaker(failures=3, recent=(Call(1.0, True),), answered_at=7.0)
    found = taken_over(counting, text_of(CLOSED), 150, POLICY)
    assert found == replace(counting, recovered_at=140.0, answered_at=140.0)


def test_an_opening_that_is_told_replaces_another_and_keeps_when_it_answered() -> None:
    own = replace(OPEN, answered_at=80.0, opened_at=50.0, retry_at=60.0, cause="own")
    assert taken_over(own, text_of(OPEN), 110, POLICY) == replace(OPEN, answered_at=80.0)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (replace(OPEN, retry_at=210.0), replace(OPEN, retry_at=210.0)),
        (replace(OPEN, retry_at=211.0), replace(OPEN, retry_at=210.0)),
        (replace(OPEN, retry_at=float("inf")), replace(OPEN, retry_at=210.0)),
        (
            replace(OPEN, opened_at=900.0, since=800.0, retry_at=930.0),
            replace(OPEN, opened_at=110.0, since=110.0, retry_at=210.0),
        ),
        (with_probe(OPEN, "d", 110, POLICY), with_probe(OPEN, "d", 110, POLICY)),
        (with_probe(OPEN, "d", 111, POLICY), with_probe(OPEN, "d", 110, POLICY)),
        (with_probe(OPEN, "d", 115, POLICY, "v"), with_probe(OPEN, "d", 110, POLICY, "v")),
        (Breaker(answered_at=900, recovered_at=900), Breaker(answered_at=110, recovered_at=110)),
    ],
)
def test_a_clock_that_runs_ahead_leaves_no_model_out_for_longer(
    told: Breaker, kept: Breaker
) -> None:
    assert taken_over(NEW, text_of(told), 110, POLICY) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"opened_at"',
        "{",
        '{"opened_at":1}',
        '{"recovered_at":"soon"}',
        '{"recovered_at":NaN}',
        text_of(OPEN).replace("100.0", "NaN"),
        text_of(OPEN).replace("100.0", "1" * 400),
        text_of(OPEN).replace('"ejections":2', '"ejections":-1'),
        text_of(OPEN).replace('"ejections":2', '"ejections":1e400'),
        text_of(OPEN).replace('"failures":5', '"failures":"5"'),
        text_of(TRIED).replace('["d1",150]', '["d1"]'),
        text_of(TRIED).replace('["d1",150]', "7"),
        text_of(TRIED).replace('["d1",150]', '["d1",150,"v"]'),
        text_of(TRIED).replace('["d1",150]', '["d1",150,"v",NaN]'),
        "[" * 100_000,
    ],
)
def test_what_another_release_may_have_told_is_left_aside(text: str) -> None:
    assert taken_over(OPEN, text, 110, POLICY) is None


def test_a_cause_of_any_length_is_cut() -> None:
    found = taken_over(NEW, text_of(replace(OPEN, cause="x" * 9_000)), 110, POLICY)
    assert found is not None
    assert found.cause == "x" * 500


def test_what_is_told_is_written_in_one_way() -> None:
    assert text_of(OPEN) == (
        '{"cause":"5 failures in a row, the last: timeout","ejections":2,"failures":5,'
        '"opened_at":100.0,"retry_at":130.0,"since":90.0}'
    )
    assert text_of(CLOSED) == '{"recovered_at":140.0}'
    assert BreakerChange(0, "") > FIRST
    assert json.loads(text_of(replace(TRIED, tried_by="v")))["tried_by"] == "v"


@pytest.mark.parametrize("count", [0, 1, 1_000_000_000])
def test_counts_are_told_up_to_a_billion(count: int) -> None:
    told = replace(OPEN, failures=count, ejections=count)
    assert taken_over(NEW, text_of(told), 110, POLICY) == told
    more = text_of(told).replace(f'"failures":{count}', '"failures":1000000001')
    assert taken_over(NEW, more, 110, POLICY) is None
    many = replace(OPEN, failures=10**12, ejections=10**12)
    found = taken_over(NEW, text_of(many), 110, POLICY)
    assert found == replace(OPEN, failures=10**9, ejections=10**9)


def test_fields_of_a_later_release_are_left_aside() -> None:
    told = json.dumps({**json.loads(text_of(OPEN)), "colour": "red"})
    assert taken_over(NEW, told, 110, POLICY) == OPEN


# --- Always ---------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),  # which process
        st.sampled_from(["fail", "answer", "try", "give up"]),
        st.floats(0, 40),  # later
        st.booleans(),  # all exchange afterwards
    ),
    max_size=40,
)


class Process:
    def __init__(self) -> None:
        self.breaker, self.newest = NEW, FIRST

    def does(self, what: str, now: float) -> None:
        before = self.breaker
        if what == "try" and before.takes_probe(now):
            self.breaker = with_probe(before, "d", now, POLICY)
        elif what == "give up":
            self.breaker = without_probe(before, "d")
        elif what in ("fail", "answer"):
            outcome = Outcome.ERROR if what == "fail" else Outcome.SUCCESS
            self.breaker = after(before, Report(outcome, now, now, "d"), POLICY)
        if text_of(before) != text_of(self.breaker):
            self.newest = change_after(self.newest, self.breaker, now)

    def hears(self, change: BreakerChange, now: float) -> None:
        if merged(self.newest, change) != self.newest:
            found = taken_over(self.breaker, change.text, now, POLICY)
            assert found is not None
            self.breaker, self.newest = found, change


@given(STEPS)
def test_processes_that_have_exchanged_what_they_know_know_the_same(
    steps: list[tuple[int, str, float, bool]],
) -> None:
    processes, now = [Process(), Process(), Process()], 1_000.0
    for which, what, later, exchanges in steps:
        now += later
        processes[which].does(what, now)
        if exchanges:
            for one in processes:
                for other in processes:
                    other.hears(one.newest, now)
            assert len({each.newest for each in processes}) == 1
            assert len({text_of(each.breaker) for each in processes}) == 1
            assert len({each.breaker.takes_probe(now) for each in processes}) == 1


@given(STEPS)
def test_the_order_in_which_they_hear_of_changes_does_not_matter(
    steps: list[tuple[int, str, float, bool]],
) -> None:
    processes, now, told = [Process(), Process()], 1_000.0, []
    for which, what, later, _ in steps:
        now += later
        processes[which % 2].does(what, now)
        told.append(processes[which % 2].newest)
    told = [each for each in told if each != FIRST]
    listeners = [Process(), Process()]
    for listener, order in zip(listeners, (told, [*told[::-1], *told]), strict=True):
        for change in order:
            listener.hears(change, now)
    assert text_of(listeners[0].breaker) == text_of(listeners[1].breaker)


def test_a_breaker_that_never_recovered_says_so() -> None:
    assert NEW.recovered_at == NEVER
    assert taken_over(NEW, "{}", 5, POLICY) == replace(NEW, answered_at=NEVER)
