"""Plan of one run: duration, callers, limits. The seed determines every random choice."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mitsumori.v1 import limit_pb2

__all__ = ["EVERYTHING", "NANO", "TIER", "Plan", "StoreKind", "limits"]

StoreKind = Literal["sqlite", "postgresql"]

EVERYTHING = "everything"
"""The limit that applies to every decision and never refuses: its balance is all that was spent."""
NANO = "gpt-5-nano"
"""The model whose tokens are limited, and its share."""
TIER = "low"
"""The tier of that model, to which tasks are confined."""


@dataclass(frozen=True)
class Plan:
    """One run on one store.

    Attributes:
        store: what the ledger is kept in.
        seconds: how long callers call and servers are killed at least, > 0.
        clients: callers at once, ≥ 1.
        seed: of every random choice. Threads and processes still interleave as they like.
        hold_ttl_s: seconds until a hold runs out; short, so that many do.
        task_ttl_s: seconds until a task is over that nobody ends, at least those of a hold.
        kill_after_s: between which bounds a server lives on after it came back, seconds.
        patience_s: seconds that a server may take to start, and callers to get their last answer.
        most_s: how long at most, where more must happen than did in ``seconds``.
        processes: of each server; where there are several, one of them is killed as often as all.
        serve: the command of the server; a test replaces it by a server with a planted bug.
    """

    store: StoreKind
    seconds: float
    clients: int
    seed: int
    hold_ttl_s: float = 3.0
    task_ttl_s: float = 6.0
    kill_after_s: tuple[float, float] = (2.0, 5.0)
    patience_s: float = 300.0
    most_s: float = 600.0
    processes: int = 1
    serve: tuple[str, ...] = (sys.executable, "-m", "router", "serve")

    def randomness(self, purpose: str) -> random.Random:
        """The random choices for one purpose; the same for the same seed."""
        return random.Random(f"{self.seed}/{self.store}/{purpose}")


def limits(hold: int, tokens: int) -> Iterator[limit_pb2.Limit]:
    """Limits of every unit, so tight that each is reached within a minute.

    Args:
        hold: what a usual decision holds, nano-dollars.
        tokens: and tokens.
    """

    def limit(limit_id: str, unit: int, window: int, hard: int, **scope: str) -> limit_pb2.Limit:
        return limit_pb2.Limit(
            limit_id=limit_id,
            unit=limit_pb2.Unit.Name(unit),
            window=limit_pb2.Window.Name(window),
            hard=hard,
            scope=scope,
        )

    yield limit_pb2.Limit(
        limit_id=EVERYTHING,
        unit=limit_pb2.UNIT_MONEY,
        window=limit_pb2.WINDOW_TOTAL,
        soft=10**16,  # a limit needs a value, and this one must not refuse
    )
    money, minute = limit_pb2.UNIT_MONEY, limit_pb2.WINDOW_MINUTE
    yield limit("team-0", money, limit_pb2.WINDOW_HOUR, 60 * hold, team="team-0")  # stays full
    yield limit("team-1", money, minute, 40 * hold, team="team-1")
    yield limit("team-2", money, minute, 3 * hold, team="team-2")  # holds of eight callers fill it
    yield limit("team-3", money, minute, 0, team="team-3", user="u-3")  # nothing at all
    yield limit("users", limit_pb2.UNIT_REQUESTS, minute, 60, user="*")
    yield limit("places", limit_pb2.UNIT_CONCURRENT, limit_pb2.WINDOW_TOTAL, 12, team="*")
    # What a model and a tier may take of a team; the first calls are free.
    for name, unit, scope, share, free in (
        ("share of calls", limit_pb2.UNIT_REQUESTS, {"model": NANO}, 0.6, 4),
        ("share of money", money, {"model": NANO}, 0.3, 8 * hold),
        ("share of a tier", money, {"tier": "*"}, 0.7, 30 * hold),
    ):
        yield limit_pb2.Limit(
            limit_id=name.replace(" ", "-"),
            unit=limit_pb2.Unit.Name(unit),
            window=limit_pb2.Window.Name(minute),
            scope={"team": "*", **scope},
            share=share,
            free=free,
        )
    yield limit("tokens", limit_pb2.UNIT_TOKENS, minute, 300 * tokens, model=NANO)
