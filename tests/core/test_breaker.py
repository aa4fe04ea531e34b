"""When a model is left out, tried again and called as before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.breaker import (
    NEVER,
    Breaker,
    BreakerState,
    HealthPolicy,
    Outcome,
    Probe,
    Report,
    after,
    with_probe,
    without_probe,
)

POLICY = HealthPolicy(
    consecutive_failures=3,
    error_rate=0.5,
    error_rate_calls=10,
    window_s=60,
    wait_s=30,
    max_wait_s=100,
    probe_timeout_s=20,
)
NEW = Breaker()
FAILED = (
    Outcome.ERROR, Outcome.TIMEOUT, Outcome.RATE_LIMITED, Outcome.OVERLOADED, Outcome.SERVER_ERROR,
)  # fmt: skip
ANSWERED = (Outcome.SUCCESS, Outcome.TRUNCATED, Outcome.REFUSED, Outcome.CONTENT_FILTERED)


def report(
    outcome: Outcome = Outcome.ERROR,
    at: float = 0,
    *,
    decided_at: float | None = None,
    decision: str = "d",
    retry_after_s: float = 0,
) -> Report:
    decided = at if decided_at is None else decided_at
    return Report(outcome, at, decided, decision, retry_after_s)


def fed(breaker: Breaker, reports: Iterable[Report]) -> Breaker:
    for each in reports:
        breaker = after(breaker, each, POLICY)
    return breaker


OPENED = fed(NEW, [report(at=100)] * 3)
"""It opened at 100 and may be tried from 130."""


def state(breaker: Breaker, now: float) -> str:
    return breaker.state(now).value


# --- Closed ------------------------------------------------------------------------------------


def test_a_model_of_which_nothing_is_known_is_called() -> None:
    assert state(NEW, 0) == "closed"
    assert not NEW.takes_probe(0)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_a_failure_an_answer_or_says_nothing(outcome: Outcome) -> None:
    assert outcome.failed == (outcome in FAILED)
    assert outcome.answered == (outcome in ANSWERED)


@pytest.mark.parametrize("outcome", FAILED)
def test_it_opens_at_the_third_failure_in_a_row_and_not_before(outcome: Outcome) -> None:
    twice = fed(NEW, [report(outcome)] * 2)
    assert state(twice, 0) == "closed"
    thrice = fed(twice, [report(outcome, at=5)])
    assert state(thrice, 5) == "open"
    told = outcome.value.replace("_", " ")
    assert thrice.cause == f"3 failures in a row, the last: {told}"


@pytest.mark.parametrize("outcome", ANSWERED)
def test_an_answer_ends_the_row(outcome: Outcome) -> None:
    reports = [report(), report(), report(outcome), report(), report()]
    assert state(fed(NEW, reports), 0) == "closed"


def test_a_request_that_was_too_long_says_nothing_of_the_model() -> None:
    twice = fed(NEW, [report()] * 2)
    assert fed(twice, [report(Outcome.CONTEXT_OVERFLOW)]) == twice


@pytest.mark.parametrize(
    ("failures", "calls", "opens"),
    [(5, 10, True), (5, 9, False), (5, 11, False), (6, 12, True), (6, 13, False)],
)
def test_it_opens_where_half_of_at_least_ten_calls_failed(
    failures: int, calls: int, opens: bool
) -> None:
    by_rate = replace(POLICY, consecutive_failures=1_000)
    breaker = NEW
    for outcome in [Outcome.SUCCESS] * (calls - failures) + [Outcome.ERROR] * failures:
        assert state(breaker, 0) == "closed"
        breaker = after(breaker, report(outcome), by_rate)
    assert (state(breaker, 0) == "open") == opens
    if opens:
        assert breaker.cause == f"{failures} of {calls} calls failed, the last: error"


@pytest.mark.parametrize("calls", [10, 30, 70, 90])
def test_a_share_is_compared_exactly(calls: int) -> None:
    tenth = HealthPolicy(consecutive_failures=1_000, error_rate=0.1, error_rate_calls=10)
    breaker = NEW
    for _ in range(calls - calls // 10):
        breaker = after(breaker, report(Outcome.SUCCESS), tenth)
    for _ in range(calls // 10 - 1):
        breaker = after(breaker, report(), tenth)
    assert state(breaker, 0) == "closed"
    assert state(after(breaker, report(), tenth), 0) == "open"


def test_the_window_ends_exactly_after_its_length() -> None:
    first = fed(NEW, [report(Outcome.SUCCESS, at=0)])
    assert len(fed(first, [report(Outcome.SUCCESS, at=nextafter(60, 0))]).recent) == 2
    assert len(fed(first, [report(Outcome.SUCCESS, at=60)]).recent) == 1


def test_at_most_a_hundred_calls_count() -> None:
    assert len(fed(NEW, [report(Outcome.SUCCESS)] * 101).recent) == 100


@pytest.mark.parametrize("outcome", [Outcome.RATE_LIMITED, Outcome.OVERLOADED])
@pytest.mark.parametrize(("asked", "waited"), [(7, 7), (100, 100), (101, 100), (1e300, 100)])
def test_a_provider_that_asks_to_wait_is_left_alone_at_once(
    outcome: Outcome, asked: float, waited: float
) -> None:
    found = after(NEW, report(outcome, at=50, retry_after_s=asked), POLICY)
    assert found.retry_at == 50 + waited
    assert found.cause.endswith("wait asked for by the provider")


def test_other_failures_do_not_ask_to_wait() -> None:
    assert state(after(NEW, report(Outcome.ERROR, retry_after_s=9), POLICY), 0) == "closed"


# --- Open --------------------------------------------------------------------------------------


def test_it_is_left_out_for_half_a_minute_then_one_call_may_try() -> None:
    just_before = nextafter(130, 0)
    assert (state(OPENED, just_before), OPENED.takes_probe(just_before)) == ("open", False)
    assert (state(OPENED, 130), OPENED.takes_probe(130)) == ("half_open", True)


def test_one_call_at_a_time_tries_it_and_one_that_never_reports_frees_its_place() -> None:
    tried = with_probe(OPENED, "probe", 130, POLICY)
    assert not tried.takes_probe(130)
    assert not tried.takes_probe(nextafter(150, 0))
    assert tried.takes_probe(150)


@pytest.mark.parametrize("outcome", ANSWERED)
def test_an_answer_of_the_try_closes_it(outcome: Outcome) -> None:
    tried = with_probe(OPENED, "probe", 130, POLICY)
    closed = after(tried, report(outcome, at=135, decided_at=130, decision="probe"), POLICY)
    assert closed == Breaker(answered_at=135, recovered_at=135)


@pytest.mark.parametrize("outcome", FAILED)
def test_a_try_that_fails_doubles_the_wait_up_to_its_maximum(outcome: Outcome) -> None:
    breaker, waits = OPENED, []
    for number in range(4):
        now = breaker.retry_at
        tried = with_probe(breaker, "probe", now, POLICY)
        breaker = after(tried, report(outcome, at=now, decision="probe"), POLICY)
        waits.append(breaker.retry_at - now)
        assert breaker.probe is None
        assert breaker.ejections == number + 2
    assert waits == [60, 100, 100, 100]
    assert breaker.since == 100
    assert breaker.cause.startswith("7 failures in a row")


def test_a_wait_of_any_number_of_tries_is_finite() -> None:
    breaker = OPENED
    for _ in range(2_000):
        breaker = after(breaker, report(at=breaker.retry_at), POLICY)
    assert breaker.retry_at == breaker.opened_at + 100  # type: ignore[operator]


def test_a_try_that_says_nothing_of_the_model_frees_its_place() -> None:
    tried = with_probe(OPENED, "probe", 130, POLICY)
    told = report(Outcome.CONTEXT_OVERFLOW, at=131, decision="probe")
    assert after(tried, told, POLICY) == OPENED


def test_a_try_that_is_given_up_frees_its_place_and_another_call_does_not() -> None:
    tried = with_probe(OPENED, "probe", 130, POLICY)
    assert without_probe(tried, "another") is tried
    assert without_probe(tried, "probe") == OPENED
    assert without_probe(OPENED, "probe") is OPENED


def test_calls_from_before_say_nothing_of_the_model_as_it_is_now() -> None:
    tried = with_probe(OPENED, "probe", 130, POLICY)
    for outcome in Outcome:
        assert (
            after(OPENED, report(outcome, at=140, decided_at=nextafter(100, 0)), POLICY) == OPENED
        )
        assert after(tried, report(outcome, at=140, decided_at=nextafter(100, 0)), POLICY) == tried


def test_a_call_that_was_made_all_the_same_closes_it_by_an_answer() -> None:
    assert (
        state(after(OPENED, report(Outcome.SUCCESS, at=101, decided_at=100), POLICY), 101)
        == "closed"
    )


def test_a_call_that_was_made_all_the_same_prolongs_it_only_once_it_might_be_tried() -> None:
    early = report(at=131, decided_at=nextafter(130, 0))
    assert after(OPENED, early, POLICY) == OPENED
    assert after(OPENED, report(at=131, decided_at=130), POLICY).retry_at == 131 + 60


def test_failures_of_calls_from_before_it_recovered_do_not_count() -> None:
    closed = after(OPENED, report(Outcome.SUCCESS, at=140), POLICY)
    late = [report(at=150, decided_at=nextafter(140, 0))] * 5
    assert fed(closed, late) == closed
    assert state(fed(closed, [report(at=150, decided_at=140)] * 3), 150) == "open"


def test_after_it_recovered_it_waits_as_short_as_at_first() -> None:
    again = after(OPENED, report(at=130), POLICY)
    closed = after(again, report(Outcome.SUCCESS, at=200), POLICY)
    opened = fed(closed, [report(at=300)] * 3)
    assert opened.retry_at == 330


# --- Always ------------------------------------------------------------------------------------

REPORTS = st.lists(
    st.tuples(
        st.sampled_from(Outcome),
        st.floats(0, 50),  # since the report before
        st.floats(0, 200),  # since its decision
        st.sampled_from(["a", "b", "probe"]),
        st.floats(0, 300),
        st.booleans(),  # a call tries it first, if it may
    ),
    max_size=60,
)


def run(steps: list[tuple[Outcome, float, float, str, float, bool]]) -> list[tuple[float, Breaker]]:
    now, breaker, seen = 1_000.0, NEW, []
    for outcome, later, age, decision, asked, tries in steps:
        now += later
        if tries and breaker.takes_probe(now):
            breaker = with_probe(breaker, "probe", now, POLICY)
        told = report(outcome, now, decided_at=now - age, decision=decision, retry_after_s=asked)
        breaker = after(breaker, told, POLICY)
        seen.append((now, breaker))
    return seen


@given(REPORTS)
def test_whatever_is_reported_it_may_be_tried_within_the_longest_wait(
    steps: list[tuple[Outcome, float, float, str, float, bool]],
) -> None:
    for now, breaker in run(steps):
        latest = now + POLICY.max_wait_s + POLICY.probe_timeout_s
        assert breaker.state(latest) is BreakerState.CLOSED or breaker.takes_probe(latest)


@given(REPORTS)
def test_whatever_is_reported_it_never_takes_two_tries_at_once(
    steps: list[tuple[Outcome, float, float, str, float, bool]],
) -> None:
    for now, breaker in run(steps):
        if breaker.takes_probe(now):
            assert not with_probe(breaker, "x", now, POLICY).takes_probe(now)


@given(REPORTS)
def test_an_answer_to_a_call_made_now_closes_it_whatever_was_before(
    steps: list[tuple[Outcome, float, float, str, float, bool]],
) -> None:
    for now, breaker in run(steps):
        assert after(breaker, report(Outcome.SUCCESS, now), POLICY).opened_at is None


@given(REPORTS)
def test_it_opens_only_at_a_failure_and_closes_only_at_an_answer(
    steps: list[tuple[Outcome, float, float, str, float, bool]],
) -> None:
    before = NEW
    for (outcome, *_), (_, breaker) in zip(steps, run(steps), strict=True):
        if before.opened_at is None and breaker.opened_at is not None:
            assert outcome.failed
        if before.opened_at is not None and breaker.opened_at is None:
            assert outcome.answered
        before = breaker


@given(st.lists(st.sampled_from([*ANSWERED, Outcome.CONTEXT_OVERFLOW]), max_size=200))
def test_a_model_that_answers_is_never_left_out(outcomes: list[Outcome]) -> None:
    assert fed(NEW, map(report, outcomes)).opened_at is None


# --- Many that need not trust each other ----------------------------------------------------------


def vote(voter: str, outcome: Outcome = Outcome.ERROR, at: float = 0, **more: object) -> Report:
    return replace(report(outcome, at), voter=voter, **more)  # type: ignore[arg-type]


def test_a_thousand_failures_of_one_voter_count_as_one() -> None:
    flooded = fed(NEW, [vote("bad", at=at / 100) for at in range(1_000)])
    assert (flooded.failures, len(flooded.recent)) == (1, 1)
    assert state(flooded, 10) == "closed"


def test_it_opens_at_the_third_voter_in_a_row_that_fails_and_not_before() -> None:
    two = fed(NEW, [vote("a"), vote("b"), vote("a"), vote("b")])
    assert (two.failures, state(two, 0)) == (2, "closed")
    three = fed(two, [vote("c", Outcome.TIMEOUT)])
    assert state(three, 0) == "open"
    assert three.cause == "3 failures in a row, the last: timeout"


def test_the_answer_of_one_voter_ends_the_row_until_it_fails_itself() -> None:
    ended = fed(NEW, [vote("a"), vote("b", Outcome.SUCCESS), vote("c")])
    assert ended.failures == 1
    assert fed(ended, [vote("b")]).failures == 3


def test_a_voter_who_answers_and_fails_in_turn_has_one_vote_all_the_same() -> None:
    by_rate = replace(POLICY, error_rate_calls=10)
    breaker = NEW
    for at in range(100):
        outcome = Outcome.ERROR if at % 2 else Outcome.SUCCESS
        breaker = after(breaker, vote("bad", outcome, at / 10), by_rate)
    assert breaker.recent == ((9.9, True, "bad"),)
    assert breaker.opened_at is None


def test_votes_older_than_the_window_do_not_count() -> None:
    two = fed(NEW, [vote("a"), vote("b", at=1)])
    assert fed(two, [vote("c", at=nextafter(60, 0))]).opened_at is not None
    late = fed(two, [vote("c", at=60)])
    assert (late.opened_at, late.failures) == (None, 2)


def test_one_voter_alone_never_opens_it_whatever_the_thresholds() -> None:
    strictest = replace(POLICY, consecutive_failures=1, error_rate=0, error_rate_calls=1)
    one = after(NEW, vote("a"), strictest)
    assert one.opened_at is None
    assert after(one, vote("b"), strictest).opened_at == 0


def test_how_long_a_provider_asked_one_voter_to_wait_does_not_bind_the_others() -> None:
    asked = {"retry_after_s": 90}
    first = after(NEW, vote("a", Outcome.RATE_LIMITED, **asked), POLICY)
    assert first.opened_at is None
    opened = fed(first, [vote("b"), vote("c", Outcome.RATE_LIMITED, **asked)])
    assert opened.retry_at == 30


VOTED_OUT = fed(NEW, [vote(each, at=100) for each in "abc"])


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.ERROR])
def test_of_many_only_the_one_that_tries_it_is_asked(outcome: Outcome) -> None:
    tried = with_probe(VOTED_OUT, "probe", 130, POLICY)
    assert after(VOTED_OUT, vote("a", outcome, 200), POLICY) == VOTED_OUT
    assert after(tried, vote("b", outcome, 131), POLICY) == tried
    assert after(tried, vote("a", outcome, 131, decision_id="probe"), POLICY) != tried


def test_who_tried_in_vain_waits_twice_as_long_so_that_another_tries_first() -> None:
    tried = with_probe(VOTED_OUT, "probe", 130, POLICY)
    failed = after(tried, vote("bad", at=140, decision_id="probe"), POLICY)
    assert (failed.retry_at, failed.tried_by) == (200, "bad")
    assert (failed.retry_at_of("bad"), failed.retry_at_of("good"), failed.retry_at_of("")) == (
        260,
        200,
        200,
    )
    assert not failed.takes_probe(nextafter(260, 0), "bad")
    assert failed.takes_probe(260, "bad")
    assert failed.takes_probe(200, "good")
    again = after(
        with_probe(failed, "second", 200, POLICY),
        vote("good", Outcome.SUCCESS, 205, decision_id="second"),
        POLICY,
    )
    assert again == Breaker(answered_at=205, recovered_at=205)


def test_who_opened_it_may_be_the_first_to_try() -> None:
    assert VOTED_OUT.tried_by == ""
    assert all(VOTED_OUT.takes_probe(130, voter) for voter in "abc")


@given(st.lists(st.tuples(st.sampled_from(Outcome), st.floats(0, 50), st.floats(0, 300))))
def test_no_flood_of_one_voter_opens_it(steps: list[tuple[Outcome, float, float]]) -> None:
    now, breaker = 0.0, NEW
    for outcome, later, asked in steps:
        now += later
        breaker = after(breaker, vote("bad", outcome, now, retry_after_s=asked), POLICY)
        assert breaker.opened_at is None


@pytest.mark.parametrize(("voter", "until", "again"), [("", 150.0, NEVER), ("bad", 150.0, 170.0)])
def test_a_try_of_one_of_many_blocks_its_voter_for_twice_the_time(
    voter: str, until: float, again: float
) -> None:
    tried = with_probe(VOTED_OUT, "probe", 130, POLICY, voter)
    assert tried.probe == Probe("probe", until, voter, again)
    assert not tried.takes_probe(nextafter(until, 0), "good")
    assert tried.takes_probe(until, "good")
    assert tried.takes_probe(until)
    if voter:
        assert not tried.takes_probe(nextafter(again, 0), voter)
        assert tried.takes_probe(again, voter)


def test_a_try_that_one_of_many_gives_up_frees_its_place_for_the_others_alone() -> None:
    tried = with_probe(VOTED_OUT, "probe", 130, POLICY, "bad")
    assert without_probe(tried, "another") is tried
    given_up = without_probe(tried, "probe")
    assert given_up.probe == Probe("probe", 0.0, "bad", 170.0)
    assert given_up.takes_probe(130, "good")
    assert not given_up.takes_probe(nextafter(170, 0), "bad")
    # Its report still counts.
    told = vote("bad", Outcome.SUCCESS, 140, decision_id="probe")
    assert after(given_up, told, POLICY).opened_at is None


def test_only_a_voter_who_has_tried_waits_for_others() -> None:
    assert not VOTED_OUT.waits_for_others("bad")
    tried = with_probe(VOTED_OUT, "probe", 130, POLICY, "bad")
    assert (tried.waits_for_others("bad"), tried.waits_for_others("good")) == (True, False)
    failed = after(tried, vote("bad", at=140, decision_id="probe"), POLICY)
    assert failed.probe is None
    assert (failed.waits_for_others("bad"), failed.waits_for_others("good")) == (True, False)
    other = with_probe(failed, "second", 200, POLICY, "good")
    assert all(other.waits_for_others(each) for each in ("bad", "good"))


def test_failures_in_a_row_of_one_caller_count_however_far_apart() -> None:
    rare = [report(at=1_000.0 * number) for number in range(3)]
    assert [fed(NEW, rare[:count]).failures for count in (1, 2, 3)] == [1, 2, 3]
    assert fed(NEW, rare).opened_at == 2_000


def test_an_answer_leaves_no_failure() -> None:
    assert fed(NEW, [report(), report(Outcome.SUCCESS)]).failures == 0


def test_a_wait_of_less_than_a_second_is_respected() -> None:
    assert after(NEW, report(Outcome.RATE_LIMITED, retry_after_s=0.5), POLICY).retry_at == 0.5


def test_without_settings_a_model_is_left_out_as_the_pages_say() -> None:
    assert HealthPolicy() == HealthPolicy(
        consecutive_failures=5,
        error_rate=0.5,
        error_rate_calls=20,
        window_s=60,
        wait_s=30,
        max_wait_s=600,
        probe_timeout_s=120,
        max_ejected_share=0.7,
    )
    assert Report(Outcome.ERROR, 0, 0, "d").retry_after_s == 0


def test_a_model_that_is_not_half_open_takes_no_try() -> None:
    assert NEW.takes_probe(0) is False
    assert OPENED.takes_probe(100) is False
