"""What happens to the rows of the ledger: the logic that every store shares.

Pure: no clock, no I/O. A store brings :class:`Books` (where rows lie) and the moment; the functions here
check everything first and change rows only then, so an operation that raises or is refused has changed
nothing. Rows in, rows out:

    account   which balance: (limit, series, key, period)
    balance   what is spent and held on an account; the sums of its entries
    entry     what one decision holds or spent on one account
    row       one decision with its entries
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from router.core.errors import Conflict, InvalidInput, NotFound
from router.core.limits import (
    ANY,
    Amounts,
    Limit,
    LimitState,
    Period,
    SoftAction,
    Unit,
    Window,
    balance_key,
    obstacle,
    period_of,
)
from router.ledger.base import (
    Decided,
    Granted,
    Hold,
    HoldResult,
    HoldState,
    Refused,
    Replayed,
    Settled,
    Settlement,
)

__all__ = [
    "MAX_AMOUNT",
    "MAX_COUNT",
    "UNBOUNDED",
    "Account",
    "Applying",
    "Balance",
    "Books",
    "Entry",
    "LimitBook",
    "Row",
    "check_count",
    "check_hold",
    "check_labels",
    "check_limit",
    "check_same",
    "check_settlement",
    "decided",
    "erase",
    "expire",
    "from_micros",
    "hold",
    "limit_from_json",
    "limit_to_json",
    "release",
    "series_of",
    "settle",
    "storable",
    "to_json",
    "to_micros",
]

MAX_AMOUNT = 10**16
"""The most that one hold, settlement or limit value may be: ten million dollars in nano-dollars."""
UNBOUNDED = 2**63 - 1
"""The ceiling of a balance that was granted under no hard value; also the greatest sum that is kept."""
MAX_COUNT = 10_000
"""The longest page of the decision log."""
_MAX_TEXT = 1_000
_MAX_TTL_S = 10 * 366 * 86_400.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
_MOST_KNOWN = 50_000
_MICROSECOND = timedelta(microseconds=1)
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────


class Account(NamedTuple):
    """Which balance: a limit, what it counted then, for whom, and from when (seconds since 1970)."""

    limit: str
    series: str
    key: str
    period: int


@dataclass(slots=True)
class Balance:
    """What is spent and held on an account, all ≥ 0, in its unit.

    Attributes:
        account: identity.
        unit: what is counted; kept here because the limit may be gone when a hold settles.
        spent: sum over settlements.
        held: sum over open holds.
        over: sum of the flagged overage: what was settled beyond what was held at that moment.
        ceiling: the highest hard value under which something was granted; :data:`UNBOUNDED` if none.
        erased: the part of ``spent`` whose decisions were erased.
        erased_over: the part of ``over`` whose decisions were erased.
        number: the store's own; ``None`` until it has a row.
    """

    account: Account
    unit: Unit
    spent: int = 0
    held: int = 0
    over: int = 0
    ceiling: int = 0
    erased: int = 0
    erased_over: int = 0
    number: int | None = None


@dataclass(slots=True)
class Entry:
    """What one decision holds, or spent, on one balance; ``over`` is its part of the overage."""

    balance: Balance
    held: int = 0
    spent: int = 0
    over: int = 0


@dataclass(slots=True)
class Row:
    """One decision as the rules see it. Labels, record and usage stay with the store, as JSON.

    ``held`` and ``actual`` are the amounts of the hold and of the settlement; ``report`` is the
    fingerprint of the settlement; ``overage`` is in nano-dollars. ``number`` is the store's own.
    """

    id: str
    tenant: str
    fingerprint: str
    state: HoldState
    created: datetime
    expires: datetime
    held: Amounts | None
    reply: bytes
    actual: Amounts | None = None
    late: bool = False
    overage: int = 0
    report: str | None = None
    entries: list[Entry] = field(default_factory=list)
    number: int | None = None


class Books(Protocol):
    """Where a store keeps rows while operations run; one thread at a time."""

    @property
    def limits(self) -> LimitBook:
        """The limits as they are now."""
        ...

    def row(self, decision_id: str) -> Row | None:
        """The decision with its entries."""
        ...

    def balance(self, account: Account, unit: Unit) -> Balance:
        """The balance of an account, always the same object; at zero where there was none."""
        ...

    def add(self, row: Row, new: Hold) -> None:
        """Keep a new decision, its entries and their balances."""
        ...

    def change(self, row: Row, report: Settlement | None = None) -> None:
        """Keep what changed in a decision, its entries and their balances."""
        ...


# ── which limits apply ────────────────────────────────────────────────────────────────────────────


class Applying(NamedTuple):
    """A limit that applies to some labels at some moment, and the account that it counts on."""

    limit: Limit
    account: Account
    period: Period


class LimitBook:
    """The limits, indexed so that finding those that apply does not depend on how many there are.

    Immutable and safe to share between threads. Limits are grouped by the shape of their scope: the
    label names, and which of them count every value for itself. Labels are looked up once per shape.
    """

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self._by_id = {limit.id: limit for limit in limits}
        self._shapes: dict[
            tuple[tuple[str, bool], ...], dict[tuple[str, ...], list[tuple[Limit, str]]]
        ] = {}
        for limit in self._by_id.values():
            names = sorted(limit.scope)
            shape = tuple((name, limit.scope[name] == ANY) for name in names)
            fixed = tuple(limit.scope[name] for name in names if limit.scope[name] != ANY)
            group = self._shapes.setdefault(shape, {})
            group.setdefault(fixed, []).append((limit, series_of(limit)))
        self._known: dict[tuple[tuple[str, str], ...], _Known] = {}

    def __iter__(self) -> Iterator[Limit]:
        return iter(sorted(self._by_id.values(), key=lambda limit: limit.id))

    def get(self, limit_id: str) -> Limit | None:
        """The limit of this id."""
        return self._by_id.get(limit_id)

    def with_limit(self, limit: Limit) -> LimitBook:
        """A book with this limit made or replaced."""
        return LimitBook({**self._by_id, limit.id: limit}.values())

    def without(self, limit_id: str) -> LimitBook:
        """A book without the limit of this id."""
        return LimitBook(limit for limit in self._by_id.values() if limit.id != limit_id)

    def applying(self, labels: Mapping[str, str], moment: datetime) -> Sequence[Applying]:
        """The limits that apply to these labels at a moment, by limit id."""
        # The same labels come again and again, and almost always in the same periods.
        key = tuple(labels.items())
        known = self._known.get(key)
        if known is None or not known.start <= moment < known.end:
            found = tuple(self._find(labels, moment))
            known = _Known(
                found,
                max((each.period.start for each in found), default=_EPOCH),
                min((each.period.end for each in found), default=_FOREVER),
            )
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = known
        return known.applying

    def _find(self, labels: Mapping[str, str], moment: datetime) -> list[Applying]:
        found = []
        for shape, group in self._shapes.items():
            if not all(name in labels for name, _ in shape):
                continue
            fixed = tuple(labels[name] for name, is_any in shape if not is_any)
            for limit, series in group.get(fixed, ()):
                key = balance_key(limit, labels)
                if key is not None:
                    period = period_of(limit.window, limit.time_zone, moment)
                    found.append(
                        Applying(limit, Account(limit.id, series, key, period.key), period)
                    )
        return sorted(found, key=lambda each: each.limit.id)


class _Known(NamedTuple):
    """What applies to some labels from ``start`` until before ``end``."""

    applying: tuple[Applying, ...]
    start: datetime
    end: datetime


def series_of(limit: Limit) -> str:
    """What a limit counts, as 16 hexadecimal digits: its scope, unit, window and time zone.

    A limit that is changed to count something else starts at zero, and never reads nano-dollars as
    tokens or a month as a day; a limit that only changes its values keeps its balances.
    """
    counted = [dict(limit.scope), limit.unit.value, limit.window.value, limit.time_zone]
    return hashlib.blake2b(_encode(counted).encode(), digest_size=8).hexdigest()


# ── transitions ───────────────────────────────────────────────────────────────────────────────────


def hold(books: Books, new: Hold, moment: datetime) -> HoldResult:
    """Check every limit that applies and hold, all or none. See :meth:`Ledger.hold`."""
    before = books.row(new.id)
    if before is not None:
        tenant = new.labels.get("tenant", "")
        check_same(new.id, (before.tenant, before.fingerprint), (tenant, new.fingerprint))
        return Replayed(before.reply)
    replaced = _replaced(books, new)
    freed = {entry.balance.account: entry.held for entry in replaced.entries} if replaced else {}
    amounts, taken = new.amounts, []
    for applying in books.limits.applying(new.labels, moment):
        limit, account, period = applying
        balance = books.balance(account, limit.unit)
        amount = 0
        if amounts is not None:
            amount = amounts.of(limit.unit)
            held = balance.held - freed.get(account, 0)
            # Almost everything fits: the reason is only looked for where it does not.
            if balance.spent + held + amount > (
                UNBOUNDED - 1 if limit.hard is None else limit.hard
            ):
                state = LimitState(limit, account.key, period, balance.spent, held)
                why = obstacle(state, amount)
                if why is None:
                    raise _overflow()
                return Refused(state, amount, why)
        taken.append((applying, balance, amount))
    if replaced is not None:
        _give_back(books, replaced, HoldState.RELEASED)
    row = Row(
        id=new.id,
        tenant=new.labels.get("tenant", ""),
        fingerprint=new.fingerprint,
        state=HoldState.QUOTED if amounts is None else HoldState.HELD,
        created=moment,
        expires=moment + timedelta(seconds=new.ttl_s),
        held=amounts,
        reply=new.reply,
    )
    states = []
    for (limit, account, period), balance, amount in taken:
        if amounts is not None:
            ceiling = UNBOUNDED if limit.hard is None else limit.hard
            if ceiling > balance.ceiling:
                balance.ceiling = ceiling
            balance.held += amount
        row.entries.append(Entry(balance, amount))
        states.append(LimitState(limit, account.key, period, balance.spent, balance.held))
    books.add(row, new)
    return Granted(tuple(states))


def check_same(decision_id: str, before: tuple[str, str], now: tuple[str, str]) -> None:
    """Refuse an id that was used before; ``before`` and ``now`` are (tenant, fingerprint).

    Raises:
        NotFound: by another tenant.
        Conflict: for another request.
    """
    if before[0] != now[0]:
        raise _unknown(decision_id)
    if before[1] != now[1]:
        raise Conflict(f"decision {decision_id} was made for another request; use a fresh id")


def settle(books: Books, report: Settlement) -> Settled:
    """Book what really happened in the period of the hold. See :meth:`Ledger.settle`.

    The place of a concurrent limit comes back; requests stay spent; of money and tokens the actual
    amount is spent, more than was held included. A decision that expired, or was only quoted, is booked
    too: the money is gone. What nothing was held for any more counts as overage of its balances.
    """
    row = _owned(books, report.id, report.tenant)
    if row.state is HoldState.SETTLED:
        if row.report != report.fingerprint:
            raise Conflict(
                f"decision {row.id} was settled by another report", reason="ALREADY_SETTLED"
            )
        return Settled(row.overage, row.late, repeated=True)
    if row.state is HoldState.RELEASED:
        raise Conflict(f"decision {row.id} was released", reason="ALREADY_RELEASED")
    actual = report.usage.amounts
    amounts = [
        0 if entry.balance.unit is Unit.CONCURRENT else actual.of(entry.balance.unit)
        for entry in row.entries
    ]
    for entry, spent in zip(row.entries, amounts, strict=True):
        _check_sum(entry.balance.spent + entry.balance.held + spent)
        _check_sum(entry.balance.over + spent)
    for entry, spent in zip(row.entries, amounts, strict=True):
        over = max(spent - entry.held, 0)
        entry.balance.held -= entry.held
        entry.balance.spent += spent
        entry.balance.over += over
        entry.held, entry.spent, entry.over = 0, spent, over
    row.late = row.state is HoldState.EXPIRED
    row.overage = max(actual.money - (row.held.money if row.held is not None else 0), 0)
    row.state, row.actual, row.report = HoldState.SETTLED, actual, report.fingerprint
    books.change(row, report)
    return Settled(row.overage, row.late, repeated=False)


def release(books: Books, decision_id: str, tenant: str) -> bool:
    """Give a hold back without spend. See :meth:`Ledger.release`."""
    row = _owned(books, decision_id, tenant)
    if row.state is HoldState.SETTLED:
        raise Conflict(f"decision {row.id} was settled", reason="ALREADY_SETTLED")
    if row.state is not HoldState.HELD:
        return False
    _give_back(books, row, HoldState.RELEASED)
    return True


def expire(books: Books, due: Iterable[Row]) -> int:
    """Give back holds whose time has run out; how many."""
    count = 0
    for row in due:
        _give_back(books, row, HoldState.EXPIRED)
        count += 1
    return count


def erase(row: Row) -> None:
    """Take the entries out of a final decision; the balances keep what was spent."""
    for entry in row.entries:
        entry.balance.erased += entry.spent
        entry.balance.erased_over += entry.over
    row.entries = []


def _give_back(books: Books, row: Row, state: HoldState) -> None:
    for entry in row.entries:
        entry.balance.held -= entry.held
        entry.held = 0
    row.state = state
    books.change(row)


def _owned(books: Books, decision_id: str, tenant: str) -> Row:
    row = books.row(decision_id)
    if row is None or row.tenant != tenant:
        raise _unknown(decision_id)
    return row


def _replaced(books: Books, new: Hold) -> Row | None:
    if new.replaces is None:
        return None
    row = _owned(books, new.replaces, new.labels.get("tenant", ""))
    if row.state is not HoldState.HELD:
        raise NotFound(f"decision {new.replaces} is no longer held", reason="NOT_HELD")
    return row


def _unknown(decision_id: str) -> NotFound:
    return NotFound(f"there is no decision {decision_id}")


def _check_sum(value: int) -> None:
    if value >= UNBOUNDED:
        raise _overflow()


def _overflow() -> InvalidInput:
    return InvalidInput("the sum of this balance would overflow", reason="OVERFLOW")


# ── bad values ────────────────────────────────────────────────────────────────────────────────────


def check_hold(new: Hold) -> tuple[str, str]:
    """Refuse what no store could keep; the labels and the record as JSON.

    Raises:
        InvalidInput: names the field.
    """
    _check_text("id", new.id)
    if new.replaces is not None:
        _check_text("replaces", new.replaces)
    if not (math.isfinite(new.ttl_s) and 0 < new.ttl_s <= _MAX_TTL_S):
        raise InvalidInput("ttl_s must be positive, and ten years at most", field="ttl_s")
    if new.amounts is not None:
        _check_amounts(new.amounts)
    return _labels_json(tuple(new.labels.items())), to_json(new.record)


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that no store could keep.

    Raises:
        InvalidInput: names the label.
    """
    for name, value in labels.items():
        _check_text("labels", name)
        _check_text(f"labels.{name}", value, empty=True)


