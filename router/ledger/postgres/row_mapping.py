"""Rows of the ledger on PostgreSQL: columns to values and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC

from router.core.limits import Amounts, Unit
from router.ledger.base import HoldState
from router.ledger.postgres.database import TupleRow
from router.ledger.rows import Account, Balance, LedgerEntry, Row

__all__ = [
    "BALANCE",
    "ROW",
    "balance_of",
    "changed_row",
    "identity",
    "new_row",
    "row_of",
    "sums",
    "to_array",
]

BALANCE = "limit_id, series, key, period, unit, spent, held, over, ceiling, erased, erased_over"
ROW = (
    "id, tenant, fingerprint, state, created, expires, reply, late, overage, report, entries,"
    " held_money, held_tokens, held_requests, held_concurrent,"
    " actual_money, actual_tokens, actual_requests, actual_concurrent, quoted"
)


def balance_of(row: TupleRow) -> Balance:
    """From the columns :data:`BALANCE`."""
    limit, series, key, period, unit, *sums = row
    return Balance(Account(limit, series, key, period), Unit(unit), *sums)


def row_of(row: TupleRow, balance: Callable[[Account, Unit], Balance] | None) -> Row:
    """From the columns :data:`ROW`; without its entries where there are no balances to tie them to."""
    (key, tenant, fingerprint, state, created, expires, reply, late, overage, report, entries) = (
        row[:11]
    )
    tied = []
    if balance is not None:
        tied = [
            LedgerEntry(balance(Account(*entry[:4]), Unit(entry[4])), *entry[5:])
            for entry in entries
        ]
    return Row(
        id=key,
        tenant=tenant,
        fingerprint=fingerprint,
        state=HoldState(state),
        created=created.astimezone(UTC),
        expires=expires.astimezone(UTC),
        held=_amounts(row[11:15]),
        reply=bytes(reply),
        actual=_amounts(row[15:19]),
        late=late,
        overage=overage,
        report=report,
        quoted=row[19],
        entries=tied,
    )


def _amounts(values: Sequence[int | None]) -> Amounts | None:
    known = [value for value in values if value is not None]
    return Amounts(*known) if known else None


# The dictionaries below are made for every decision: plain attributes, for Enum.value is slow.


def new_row(n: int, row: Row, labels: str, record: str, usage: str | None) -> dict[str, object]:
    """A new decision as columns, JSON-ready; ``n`` is its place in the order of insertion."""
    held = row.held
    return {
        **changed_row(row, usage),
        "n": n,
        "tenant": row.tenant,
        "fingerprint": row.fingerprint,
        "created": row.created.isoformat(),
        "expires": row.expires.isoformat(),
        "held_money": held and held.money,
        "held_tokens": held and held.tokens,
        "held_requests": held and held.requests,
        "held_concurrent": held and held.concurrent,
        "quoted": row.quoted,
        "reply": f"\\x{row.reply.hex()}",
        # As text within the text: kept as it was sent, \u0000 included, without parsing it twice.
        "labels": labels,
        "record": record,
    }


def changed_row(row: Row, usage: str | None) -> dict[str, object]:
    """What changes in a decision, JSON-ready."""
    changed: dict[str, object] = {
        "id": row.id,
        "state": row.state._value_,
        "late": row.late,
        "overage": row.overage,
        "report": row.report,
        "entries": [
            (*each.balance.account, each.balance.unit._value_, each.held, each.spent, each.over)
            for each in row.entries
        ],
        "usage": usage,
    }
    if row.actual is not None:
        changed["actual_money"] = row.actual.money
        changed["actual_tokens"] = row.actual.tokens
        changed["actual_requests"] = row.actual.requests
        changed["actual_concurrent"] = row.actual.concurrent
    return changed


def identity(account: Account) -> dict[str, object]:
    """Which balance."""
    limit, series, key, period = account
    return {"limit_id": limit, "series": series, "key": key, "period": period}


def sums(balance: Balance) -> dict[str, object]:
    """A balance with its sums."""
    return {
        **identity(balance.account),
        "spent": balance.spent,
        "held": balance.held,
        "over": balance.over,
        "ceiling": balance.ceiling,
        "erased": balance.erased,
        "erased_over": balance.erased_over,
    }


def to_array(values: Iterable[object]) -> str:
    """A JSON array, for ``json_to_recordset``."""
    return json.dumps(list(values), separators=(",", ":"))
