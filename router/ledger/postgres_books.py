"""One transaction of the ledger on PostgreSQL: read and lock what a group of operations needs, let the
rules decide in Python, write what changed, commit. Three round trips, however many operations.

Locks are taken in one order everywhere, so replicas wait for each other and never deadlock: the
limits (shared), decisions by id, holds that ran out (skipping those that another replica works on),
balances by account, new decisions by id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from router.core.errors import MitsumoriError
from router.core.limits import Amounts, Unit
from router.ledger import rules
from router.ledger.base import Hold, HoldState, Settlement
from router.ledger.postgres_link import Connection
from router.ledger.rules import Account, Balance, Entry, LimitBook, Row

__all__ = [
    "BALANCES",
    "DUE_AT_ONCE",
    "LIMITS",
    "ROW",
    "Books",
    "Operation",
    "Raced",
    "balance_of",
    "limits_of",
    "lock_balances",
    "moment_of",
    "row_of",
    "run",
    "storable",
    "write",
]

DUE_AT_ONCE = 500
"""How many holds that ran out one transaction gives back."""
_TICK = timedelta(microseconds=1)

_BALANCE = (
    "limit_id, series, key, period, unit, spent, held, over, ceiling, erased, erased_over"
)
ROW = (
    "id, tenant, fingerprint, state, created, expires,"
    " held_money, held_tokens, held_requests, held_concurrent,"
    " actual_money, actual_tokens, actual_requests, actual_concurrent,"
    " late, overage, report, reply, entries"
)

# The database's time, but never before the newest decision: a clock that is set back stands still.
_NOW = """
    SELECT greatest(coalesce(%s::timestamptz, clock_timestamp()), %s::timestamptz,
                    (SELECT max(created) FROM decisions)) AS now
"""
MOMENT = f"SELECT moment.now, limits_version, EXISTS (SELECT FROM decisions WHERE state = 'held' AND expires <= moment.now) FROM ({_NOW}) AS moment, state"  # noqa: S608, E501
