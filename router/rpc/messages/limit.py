"""Messages of limits."""

from __future__ import annotations

from collections.abc import Mapping

from mitsumori.v1 import limit_pb2
from router.catalog.catalog import Catalog
from router.catalog.catalog_file import closest
from router.core.errors import shown
from router.core.limits import ANY, CHOICE_LABELS, Limit, LimitState, SoftAction, Unit, Window
from router.ledger.storage_format import MAX_LIMIT
from router.rpc.messages.values import (
    check_label_name,
    fill_timestamp,
    identifier,
    time_zone,
    wrong,
)

__all__ = ["fill_limit", "fill_limit_status", "parse_limit"]

_UNITS_IN = {
    limit_pb2.UNIT_MONEY: Unit.MONEY,
    limit_pb2.UNIT_TOKENS: Unit.TOKENS,
    limit_pb2.UNIT_REQUESTS: Unit.REQUESTS,
    limit_pb2.UNIT_CONCURRENT: Unit.CONCURRENT,
}
_WINDOWS_IN = {
    limit_pb2.WINDOW_MINUTE: Window.MINUTE,
    limit_pb2.WINDOW_HOUR: Window.HOUR,
    limit_pb2.WINDOW_DAY: Window.DAY,
    limit_pb2.WINDOW_WEEK: Window.WEEK,
    limit_pb2.WINDOW_MONTH: Window.MONTH,
    limit_pb2.WINDOW_TOTAL: Window.TOTAL,
}
_SOFT_IN = {
    limit_pb2.SOFT_ACTION_UNSPECIFIED: SoftAction.WARN,
    limit_pb2.SOFT_ACTION_WARN: SoftAction.WARN,
    limit_pb2.SOFT_ACTION_PREFER_CHEAPER: SoftAction.PREFER_CHEAPER,
    limit_pb2.SOFT_ACTION_FORBID_TOP_TIER: SoftAction.FORBID_TOP_TIER,
    limit_pb2.SOFT_ACTION_DEFER_BATCH: SoftAction.DEFER_BATCH,
}
_UNITS_OUT = {unit: value for value, unit in _UNITS_IN.items()}
_WINDOWS_OUT = {window: value for value, window in _WINDOWS_IN.items()}
_SOFT_OUT = {action: value for value, action in _SOFT_IN.items()}


def fill_limit_status(target: limit_pb2.LimitStatus, state: LimitState) -> None:
    """Write a limit and its balance into a message."""
    limit = state.limit
    fill_limit(target.limit, limit)
    target.balance_key = state.key
    target.spent = state.spent
    target.held = state.held
    if state.remaining is not None:
        target.remaining = state.remaining
    target.whole = state.whole
    if limit.window is not Window.TOTAL:
        fill_timestamp(target.reset_time, state.period.end)


def fill_limit(target: limit_pb2.Limit, limit: Limit) -> None:
    """Write a limit into a message."""
    target.limit_id = limit.id
    target.scope.update(limit.scope)
    target.unit = _UNITS_OUT[limit.unit]
    target.window = _WINDOWS_OUT[limit.window]
    target.time_zone = limit.time_zone
    if limit.soft is not None:
        target.soft = limit.soft
    if limit.hard is not None:
        target.hard = limit.hard
    target.on_soft = _SOFT_OUT[limit.on_soft]
    target.paced = limit.paced
    if limit.share is not None:
        target.share = limit.share
        target.free = limit.free


def parse_limit(message: limit_pb2.Limit, catalog: Catalog) -> Limit:
    """A validated limit.

    Raises:
        InvalidInput: names the field.
    """
    if not message.limit_id:
        raise wrong("limit.limit_id", "must not be empty")
    for key, value in message.scope.items():
        check_label_name(key, "limit.scope")
        if not 1 <= len(value) <= 200:
            raise wrong(f"limit.scope.{key}", "must have 1 to 200 characters")
    _check_scope(message.scope, catalog)
    unit, window = _UNITS_IN.get(message.unit), _WINDOWS_IN.get(message.window)
    action = _SOFT_IN.get(message.on_soft)
    if unit is None:
        raise wrong("limit.unit", "must be money, tokens, requests or concurrent")
    if window is None:
        raise wrong("limit.window", "must be minute, hour, day, week, month or total")
    if unit is Unit.CONCURRENT and window is not Window.TOTAL:
        raise wrong("limit.window", "must be total for concurrent, which is never reset")
    if action is None:
        raise wrong("limit.on_soft", "must be a known action")
    soft, hard = _values(message)
    share = _share(message)
    return Limit(
        id=identifier(message.limit_id, "limit.limit_id"),
        scope=dict(message.scope),
        unit=unit,
        window=window,
        time_zone=time_zone(message.time_zone, "limit.time_zone"),
        soft=soft,
        hard=hard,
        on_soft=action,
        paced=message.paced,
        share=share,
        free=message.free,
    )


def _check_scope(scope: Mapping[str, str], catalog: Catalog) -> None:
    """Refuse a label value that no decision can have: such a limit would silently never apply."""
    known = {
        "model": catalog.ids,
        "tier": catalog.tiers,
        "provider": {entry.spec.provider for entry in catalog.entries},
    }
    for label, names in known.items():
        value = scope.get(label, ANY)
        if value != ANY and value not in names:
            raise wrong(
                f"limit.scope.{label}",
                f"{shown(value)} is not in the catalog; {closest(value, names)}",
            )


def _values(message: limit_pb2.Limit) -> tuple[int | None, int | None]:
    soft = message.soft if message.HasField("soft") else None
    hard = message.hard if message.HasField("hard") else None
    if soft is None and hard is None and not message.HasField("share"):
        raise wrong("limit.hard", "limit.soft or limit.share must be set")
    for name, value in (("soft", soft), ("hard", hard)):
        if value is not None and value < 0:
            raise wrong(f"limit.{name}", "must not be negative")
        if value is not None and value > MAX_LIMIT:
            raise wrong(f"limit.{name}", f"must be at most {MAX_LIMIT:,}")
    if soft is not None and hard is not None and soft > hard:
        raise wrong("limit.soft", "must not be more than limit.hard")
    return soft, hard


def _share(message: limit_pb2.Limit) -> float | None:
    """The share, checked with what belongs to it."""
    if not message.HasField("share"):
        if message.free:
            raise wrong("limit.free", "goes with limit.share only")
        return None
    share = message.share
    if not 0 < share < 1 or share != round(share, 6):
        raise wrong("limit.share", "must be above 0 and below 1, with at most six decimals")
    if CHOICE_LABELS.isdisjoint(message.scope):
        raise wrong(
            "limit.scope",
            "must have tier, model or provider: a share is their part of what the rest of the scope takes",
        )
    if not 0 <= message.free <= MAX_LIMIT:
        raise wrong("limit.free", f"must be 0 to {MAX_LIMIT:,}")
    return share
