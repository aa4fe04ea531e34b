"""Limits: one primitive for budgets, quotas and rates. Windows from the time zone database.

A limit is (scope, unit, window, soft, hard). A monthly budget of a team, a tokens-per-minute quota of a
model and a user's request rate are the same thing with other values. Everything here is pure: the
moment comes in, and a period comes out.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

__all__ = [
    "ANY",
    "Amounts",
    "Limit",
    "LimitState",
    "Obstacle",
    "Period",
    "SoftAction",
    "Unit",
    "Window",
    "balance_key",
    "obstacle",
    "pace_relaxation",
    "period_of",
]

ANY = "*"
"""A scope value that stands for each value of its label: every one has a balance of its own."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


class Unit(enum.Enum):
    """What a limit counts."""

    MONEY = "money"
    """Nano-dollars."""
    TOKENS = "tokens"
    """Input and output tokens together."""
    REQUESTS = "requests"
    """Decisions."""
    CONCURRENT = "concurrent"
    """Decisions that are held now; settling gives them back. Its window is ``total``."""


class Window(enum.Enum):
    """How long a balance runs before the next one begins at zero."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    """ISO: begins on Monday."""
    MONTH = "month"
    """Of the calendar."""
    TOTAL = "total"
    """Never ends."""


class SoftAction(enum.Enum):
    """What happens once a decision would pass the soft value."""

    WARN = "warn"
    PREFER_CHEAPER = "prefer_cheaper"
    FORBID_TOP_TIER = "forbid_top_tier"
    DEFER_BATCH = "defer_batch"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit.

    Attributes:
        id: its name, unique.
        scope: labels that a decision must carry for the limit to apply, ``model`` and ``provider``
            among them; empty applies to everything; :data:`ANY` counts each value for itself.
        unit: what is counted.
        window: when counting starts anew.
        time_zone: IANA name; says when days, weeks and months begin.
        soft: from here on ``on_soft`` happens; ``None`` for never.
        hard: never exceeded; 0 means nothing at all; ``None`` for no hard value.
        on_soft: what passing the soft value does.
        paced: whether spend should follow the calendar of the window.
    """

    id: str
    scope: Mapping[str, str]
    unit: Unit
    window: Window
    time_zone: str = "UTC"
    soft: int | None = None
    hard: int | None = None
    on_soft: SoftAction = SoftAction.WARN
    paced: bool = False


@dataclass(frozen=True, slots=True)
class Period:
    """One window of a limit: from ``start`` (inclusive) to ``end`` (exclusive), both in UTC."""

    start: datetime
    end: datetime

    @property
    def key(self) -> int:
        """Identity within a limit: the start in seconds since 1970."""
        return int((self.start - _EPOCH).total_seconds())


def period_of(window: Window, time_zone: str, moment: datetime) -> Period:
    """The period that a moment falls into.

    Args:
        window: its kind.
        time_zone: IANA name; days of 23 and 25 hours, leap days and month ends follow from it.
        moment: aware.
    """
    if window is Window.TOTAL:
        return Period(_EPOCH, _FOREVER)
    zone = ZoneInfo(time_zone)
    if window in (Window.MINUTE, Window.HOUR):
        return _short_period(window, zone, moment)
    today = moment.astimezone(zone).date()
    if window is Window.DAY:
        first, after = today, today + timedelta(days=1)
    elif window is Window.WEEK:
        first = today - timedelta(days=today.weekday())
        after = first + timedelta(days=7)
    else:
        first = today.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    start, end = (
        datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        for day in (first, after)
    )
    return Period(start, end)


def _short_period(window: Window, zone: ZoneInfo, moment: datetime) -> Period:
    # Offsets are whole minutes, and some are no whole hours: cut in local time, step in UTC.
    local = moment.astimezone(zone)
    length = timedelta(minutes=1) if window is Window.MINUTE else timedelta(hours=1)
    into = timedelta(seconds=local.second, microseconds=local.microsecond)
    if window is Window.HOUR:
        into += timedelta(minutes=local.minute)
    start = moment.astimezone(UTC) - into
    end = start + length
    # Where clocks are moved in the middle of a local hour (Lord Howe Island, by 30 minutes), it is cut
    # there, so that the two passes through a repeated time never share a period.
    offset = local.utcoffset()
    while start.astimezone(zone).utcoffset() != offset:
        start += timedelta(minutes=1)
    while (end - timedelta(minutes=1)).astimezone(zone).utcoffset() != offset:
        end -= timedelta(minutes=1)
    return Period(start, end)


