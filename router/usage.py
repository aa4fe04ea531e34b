"""Adding up the decision log: by label, model, tier or day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from router.ledger.base import Decided, HoldState, Ledger

__all__ = ["Filter", "UsageLine", "add_up", "every"]

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which decisions: those that carry the labels, made from ``since`` on and before ``until``."""

    labels: Mapping[str, str]
    since: datetime | None = None
    until: datetime | None = None
    state: HoldState | None = None


@dataclass
class UsageLine:
    """What the decisions of one group took; money in nano-dollars."""

    decisions: int = 0
    tokens: int = 0
    spent: int = 0
    held: int = 0
    quoted: int = 0
    overage: int = 0


def every(ledger: Ledger, chosen: Filter) -> Iterator[Decided]:
    """All decisions of a filter, oldest first, read in pages.

    Raises:
        Unavailable: the store cannot be read.
    """
    after: str | None = None
    while True:
        page = ledger.decisions(
            labels=chosen.labels,
            since=chosen.since,
            until=chosen.until,
            state=chosen.state,
            after=after,
            count=_PAGE,
        )
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _value(decided: Decided, name: str, zone: ZoneInfo) -> str:
    if name == "day":
        return decided.created.astimezone(zone).date().isoformat()
    return decided.labels.get(name, "")


def add_up(
    decisions: Iterable[Decided], group_by: Sequence[str], time_zone: str
) -> list[tuple[tuple[str, ...], UsageLine]]:
    """One line per group, by group.

    Args:
        decisions: rows of the log.
        group_by: labels, ``model``, ``provider``, ``tier`` or ``day`` (of the time zone).
        time_zone: IANA name.
    """
    zone = ZoneInfo(time_zone)
    lines: dict[tuple[str, ...], UsageLine] = {}
    for decided in decisions:
        line = lines.setdefault(
            tuple(_value(decided, name, zone) for name in group_by), UsageLine()
        )
        line.decisions += 1
        if decided.actual is not None:
            line.tokens += decided.actual.tokens
            line.spent += decided.actual.money
            chosen = next(iter(decided.record.get("candidates", ())), None)
            line.quoted += chosen["price_nanos"][1] if chosen else 0
            held = decided.held.money if decided.held is not None else 0
            line.overage += max(decided.actual.money - held, 0)
        elif decided.state is HoldState.HELD and decided.held is not None:
            line.held += decided.held.money
    return sorted(lines.items())