@functools.lru_cache(maxsize=_MOST_KNOWN)
def _labels_json(items: tuple[tuple[str, str], ...]) -> str:
    # The same labels come again and again; checking and writing them is most of the work of a hold.
    labels = dict(items)
    check_labels(labels)
    return to_json(labels)


def check_settlement(report: Settlement) -> str:
    """Refuse what no store could keep; the record of the usage as JSON.

    Raises:
        InvalidInput: names the field.
    """
    _check_text("id", report.id)
    _check_amounts(report.usage.amounts)
    return to_json(report.usage.record)


def check_limit(limit: Limit) -> None:
    """Refuse a limit that means nothing.

    Raises:
        InvalidInput: names the field.
    """
    _check_text("id", limit.id)
    for name, value in limit.scope.items():
        _check_text("scope", name)
        _check_text(f"scope.{name}", value, empty=True)
    for name, bound in (("soft", limit.soft), ("hard", limit.hard)):
        if bound is not None and not 0 <= bound <= MAX_AMOUNT:
            raise InvalidInput(f"{name} must be 0 to {MAX_AMOUNT}", field=name)
    try:
        ZoneInfo(limit.time_zone)
    except (KeyError, ValueError, OSError):
        raise InvalidInput("time_zone is not an IANA name", field="time_zone") from None
    if limit.unit is Unit.CONCURRENT and limit.window is not Window.TOTAL:
        raise InvalidInput("concurrent requests are counted in total only", field="window")


