"""What every store promises of tasks: one hold for an agent run, which its turns draw from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.core.errors import Conflict, InvalidInput, NotFound, NotPossible
from router.core.limits import Amounts, Obstacle, Unit, Window
from router.ledger.base import Amendment, Granted, HoldState, Ledger, Repeated, SettleResult
from router.ledger.check import check
from tests.router.ledger.builders import (
    START,
    ManualClock,
    balance,
    hold,
    left,
    limit,
    refused,
    report,
    task,
)


@pytest.fixture(autouse=True)
def the_books_are_right_in_the_end(store: Ledger) -> object:
    yield
    assert check(store).violations == []  # type: ignore[arg-type]


def granted(result: object) -> None:
    assert isinstance(result, Granted), result


def test_a_task_holds_its_cap_and_shows_what_it_is(store: Ledger, clock: ManualClock) -> None:
    store.set_limit(limit(hard=100))
    granted(store.hold(task("t", 60, ttl_s=600, team="search")))
    assert balance(store) == (0, 60)
    found = store.task("t")
    assert found is not None
    assert (found.id, found.state, found.cap, found.left) == ("t", HoldState.HELD, 60, 60)
    assert (found.turns, found.held, found.spent) == (0, 0, 0)
    assert found.labels == {"tenant": "acme", "team": "search"}
    assert (found.created - START).total_seconds() < 1
    assert (found.expires - found.created).total_seconds() == 600
    assert store.task("nobody's") is None


def test_a_task_is_no_decision(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60))
    store.hold(hold("a", 10, task="t"))
    assert store.decision("t") is None
    assert [made.id for made in store.decisions()] == ["a"]
    assert [made.id for made in store.decisions(state=HoldState.HELD)] == ["a"]
    assert [totals.decisions for _, _, totals in store.totals()] == [1]
    for wrong in (
        lambda: store.settle(report("t", 5)),
        lambda: store.release("t", "acme"),
        lambda: store.amend(Amendment("t", "body", "acme", 1, None, "a slip")),
        lambda: store.hold(hold("b", 5, replaces="t")),
    ):
        with pytest.raises(NotFound, match="no decision 't'"):
            wrong()
    assert store.owner("t") == "acme"


def test_a_turn_names_its_task(store: Ledger) -> None:
    store.hold(task("t"))
    store.hold(hold("a", 10, task="t"))
    store.hold(hold("b", 10))
    assert [(made.id, made.task) for made in store.decisions()] == [("a", "t"), ("b", None)]


def test_open_holds_count_the_rest_of_a_task(store: Ledger) -> None:
    store.hold(task("t", 60))
    store.hold(hold("a", 10, task="t"))
    store.hold(hold("b", 5))
    assert store.open_holds() == (3, 65)


def test_a_turn_draws_its_hold_from_the_task_and_limits_see_no_change(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60))
    granted(store.hold(hold("a", 25, task="t")))
    assert balance(store) == (0, 60)
    assert left(store) == 35
    granted(store.hold(hold("b", 35, task="t")))
    assert (balance(store), left(store)) == ((0, 60), 0)


def test_what_a_task_holds_is_there_for_its_turns_when_others_have_used_up_the_budget(
    store: Ledger,
) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60))
    granted(store.hold(hold("other", 40)))
    assert refused(store.hold(hold("another", 1))) == ("budget", Obstacle.WAIT_FOR_HOLDS)
    granted(store.hold(hold("a", 60, task="t")))
    assert balance(store) == (0, 100)


def test_a_limit_that_is_lowered_meanwhile_does_not_stop_the_turns(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60))
    store.set_limit(limit(hard=10))
    granted(store.hold(hold("a", 60, task="t")))
    store.settle(report("a", 60))
    assert balance(store) == (60, 0)


def test_a_turn_that_does_not_fit_the_cap_is_refused_by_its_name(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60))
    store.hold(hold("a", 25, task="t"))
    assert refused(store.hold(hold("b", 36, task="t"))) == ("task t", Obstacle.EXHAUSTED)
    assert refused(store.hold(hold("b", 61, task="t"))) == ("task t", Obstacle.NEVER_FITS)
    assert (balance(store), left(store)) == ((0, 60), 35)
    granted(store.hold(hold("b", 35, task="t")))


def test_what_a_turn_did_not_use_goes_back_to_the_task(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60))
    store.hold(hold("a", 25, task="t"))
    assert store.settle(report("a", 10)) == SettleResult(overage=0, late=False, repeated=False)
    assert (balance(store), left(store)) == ((10, 50), 50)
    found = store.task("t")
    assert found is not None
    assert (found.turns, found.held, found.spent) == (1, 0, 10)


def test_what_a_turn_had_too_little_is_drawn_from_the_task(store: Ledger) -> None:
    store.set_limit(limit(hard=60))
    store.hold(task("t", 60))
    store.hold(hold("a", 25, task="t"))
    assert store.settle(report("a", 40)) == SettleResult(overage=0, late=False, repeated=False)
    assert (balance(store), left(store)) == ((40, 20), 20)


def test_only_what_the_task_cannot_give_is_overage(store: Ledger) -> None:
    store.set_limit(limit(hard=60))
    store.hold(task("t", 60))
    store.hold(hold("a", 25, task="t"))
    assert store.settle(report("a", 61)) == SettleResult(overage=1, late=False, repeated=False)
    assert (balance(store), left(store)) == ((61, 0), 0)
    assert store.settle(report("a", 61)) == SettleResult(overage=1, late=False, repeated=True)
    assert (balance(store), left(store)) == ((61, 0), 0)


def test_a_released_turn_gives_everything_back_to_the_task(store: Ledger) -> None:
    store.set_limit(limit(hard=60))
    store.hold(task("t", 60))
    store.hold(hold("a", 25, task="t"))
    assert store.release("a", "acme") is True
    assert (balance(store), left(store)) == ((0, 60), 60)
    assert store.release("a", "acme") is False
    assert left(store) == 60
    found = store.task("t")
    assert found is not None
    assert found.turns == 0


def test_a_turn_that_expires_gives_everything_back_and_its_late_report_draws_again(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=60))
    store.hold(task("t", 60))
    store.hold(hold("a", 25, ttl_s=10, task="t"))
    clock.advance(seconds=11)
    assert store.expire() == 1
    assert (balance(store), left(store)) == ((0, 60), 60)
    assert store.settle(report("a", 20)) == SettleResult(overage=0, late=True, repeated=False)
    assert (balance(store), left(store)) == ((20, 40), 40)


def test_a_turn_that_only_asked_for_a_quote_draws_when_it_is_settled(store: Ledger) -> None:
    store.set_limit(limit(hard=60))
    store.hold(task("t", 60))
    granted(store.hold(hold("a", None, task="t")))
    assert left(store) == 60
    assert store.settle(report("a", 20)) == SettleResult(overage=0, late=False, repeated=False)
    assert (balance(store), left(store)) == ((20, 40), 40)


def test_ending_a_task_frees_what_is_left_and_open_turns_keep_their_holds(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60))
    store.hold(hold("a", 25, task="t"))
    assert store.end_task("t", "acme") is True
    assert balance(store) == (0, 25)
    assert store.end_task("t", "acme") is False
    assert balance(store) == (0, 25)
    found = store.task("t")
    assert found is not None
    assert (found.state, found.left) == (HoldState.RELEASED, 35)
    # Then it is a decision like any other: what it did not use is free for all.
    store.settle(report("a", 20))
    assert balance(store) == (20, 0)
    assert left(store) == 35


def test_a_task_expires_and_frees_what_is_left(store: Ledger, clock: ManualClock) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60, ttl_s=100))
    store.hold(hold("a", 25, ttl_s=1000, task="t"))
    clock.advance(seconds=99)
    assert (store.expire(), balance(store)) == (0, (0, 60))
    clock.advance(seconds=2)
    assert balance(store) == (0, 25)
    assert store.settle(report("a", 30)).overage == 5
    assert balance(store) == (30, 0)


@pytest.mark.parametrize("how", ["ended", "expired"])
def test_a_task_that_is_over_takes_no_turn(store: Ledger, clock: ManualClock, how: str) -> None:
    store.hold(task("t", ttl_s=100))
    before = hold("before", 10, task="t")
    store.hold(before)
    if how == "ended":
        store.end_task("t", "acme")
    else:
        clock.advance(seconds=101)
    with pytest.raises(NotPossible, match=f"task 't' (was|has) {how}; begin a new one") as caught:
        store.hold(hold("a", 10, task="t"))
    assert caught.value.reason == f"TASK_{how.upper()}"
    assert caught.value.field == "task_id"
    # A repeated request gets its reply all the same.
    assert store.hold(before) == Repeated(b"reply to before")


def test_a_task_that_nobody_began_takes_no_turn(store: Ledger) -> None:
    store.hold(hold("a decision", 10))
    for name in ("t", "a decision"):
        with pytest.raises(NotFound, match="there is no task") as caught:
            store.hold(hold("a", 10, task=name))
        assert caught.value.reason == "TASK_NOT_FOUND"
        with pytest.raises(NotFound, match="there is no task"):
            store.end_task(name, "acme")


def test_the_task_of_another_tenant_does_not_exist(store: Ledger) -> None:
    store.hold(task("t"))
    with pytest.raises(NotFound, match="there is no task"):
        store.hold(replace(hold("a", 10, task="t"), labels={"tenant": "rival"}))
    with pytest.raises(NotFound, match="there is no task"):
        store.end_task("t", "rival")
    assert left(store) == 50


def test_a_repeated_task_gets_the_same_reply_and_another_one_is_a_conflict(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60))
    assert store.hold(task("t", 60)) == Repeated(b"reply to t")
    assert balance(store) == (0, 60)
    with pytest.raises(Conflict):
        store.hold(task("t", 60, body="another"))


def test_a_cap_above_what_a_limit_leaves_is_refused(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    assert refused(store.hold(task("t", 101))) == ("budget", Obstacle.NEVER_FITS)
    store.hold(hold("other", 41))
    assert refused(store.hold(task("t", 60))) == ("budget", Obstacle.WAIT_FOR_HOLDS)
    assert store.task("t") is None
    granted(store.hold(task("t", 59)))


@pytest.mark.parametrize(
    "amounts",
    [None, Amounts(0, 0, 0, 0), Amounts(5, 1, 0, 0), Amounts(5, 0, 1, 0), Amounts(5, 0, 0, 1)],
)
def test_a_task_holds_money_alone(store: Ledger, amounts: Amounts | None) -> None:
    with pytest.raises(InvalidInput, match="a task holds money alone"):
        store.hold(replace(task("t"), amounts=amounts))


def test_limits_of_tokens_and_requests_count_turns_and_not_the_task(store: Ledger) -> None:
    store.set_limit(limit("tokens", 10, unit=Unit.TOKENS))
    store.set_limit(limit("requests", 2, unit=Unit.REQUESTS))
    store.hold(task("t", 60))
    assert (balance(store, "tokens"), balance(store, "requests")) == ((0, 0), (0, 0))
    granted(store.hold(hold("a", 5, tokens=6, task="t")))
    assert (balance(store, "tokens"), balance(store, "requests")) == ((0, 6), (0, 1))
    assert refused(store.hold(hold("b", 5, tokens=5, task="t")))[0] == "tokens"
    assert left(store) == 55


def test_a_limit_that_the_task_does_not_hold_is_checked_for_each_turn(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.set_limit(limit("large", 30, scope={"model": "large"}))
    store.hold(task("t", 60))
    granted(store.hold(hold("a", 30, task="t", model="large")))
    assert refused(store.hold(hold("b", 1, task="t", model="large")))[0] == "large"
    granted(store.hold(hold("b", 1, task="t", model="small")))
    assert (balance(store), balance(store, "large", model="large")) == ((0, 60), (0, 30))
    # The task covers what is too little on its own balances, and on no other.
    assert store.settle(report("a", 40)).overage == 0
    assert (balance(store), balance(store, "large", model="large")) == ((40, 20), (40, 0))


def test_a_turn_counts_in_the_period_in_which_its_task_began(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=100, window=Window.HOUR))
    store.hold(task("t", 60, ttl_s=2 * 3600))
    clock.advance(hours=1)
    granted(store.hold(hold("other", 100)))
    granted(store.hold(hold("a", 60, task="t")))
    store.settle(report("a", 60))
    assert balance(store) == (0, 100)


def test_a_deleted_limit_does_not_disturb_the_turns(store: Ledger) -> None:
    store.set_limit(limit(hard=60))
    store.hold(task("t", 60))
    store.hold(hold("a", 20, task="t"))
    store.delete_limit("budget")
    store.hold(hold("b", 20, task="t"))
    store.set_limit(limit(hard=60))
    assert balance(store) == (0, 60)
    store.settle(report("a", 5))
    store.settle(report("b", 25))
    assert (balance(store), left(store)) == ((30, 30), 30)


def test_a_new_choice_moves_the_hold_of_a_turn_within_its_task(store: Ledger) -> None:
    store.set_limit(limit(hard=60))
    store.hold(task("t", 60))
    store.hold(hold("a", 50, task="t"))
    assert refused(store.hold(hold("b", 61, task="t", replaces="a"))) == (
        "task t",
        Obstacle.NEVER_FITS,
    )
    granted(store.hold(hold("b", 60, task="t", replaces="a")))
    assert (balance(store), left(store)) == ((0, 60), 0)


def test_a_new_choice_stays_in_its_task(store: Ledger) -> None:
    store.hold(task("t"))
    store.hold(task("u"))
    store.hold(hold("a", 10, task="t"))
    for other in (None, "u"):
        with pytest.raises(NotPossible, match="is a turn of task 't'") as caught:
            store.hold(hold("b", 10, task=other, replaces="a"))
        assert caught.value.reason == "OTHER_TASK"
    store.end_task("t", "acme")
    granted(store.hold(hold("b", 10, replaces="a")))


def test_an_amendment_leaves_the_task_as_it_is(store: Ledger) -> None:
    store.set_limit(limit(hard=60))
    store.hold(task("t", 60))
    store.hold(hold("a", 10, task="t"))
    store.settle(report("a", 30))
    amended = store.amend(Amendment("a", "body", "acme", 35, None, "the bill says so"))
    assert (amended.overage, balance(store), left(store)) == (5, (35, 30), 30)
    amended = store.amend(Amendment("a", "again", "acme", 20, None, "no, it does not"))
    assert (amended.overage, balance(store), left(store)) == (0, (20, 30), 30)


def test_an_amendment_knows_on_which_balances_the_task_gave_more(store: Ledger) -> None:
    store.set_limit(limit(hard=60))
    store.set_limit(limit("large", 100, scope={"model": "large"}))
    store.hold(task("t", 60))
    store.hold(hold("a", 10, task="t", model="large"))
    store.settle(report("a", 30))
    amended = store.amend(Amendment("a", "body", "acme", 29, None, "a slip"))
    assert (amended.overage, balance(store), left(store)) == (0, (29, 30), 30)
    assert balance(store, "large", model="large") == (29, 0)


def test_a_turn_that_replaces_one_of_another_task_that_is_over_gets_nothing_of_it(
    store: Ledger,
) -> None:
    store.hold(task("over", 60))
    store.hold(hold("a", 50, task="over"))
    store.end_task("over", "acme")
    store.hold(task("t", 20))
    assert refused(store.hold(hold("b", 21, task="t", replaces="a")))[0] == "task t"
    granted(store.hold(hold("b", 20, task="t", replaces="a")))
    assert (left(store), left(store, "over")) == (0, 10)


def test_the_newest_tasks_come_first(store: Ledger, clock: ManualClock) -> None:
    for name, team in (("a", "red"), ("b", "blue"), ("c", "red")):
        store.hold(task(name, team=team))
    store.end_task("a", "acme")
    assert [made.id for made in store.tasks()] == ["c", "b", "a"]
    assert [made.id for made in store.tasks(count=2)] == ["c", "b"]
    assert [made.id for made in store.tasks(labels={"team": "red"})] == ["c", "a"]
    assert [made.id for made in store.tasks(state=HoldState.HELD)] == ["c", "b"]
    assert [made.id for made in store.tasks(labels={"team": "none"})] == []
    with pytest.raises(InvalidInput, match="count"):
        store.tasks(count=0)


def test_erasing_takes_tasks_that_are_over_and_leaves_open_ones(store: Ledger) -> None:
    store.set_limit(limit(hard=200))
    for name in ("over", "open"):
        store.hold(task(name, 60))
        store.hold(hold(f"turn of {name}", 10, task=name))
        store.settle(report(f"turn of {name}", 15))
    store.hold(hold("still held", 10, task="over"))
    store.end_task("over", "acme")
    assert store.erase({}, START.replace(year=2100)) == 3
    assert [made.id for made in store.tasks()] == ["open"]
    assert (balance(store), left(store, "open")) == ((30, 55), 45)
    store.settle(report("still held", 12))
    assert balance(store) == (42, 45)
    store.amend(Amendment("still held", "body", "acme", 11, None, "a slip"))
    assert balance(store) == (41, 45)


def test_a_task_and_its_turns_that_expire_at_once_free_everything(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=100))
    store.hold(task("t", 60, ttl_s=10))
    store.hold(hold("a", 10, ttl_s=10, task="t"))
    store.hold(hold("b", 10, ttl_s=5, task="t"))
    clock.advance(seconds=11)
    assert store.expire() == 3
    assert balance(store) == (0, 0)
