from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.core.limits import (
    Amounts,
    Limit,
    LimitState,
    Obstacle,
    Period,
    Unit,
    Window,
    balance_key,
    find_obstacle,
    pace_relaxation,
    period_of,
)

HOUR = timedelta(hours=1)


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


def local(period: Period, zone: str) -> tuple[str, str]:
    """Both ends on the wall clock."""
    return tuple(  # type: ignore[return-value]
        end.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")
        for end in (period.start, period.end)
    )


@pytest.mark.parametrize(
    ("window", "zone", "moment", "start", "end"),
    [
        (Window.DAY, "Asia/Tokyo", "2026-11-23 00:00", "2026-11-23 00:00", "2026-11-24 00:00"),
        (Window.MONTH, "Asia/Tokyo", "2026-11-30 23:59", "2026-11-01 00:00", "2026-12-01 00:00"),
        (Window.MONTH, "Asia/Tokyo", "2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"),
        (Window.MONTH, "UTC", "2028-02-29 12:00", "2028-02-01 00:00", "2028-03-01 00:00"),
        (Window.DAY, "UTC", "2028-02-29 12:00", "2028-02-29 00:00", "2028-03-01 00:00"),
        (Window.MONTH, "UTC", "2027-02-28 12:00", "2027-02-01 00:00", "2027-03-01 00:00"),
        (Window.MONTH, "UTC", "2027-01-31 12:00", "2027-01-01 00:00", "2027-02-01 00:00"),
        # 1 January 2027 is a Friday: its ISO week began in December.
        (Window.WEEK, "UTC", "2027-01-01 12:00", "2026-12-28 00:00", "2027-01-04 00:00"),
        (Window.WEEK, "Asia/Tokyo", "2026-11-23 00:00", "2026-11-23 00:00", "2026-11-30 00:00"),
        (Window.HOUR, "Asia/Kolkata", "2026-11-23 10:59", "2026-11-23 10:00", "2026-11-23 11:00"),
        (Window.HOUR, "Asia/Kathmandu", "2026-11-23 10:15", "2026-11-23 10:00", "2026-11-23 11:00"),
        (Window.MINUTE, "Asia/Kolkata", "2026-11-23 10:59", "2026-11-23 10:59", "2026-11-23 11:00"),
        (Window.WEEK, "America/New_York", "2026-11-01 12:00", "2026-10-26 00:00", "2026-11-02 00:00"),
    ],
)  # fmt: skip
def test_periods_of_the_calendar(
    window: Window, zone: str, moment: str, start: str, end: str
) -> None:
    assert local(period_of(window, zone, at(moment, zone)), zone) == (start, end)


def test_the_same_moment_lies_in_different_months_of_different_zones() -> None:
    moment = at("2026-11-30 15:00")
    assert period_of(Window.MONTH, "Asia/Tokyo", moment).start == moment
    assert period_of(Window.MONTH, "UTC", moment).start == at("2026-11-01 00:00")


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25)])
def test_days_on_which_new_york_changes_its_clocks(day: str, hours: int) -> None:
    zone = "America/New_York"
    period = period_of(Window.DAY, zone, at(f"{day} 12:00", zone))
    assert period.end - period.start == hours * HOUR
    assert local(period, zone)[0] == f"{day} 00:00"


def test_a_month_with_a_change_of_clocks_ends_at_local_midnight() -> None:
    period = period_of(Window.MONTH, "America/New_York", at("2026-11-15 12:00", "America/New_York"))
    assert period == Period(at("2026-11-01 04:00"), at("2026-12-01 05:00"))


def test_the_repeated_hour_is_two_hours() -> None:
    zone = "America/New_York"
    first, second = (
        period_of(Window.HOUR, zone, at("2026-11-01 01:30", zone, fold)) for fold in (0, 1)
    )
    assert first == Period(at("2026-11-01 05:00"), at("2026-11-01 06:00"))
    assert second == Period(at("2026-11-01 06:00"), at("2026-11-01 07:00"))


def test_where_clocks_move_by_half_an_hour_the_hour_is_cut() -> None:
    zone = "Australia/Lord_Howe"  # 2026-04-05: at 02:00 (+11:00) back to 01:30 (+10:30)
    first, second = (
        period_of(Window.HOUR, zone, at("2026-04-05 01:45", zone, fold)) for fold in (0, 1)
    )
    assert first == Period(at("2026-04-04 14:00"), at("2026-04-04 15:00"))
    assert second == Period(at("2026-04-04 15:00"), at("2026-04-04 15:30"))


