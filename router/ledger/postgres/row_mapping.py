"""Row mapping for PostgreSQL: from columns to rows of the ledger and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC

from router.core.limits import Amounts, Unit
from router.ledger import storage_format
from router.ledger.base import HoldState
from router.ledger.postgres.database import TupleRow
from router.ledger.rows import Account, Balance, LedgerEntry, Row

__all__ = [
    "BALANCE",
    "ROW",
    "account_columns",
    "balance_columns",
    "balance_of",
    "changed_row",
    "new_row",
    "row_of",
    "to_json_array",
]

BALANCE = "limit_id, series, key, period, unit, spent, held, over, ceiling, erased, erased_over"
ROW = (
    "id, tenant, fingerprint, state, created, expires, reply, late, overage, report, entries,"
    " held_money, held_tokens, held_requests, held_concurrent,"
    " actual_money, actual_tokens, actual_requests, actual_concurrent, quoted,"
    " usage -> 'amendments', task, drawn"
)


def balance_of(row: TupleRow) -> Balance:
    """A balance from the columns :data:`BALANCE`."""
    limit, series, key, period, unit, *sums = row
    return Balance(Account(limit, series, key, period), Unit(unit), *sums)


def row_of(row: TupleRow, balance: Callable[[Account, Unit], Balance] | None) -> Row:
    """A decision from the columns :data:`ROW`; ``balance`` finds the balances of its entries.

    Without ``balance`` the decision has no entries.
    """
    (decision_id, tenant, fingerprint, state, created, expires, reply, late, overage, report) = row[
        :10
    ]
    entries = []
    if balance is not None:
        entries = [
            LedgerEntry(balance(Account(*entry[:4]), Unit(entry[4])), *entry[5:])
            for entry in row[10]
        ]
    return Row(
        id=decision_id,
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
        amendments=storage_format.amendments_of(row[20]),
        task=row[21],
        drawn=row[22],
        entries=entries,
    )


def _amounts(values: Sequence[int | None]) -> Amounts | None:
    present = [value for value in values if value is not None]
    return Amounts(*present) if present else None


# The dictionaries below are made for every decision, so they use Enum._value_: Enum.value is slow.


def new_row(n: int, row: Row, labels: str, record: str, usage: str | None) -> dict[str, object]:
    """A new decision as columns, JSON-ready.

    Args:
        n: its position in the order of insertion.
        row: the decision.
        labels: as JSON.
        record: as JSON.
        usage: as JSON; ``None`` before it is settled.
    """
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
        "task": row.task,
        "reply": f"\\x{row.reply.hex()}",
        # JSON within a string: stored as it is, including \u0000, without parsing it twice.
        "labels": labels,
        "record": record,
    }


def changed_row(row: Row, usage: str | None) -> dict[str, object]:
    """The columns of a decision that can change, JSON-ready; ``usage`` as for :func:`new_row`."""
    columns: dict[str, object] = {
        "id": row.id,
        "state": row.state._value_,
        "late": row.late,
        "overage": row.overage,
        "report": row.report,
        "drawn": row.drawn,
        "entries": [
            (*each.balance.account, each.balance.unit._value_, each.held, each.spent, each.over)
            for each in row.entries
        ],
        "usage": usage,
    }
    if row.actual is not None:
        columns["actual_money"] = row.actual.money
        columns["actual_tokens"] = row.actual.tokens
        columns["actual_requests"] = row.actual.requests
        columns["actual_concurrent"] = row.actual.concurrent
    return columns


def account_columns(account: Account) -> dict[str, object]:
    """The key columns of a balance."""
    limit, series, key, period = account
    return {"limit_id": limit, "series": series, "key": key, "period": period}


def balance_columns(balance: Balance) -> dict[str, object]:
    """A balance as columns: its key and its sums."""
    return {
        **account_columns(balance.account),
        "spent": balance.spent,
        "held": balance.held,
        "over": balance.over,
        "ceiling": balance.ceiling,
        "erased": balance.erased,
        "erased_over": balance.erased_over,
    }


def to_json_array(values: Iterable[object]) -> str:
    """A JSON array, for ``json_to_recordset``."""
    return json.dumps(list(values), separators=(",", ":"))
