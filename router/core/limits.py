"""Limits: one type for budgets, quotas and rates; the calendar windows that they count in.

A limit is (scope, unit, window, soft, hard). A team's monthly budget, a model's tokens-per-minute quota
and a user's request rate are limits with different values. Everything here is pure: the current time is
an argument.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

__all__ = [
    "ANY",
    "CHOICE_LABELS",
    "LABEL_NAME",
    "Amounts",
    "Limit",
    "LimitState",
    "Obstacle",
    "Period",
    "SoftAction",
    "Unit",
    "Window",
    "balance_key",
    "find_obstacle",
    "pace_relaxation",
    "period_of",
]

ANY = "*"
"""A scope value that matches every value of its label and gives each a balance of its own."""
CHOICE_LABELS = frozenset({"model", "provider", "tier"})
"""Labels that a decision sets itself, by the model that it chooses."""
LABEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""The form of the names of labels, of which scopes are made."""

_MILLION = 1_000_000
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
    """Decisions with an open hold; settling frees their places. The window must be ``total``."""


class Window(enum.Enum):
    """The period after which counting starts again at zero."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    """ISO week: begins on Monday."""
    MONTH = "month"
    """Calendar month."""
    TOTAL = "total"
    """Never ends."""


class SoftAction(enum.Enum):
    """What happens to a decision that would pass the soft value."""

    WARN = "warn"
    """The reply says so."""
    PREFER_CHEAPER = "prefer_cheaper"
    """The best model is chosen that does not pass it; where each eligible one does, the cheapest."""
    FORBID_TOP_TIER = "forbid_top_tier"
    """Models of the top tier are not chosen while others are eligible."""
    DEFER_BATCH = "defer_batch"
    """Batch work is refused until the reset."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit.

    Attributes:
        id: unique name.
        scope: labels that a decision must carry for the limit to apply; ``model`` and ``provider`` are
            labels too. Empty applies to every decision; :data:`ANY` counts each value separately.
        unit: what is counted.
        window: when counting starts again.
        time_zone: IANA name; decides when hours, days, weeks and months begin.
        soft: beyond this value ``on_soft`` happens, ≥ 0; ``None`` for never.
        hard: never exceeded, ≥ 0; 0 refuses everything; ``None`` for no hard value.
        on_soft: what passing the soft value does.
        paced: whether spend should be spread evenly over the window.
        share: the largest share that its decisions may take of those of the same scope without
            :data:`CHOICE_LABELS`, one of which the scope has; above 0, below 1, with six decimals;
            ``None``: no share.
        free: what its decisions may take at any share, ≥ 0.
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
    share: float | None = None
    free: int = 0

    @property
    def share_millionths(self) -> int:
        """The share as a whole number, so that no rounding moves the bound; a million without a share."""
        return _MILLION if self.share is None else round(self.share * _MILLION)

    @property
    def whole_scope(self) -> Mapping[str, str]:
        """The scope of all decisions of which it is a share."""
        return {name: value for name, value in self.scope.items() if name not in CHOICE_LABELS}


@dataclass(frozen=True, slots=True)
class Period:
    """One window of a limit: from ``start`` (inclusive) to ``end`` (exclusive), both in UTC."""

    start: datetime
    end: datetime

    @property
    def key(self) -> int:
        """Identifies the period within its limit: the start in seconds since 1970."""
        return int((self.start - _EPOCH).total_seconds())