@pytest.mark.parametrize(
    ("zone", "moments", "cuts"),
    [
        # 2026-04-05: at 03:45 (+13:45) back to 02:45 (+12:45). 03 o'clock is 45 minutes, then a quarter
        # of an hour until 03:00, then 03 o'clock again, whole.
        ("Pacific/Chatham", "2026-04-04", ["13:15", "14:00", "14:15", "15:15"]),
        # 2026-09-27: at 02:45 (+12:45) on to 03:45 (+13:45).
        ("Pacific/Chatham", "2026-09-26", ["13:15", "14:00", "14:15", "15:15"]),
        # 2026-04-05: at 02:00 (+11:00) back to 01:30 (+10:30).
        ("Australia/Lord_Howe", "2026-04-04", ["14:00", "15:00", "15:30", "16:30"]),
        # 2026-10-04: at 02:00 (+10:30) on to 02:30 (+11:00).
        ("Australia/Lord_Howe", "2026-10-03", ["14:30", "15:30", "16:00", "17:00"]),
        # No change of clocks: hours begin on the wall's clock, not on the hour of UTC.
        ("Pacific/Chatham", "2026-06-01", ["13:15", "14:15", "15:15"]),
        ("Asia/Kathmandu", "2026-06-01", ["13:15", "14:15", "15:15"]),
        ("Asia/Kolkata", "2026-06-01", ["13:30", "14:30", "15:30"]),
    ],
)  # fmt: skip
def test_hours_end_on_the_wall_clock_and_where_it_is_moved(
    zone: str, moments: str, cuts: list[str]
) -> None:
    times = [at(f"{moments} {cut}") for cut in cuts]
    for start, end in pairwise(times):
        for moment in (start, start + timedelta(minutes=7), end - timedelta(microseconds=1)):
            assert period_of(Window.HOUR, zone, moment) == Period(start, end)


@pytest.mark.parametrize("zone", ["Pacific/Chatham", "Australia/Lord_Howe", "UTC"])
def test_a_minute_is_a_minute_wherever_clocks_are_moved(zone: str) -> None:
    start = at("2026-04-04 14:00")
    for moment in (start, start + timedelta(seconds=59, microseconds=999_999)):
        assert period_of(Window.MINUTE, zone, moment) == Period(start, start + timedelta(minutes=1))


def test_a_total_runs_from_1970_to_the_year_9999() -> None:
    whole = period_of(Window.TOTAL, "UTC", at("2026-01-01 00:00"))
    assert whole == Period(at("1970-01-01 00:00"), at("9999-01-01 00:00"))
    assert whole.key == 0
    assert period_of(Window.MINUTE, "UTC", at("1970-01-01 00:01:30")).key == 60


def test_a_total_never_ends() -> None:
    assert (
        period_of(Window.TOTAL, "UTC", at("2026-01-01 00:00")).key
        == period_of(Window.TOTAL, "Asia/Tokyo", at("2090-01-01 00:00")).key
    )


zones = st.sampled_from(
    ["UTC", "Asia/Tokyo", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe",
     "America/Havana", "Africa/Cairo", "Pacific/Chatham", "America/St_Johns", "Asia/Beirut",
     "Africa/Casablanca", "Europe/Dublin", "Pacific/Apia", "America/Santiago"]
)  # fmt: skip
moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)).map(
    lambda naive: naive.replace(tzinfo=UTC)
)


@given(st.sampled_from(Window), zones, moments)
@example(Window.HOUR, "Australia/Lord_Howe", at("2026-04-04 15:15"))
@example(Window.HOUR, "Australia/Lord_Howe", at("2026-10-03 15:45"))
@example(Window.DAY, "America/Havana", at("2026-11-01 05:30"))
@example(Window.HOUR, "America/New_York", at("2026-11-01 06:30"))
def test_every_moment_lies_in_its_period_and_periods_tile(
    window: Window, zone: str, moment: datetime
) -> None:
    period = period_of(window, zone, moment)
    assert period.start <= moment < period.end
    last = period.end - timedelta(microseconds=1)
    assert period_of(window, zone, period.start) == period
    assert period_of(window, zone, last) == period
    if window is not Window.TOTAL:
        before = period_of(window, zone, period.start - timedelta(microseconds=1))
        assert before.end == period.start
        assert period_of(window, zone, period.end).start == period.end


# ── which balance ─────────────────────────────────────────────────────────────────────────────────


