"""Totals of the decision log by label, model, tier or day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from zoneinfo import ZoneInfo

from router.ledger.base import HoldState, Ledger, Totals

__all__ = ["Filter", "add_up"]

_DAY = "day"
_FIELDS = [field.name for field in fields(Totals)]


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects decisions.

    Attributes:
        labels: a decision must carry all of them.
        since: only decisions made at or after it, aware; ``None``: from the first.
        until: only decisions made before it, aware; ``None``: to the last.
        state: only decisions in this state; ``None``: every state.
    """

    labels: Mapping[str, str]
    since: datetime | None = None
    until: datetime | None = None
    state: HoldState | None = None


def add_up(
    ledger: Ledger, chosen: Filter, group_by: Sequence[str], time_zone: str
) -> list[tuple[tuple[str, ...], Totals]]:
    """The totals of each group, in the order of the groups. The store adds them up, which is fast.

    Args:
        ledger: the store.
        chosen: which decisions.
        group_by: labels, ``model``, ``provider``, ``tier`` or ``day`` (of the time zone).
        time_zone: IANA name.

    Raises:
        Unavailable: the store cannot be read.
    """
    zone = ZoneInfo(time_zone)
    groups: dict[tuple[str, ...], Totals] = {}
    for labels, begin, part in ledger.totals(
        labels=chosen.labels,
        since=chosen.since,
        until=chosen.until,
        state=chosen.state,
        by_time=_DAY in group_by,
    ):
        day = "" if begin is None else begin.astimezone(zone).date().isoformat()
        group = tuple(day if name == _DAY else labels.get(name, "") for name in group_by)
        whole = groups.setdefault(group, Totals())
        for name in _FIELDS:
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
    return sorted(groups.items(), key=lambda one: one[0])