def period_of(window: Window, time_zone: str, moment: datetime) -> Period:
    """The period that contains a moment.

    Args:
        window: the length of the period.
        time_zone: IANA name; clock changes make days of 23 and 25 hours.
        moment: time zone aware.
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
    # Some UTC offsets are not whole hours, so the start is found in local time; steps are in UTC.
    local = moment.astimezone(zone)
    length = timedelta(minutes=1) if window is Window.MINUTE else timedelta(hours=1)
    into = timedelta(seconds=local.second, microseconds=local.microsecond)
    if window is Window.HOUR:
        into += timedelta(minutes=local.minute)
    start = moment.astimezone(UTC) - into
    end = start + length
    # A clock change in the middle of a local hour (Lord Howe Island: 30 minutes) ends the period, so that
    # a local time that occurs twice falls into two periods.
    offset = local.utcoffset()
    while start.astimezone(zone).utcoffset() != offset:
        start += timedelta(minutes=1)
    while (end - timedelta(minutes=1)).astimezone(zone).utcoffset() != offset:
        end -= timedelta(minutes=1)
    return Period(start, end)


def balance_key(limit: Limit, labels: Mapping[str, str]) -> str | None:
    """The key of the balance that a decision with these labels uses; ``None`` if the limit does not apply.

    The key contains the label values that :data:`ANY` matched, so that each value has its own balance.
    """
    values = []
    for label in sorted(limit.scope):
        wanted, found = limit.scope[label], labels.get(label)
        if found is None or wanted not in (ANY, found):
            return None
        if wanted == ANY:
            # Escaped: otherwise a value could look like another label.
            values.append(f"{label}={found.replace('%', '%25').replace('&', '%26')}")
    return "&".join(values)


class Amounts(NamedTuple):
    """What one decision holds or spent, by unit.

    Attributes:
        money: nano-dollars, ≥ 0.
        tokens: input and output tokens, ≥ 0.
        requests: 1 for one decision.
        concurrent: 1 for one open hold.
    """

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
    """A limit with the balance that a decision uses.

    Attributes:
        limit: the limit.
        key: which of its balances, see :func:`balance_key`.
        period: the current window.
        spent: sum of the settlements in the period, ≥ 0, in the unit of the limit.
        held: sum of the open holds in the period, ≥ 0.
        whole: of a limit with a share, what all decisions of its whole scope spent and hold in the
            period, ≥ 0; else 0.
    """

    limit: Limit
    key: str
    period: Period
    spent: int
    held: int
    whole: int = 0

    def ceiling(self, amount: int) -> int | None:
        """The most that may be spent and held where a decision takes an amount ≥ 0; ``None``: any amount."""
        limit = self.limit
        if limit.share is None:
            return limit.hard
        most = max(limit.share_millionths * (self.whole + amount) // _MILLION, limit.free)
        return most if limit.hard is None else min(most, limit.hard)

    @property
    def remaining(self) -> int | None:
        """What is left of the hard value or the share, ≥ 0; ``None`` for a limit without either."""
        limit, taken = self.limit, self.spent + self.held
        left = None if limit.hard is None else limit.hard - taken
        if limit.share is not None:
            # What is taken counts in the whole, too.
            share = limit.share_millionths
            of_share = (share * self.whole - _MILLION * taken) // (_MILLION - share)
            most = max(of_share, limit.free - taken)
            left = most if left is None else min(left, most)
        return None if left is None else max(left, 0)

    def passes_soft(self, amount: int) -> bool:
        """Whether taking the amount would pass the soft value."""
        return self.limit.soft is not None and self.spent + self.held + amount > self.limit.soft


class Obstacle(enum.Enum):
    """Why an amount does not fit under a hard value, from the least to the most severe."""

    WAIT_FOR_HOLDS = "wait_for_holds"
    """It fits once open holds settle for less or are released: try again soon."""
    EXHAUSTED = "exhausted"
    """It fits an empty window, but too much of this one is spent: try again after the reset."""
    NEVER_FITS = "never_fits"
    """It exceeds the whole limit: do not try again."""


def find_obstacle(state: LimitState, amount: int) -> Obstacle | None:
    """Why an amount ≥ 0 does not fit under the hard value or the share; ``None`` if it fits."""
    ceiling, hard = state.ceiling(amount), state.limit.hard
    if ceiling is None or state.spent + state.held + amount <= ceiling:
        return None
    if hard is not None and amount > hard:
        return Obstacle.NEVER_FITS
    if state.spent + amount <= ceiling:
        return Obstacle.WAIT_FOR_HOLDS
    return Obstacle.EXHAUSTED


_PACE_FROM = 0.8
_PACE_UNTIL = 1.2


def pace_relaxation(state: LimitState, moment: datetime) -> float:
    """How far the goal is lowered so that a budget lasts its window: 0 (not at all) to 1 (only price counts).

    The planned balance grows evenly from zero at the start of the period to the soft value, or the hard
    value if there is no soft one, at its end. Up to 80 % of the plan the goal stays; from there it is
    lowered linearly until only the price counts at 120 %. 0 for a limit that is not paced, never ends or
    has neither value.
    """
    limit = state.limit
    whole = limit.soft if limit.soft is not None else limit.hard
    if not limit.paced or not whole or limit.window is Window.TOTAL:
        return 0.0
    length = (state.period.end - state.period.start).total_seconds()
    elapsed = min((moment - state.period.start).total_seconds() / length, 1.0)
    # The plan starts at 1 % of the limit: otherwise the very first call would be ahead of it.
    planned = whole * max(elapsed, 0.01)
    ratio = (state.spent + state.held) / planned
    return min(max((ratio - _PACE_FROM) / (_PACE_UNTIL - _PACE_FROM), 0.0), 1.0)