def made(scope: dict[str, str], **changes: object) -> Limit:
    values = {"unit": Unit.MONEY, "window": Window.MONTH, **changes}
    return Limit("budget", scope, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scope", "labels", "key"),
    [
        ({}, {"user": "ann"}, ""),
        ({"user": "ann"}, {"user": "ann", "team": "blue"}, ""),
        ({"user": "ann"}, {"user": "bob"}, None),
        ({"user": "*"}, {"user": "ann"}, "user=ann"),
        ({"user": "*"}, {"team": "blue"}, None),
        ({"user": "*", "team": "*"}, {"user": "ann", "team": "blue"}, "team=blue&user=ann"),
        ({"user": "*", "team": "blue"}, {"user": "ann", "team": "blue"}, "user=ann"),
        ({"user": "*"}, {"user": ""}, "user="),
    ],
)
def test_which_balance_labels_count_on(
    scope: dict[str, str], labels: dict[str, str], key: str | None
) -> None:
    assert balance_key(made(scope), labels) == key


texts = st.text(st.sampled_from("ab&=%25"), max_size=6)


@given(st.tuples(texts, texts), st.tuples(texts, texts))
def test_different_values_have_different_balances(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    keys = [balance_key(made({"a": "*", "b": "*"}), {"a": a, "b": b}) for a, b in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


# ── what stands in the way, and pacing ────────────────────────────────────────────────────────────


def state(spent: int = 0, held: int = 0, **changes: object) -> LimitState:
    limit = made({}, hard=changes.pop("hard", 100), **changes)
    return LimitState(
        limit, "", Period(at("2026-11-01 00:00"), at("2026-12-01 00:00")), spent, held
    )


@pytest.mark.parametrize(
    ("spent", "held", "hard", "amount", "why"),
    [
        (0, 0, 100, 100, None),
        (0, 0, 100, 101, Obstacle.NEVER_FITS),
        (0, 1, 100, 100, Obstacle.WAIT_FOR_HOLDS),
        (1, 0, 100, 100, Obstacle.EXHAUSTED),
        (0, 50, 100, 51, Obstacle.WAIT_FOR_HOLDS),
        (50, 0, 100, 51, Obstacle.EXHAUSTED),
        (50, 50, 100, 0, None),
        (50, 50, 100, 50, Obstacle.WAIT_FOR_HOLDS),
        (150, 0, 100, 0, Obstacle.EXHAUSTED),
        (0, 0, 0, 0, None),
        (0, 0, 0, 1, Obstacle.NEVER_FITS),
        (10**15, 10**15, None, 10**15, None),
    ],
)
def test_what_stands_in_the_way(
    spent: int, held: int, hard: int | None, amount: int, why: Obstacle | None
) -> None:
    assert find_obstacle(state(spent, held, hard=hard), amount) is why


def test_remaining_is_never_negative() -> None:
    assert state(70, 20).remaining == 10
    assert state(130).remaining == 0
    assert state(hard=None).remaining is None


def test_soft_values_are_passed_not_reached() -> None:
    assert not state(40, 10, soft=60).passes_soft(10)
    assert state(40, 10, soft=60).passes_soft(11)
    assert not state(10**6, hard=None).passes_soft(1)


def test_amounts_by_unit() -> None:
    assert [Amounts(5, 7, 2, 3).of(unit) for unit in Unit] == [5, 7, 2, 3]
    assert Amounts(5, 7) == Amounts(5, 7, requests=1, concurrent=1)


@pytest.mark.parametrize(
    ("spent", "day", "relaxation"),
    [
        (0, 1, 0.0),
        (50, 16, 0.5),  # on the line: half way between 80 % and 120 %
        (40, 16, 0.0),
        (60, 16, 1.0),
        (99, 16, 1.0),
        (80, 30.999, 0.0),
        (100, 31, 0.5),
        (1, 1, 0.5),  # the line starts at a hundredth
        (100, 34, 0.5),  # beyond its end the line goes no further
        (1, -3, 0.5),
    ],
)
def test_pacing_follows_the_calendar(spent: int, day: float, relaxation: float) -> None:
    moment = at("2026-11-01 00:00") + timedelta(days=day - 1)
    assert pace_relaxation(state(spent, paced=True), moment) == pytest.approx(relaxation, abs=1e-4)


def test_a_limit_paces_nothing_unless_it_says_so() -> None:
    assert pace_relaxation(state(100), at("2026-11-02 00:00")) == 0.0


@pytest.mark.parametrize(
    "changes", [{"paced": False}, {"hard": None}, {"window": Window.TOTAL}, {"hard": 0}]
)
def test_what_is_not_paced(changes: dict[str, object]) -> None:
    paced = state(1_000, **{"paced": True, **changes})
    assert pace_relaxation(paced, at("2026-11-02 00:00")) == 0.0


def test_held_money_counts_and_the_soft_value_is_the_goal_of_pacing() -> None:
    moment = at("2026-11-16 00:00")
    assert pace_relaxation(state(20, 30, paced=True), moment) == pytest.approx(0.5)
    assert pace_relaxation(state(20, 30, soft=50, paced=True), moment) == 1.0