def balance_key(limit: Limit, labels: Mapping[str, str]) -> str | None:
    """Which balance of a limit a decision with these labels counts on; ``None`` where it does not apply.

    The key holds the label values that :data:`ANY` stood for, so that each has a balance of its own.
    """
    values = []
    for label in sorted(limit.scope):
        wanted, found = limit.scope[label], labels.get(label)
        if found is None or wanted not in (ANY, found):
            return None
        if wanted == ANY:
            # Escaped, or a value could pretend to be another label.
            values.append(f"{label}={found.replace('%', '%25').replace('&', '%26')}")
    return "&".join(values)


@dataclass(frozen=True, slots=True)
class Amounts:
    """What one decision takes, or took: nano-dollars, tokens, one request, one place."""

    money: int
    tokens: int
    requests: int = 1
    concurrent: int = 1

    def of(self, unit: Unit) -> int:
        """The amount in one unit."""
        if unit is Unit.MONEY:
            return self.money
        if unit is Unit.TOKENS:
            return self.tokens
        return self.requests if unit is Unit.REQUESTS else self.concurrent


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit with the balance that a decision would count on: spent and held, both ≥ 0."""

    limit: Limit
    key: str
    period: Period
    spent: int
    held: int

    @property
    def remaining(self) -> int | None:
        """What is left of the hard value, ≥ 0; ``None`` where there is none."""
        if self.limit.hard is None:
            return None
        return max(self.limit.hard - self.spent - self.held, 0)

    def passes_soft(self, amount: int) -> bool:
        """Whether taking the amount would pass the soft value."""
        return self.limit.soft is not None and self.spent + self.held + amount > self.limit.soft


class Obstacle(enum.Enum):
    """Why an amount does not fit under a hard value."""

    WAIT_FOR_HOLDS = "wait_for_holds"
    """It would fit if holds in flight settle for less or are released: try again soon."""
    EXHAUSTED = "exhausted"
    """It fits an empty window, but too much of this one is spent: try again after the reset."""
    NEVER_FITS = "never_fits"
    """It is more than the whole limit: do not try again."""


def obstacle(state: LimitState, amount: int) -> Obstacle | None:
    """What stands in the way of taking an amount ≥ 0; ``None`` where it fits."""
    hard = state.limit.hard
    if hard is None or state.spent + state.held + amount <= hard:
        return None
    if amount > hard:
        return Obstacle.NEVER_FITS
    if state.spent + amount <= hard:
        return Obstacle.WAIT_FOR_HOLDS
    return Obstacle.EXHAUSTED


_PACE_FROM = 0.8
_PACE_UNTIL = 1.2


def pace_relaxation(state: LimitState, moment: datetime) -> float:
    """How far quality gives way so that a budget lasts its window: 0 (not at all) to 1 (cheapest).

    The line runs from zero at the start of the period to the limit (soft where there is one, else
    hard) at its end. Up to 80 % of the line nothing happens; at 120 % only price counts; in between it
    grows evenly. 0 for limits that are not paced, never end, or have no value.
    """
    limit = state.limit
    whole = limit.soft if limit.soft is not None else limit.hard
    if not limit.paced or not whole or limit.window is Window.TOTAL:
        return 0.0
    length = (state.period.end - state.period.start).total_seconds()
    elapsed = min((moment - state.period.start).total_seconds() / length, 1.0)
    # The line starts at a hundredth of the limit, or the very first call would already be ahead of it.
    line = whole * max(elapsed, 0.01)
    ahead = (state.spent + state.held) / line
    return min(max((ahead - _PACE_FROM) / (_PACE_UNTIL - _PACE_FROM), 0.0), 1.0)
