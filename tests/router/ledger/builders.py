"""Short ways to say what a test of the ledger is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from router.core.limits import Amounts, Limit, LimitState, Obstacle, Unit, Window
from router.ledger.base import Hold, Ledger, Refused, Settlement, Usage

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DOLLAR = 1_000_000_000


class ManualClock:
    """A clock that stands still until it is moved, in either direction."""

    def __init__(self, moment: datetime = START) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


def limit(name: str = "budget", hard: int | None = 100, **changes: Any) -> Limit:
    values: dict[str, Any] = {"scope": {}, "unit": Unit.MONEY, "window": Window.TOTAL, **changes}
    return Limit(name, hard=hard, **values)


def hold(
    name: str,
    money: int | None = 10,
    *,
    tokens: int = 0,
    ttl_s: float = 300,
    body: str = "",
    replaces: str | None = None,
    quoted: int = 0,
    record: Mapping[str, Any] | None = None,
    task: str | None = None,
    **labels: str,
) -> Hold:
    """``money=None`` asks for a quote only."""
    return Hold(
        id=name,
        fingerprint=body or f"body of {name}",
        labels={"tenant": "acme", **labels},
        amounts=None if money is None else Amounts(money, tokens),
        ttl_s=ttl_s,
        reply=f"reply to {name}".encode(),
        record=json.dumps(record or {}),
        replaces=replaces,
        quoted=quoted,
        task=task,
    )


def task(name: str, cap: int = 50, *, ttl_s: float = 3600, body: str = "", **labels: str) -> Hold:
    """A task with a cap in nano-dollars."""
    made = hold(name, cap, ttl_s=ttl_s, body=body, task=name, **labels)
    return replace(made, amounts=Amounts(cap, 0, 0, 0))


def left(store: Ledger, name: str = "t") -> int:
    """What turns can still draw from a task."""
    found = store.task(name)
    assert found is not None
    return found.left


def report(
    name: str, money: int = 10, *, tokens: int = 0, body: str = "", tenant: str = "acme"
) -> Settlement:
    usage = Usage(Amounts(money, tokens), {"outcome": "ok"})
    return Settlement(name, body or f"{money} for {name}", tenant, usage)


def state_of(store: Ledger, name: str = "budget", **labels: str) -> LimitState:
    """The balance of one limit, for these labels."""
    (states,) = store.view([{"tenant": "acme", **labels}])
    return next(state for state in states if state.limit.id == name)


def balance(store: Ledger, name: str = "budget", **labels: str) -> tuple[int, int]:
    """What is spent and held on one limit, for these labels."""
    state = state_of(store, name, **labels)
    return state.spent, state.held


def refused(result: object) -> tuple[str, Obstacle]:
    """The limit that stood in the way of a hold, and what of it."""
    assert isinstance(result, Refused), result
    return result.state.limit.id, result.obstacle