def check_count(count: int) -> None:
    """Refuse pages that are empty or too long.

    Raises:
        InvalidInput: not 1 to :data:`MAX_COUNT`.
    """
    if not 1 <= count <= MAX_COUNT:
        raise InvalidInput(f"count must be 1 to {MAX_COUNT}", field="count")


def _check_amounts(amounts: Amounts) -> None:
    for name, amount in (
        ("money", amounts.money),
        ("tokens", amounts.tokens),
        ("requests", amounts.requests),
        ("concurrent", amounts.concurrent),
    ):
        if not 0 <= amount <= MAX_AMOUNT:
            raise InvalidInput(f"amounts.{name} must be 0 to {MAX_AMOUNT}", field=f"amounts.{name}")


def storable(text: str) -> bool:
    """Whether every store can keep it: a lone surrogate has no UTF-8, and PostgreSQL keeps no NUL."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_text(name: str, text: str, *, empty: bool = False) -> None:
    if not (text or empty) or len(text) > _MAX_TEXT or not storable(text):
        raise InvalidInput(
            f"{name} must be text of {0 if empty else 1} to {_MAX_TEXT} characters", field=name
        )


# ── to and from storage ───────────────────────────────────────────────────────────────────────────


def to_json(value: Mapping[str, Any]) -> str:
    """Canonical JSON, in ASCII: the same mapping always gives the same text.

    Raises:
        InvalidInput: it holds something that JSON cannot say, NaN and infinity included.
    """
    try:
        return _encode(value if type(value) is dict else dict(value))
    except (TypeError, ValueError, RecursionError):
        raise InvalidInput("the record cannot be written as JSON") from None


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970: how stores keep time."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def limit_to_json(limit: Limit) -> str:
    """A limit as canonical JSON."""
    return _encode(
        {
            "id": limit.id,
            "scope": dict(limit.scope),
            "unit": limit.unit.value,
            "window": limit.window.value,
            "time_zone": limit.time_zone,
            "soft": limit.soft,
            "hard": limit.hard,
            "on_soft": limit.on_soft.value,
            "paced": limit.paced,
        }
    )


def limit_from_json(text: str) -> Limit:
    """The limit that :func:`limit_to_json` wrote."""
    values = json.loads(text)
    return Limit(
        **{
            **values,
            "unit": Unit(values["unit"]),
            "window": Window(values["window"]),
            "on_soft": SoftAction(values["on_soft"]),
        }
    )


def decided(row: Row, labels: str, record: str, usage: str) -> Decided:
    """A row of the decision log, from a row and its JSON."""
    return Decided(
        id=row.id,
        state=row.state,
        created=row.created,
        expires=row.expires,
        labels=json.loads(labels),
        held=row.held,
        actual=row.actual,
        late=row.late,
        record=json.loads(record),
        usage=json.loads(usage),
    )
