"""What SQLite's views know of balances without reading the file: what was committed, and nothing older."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from router.core.limits import Unit
from router.ledger.rows import Account, Balance
from router.ledger.sqlite.committed_balances import CommittedBalances, Sums
from router.ledger.sqlite.ledger import SqliteLedger
from tests.router.ledger.builders import ManualClock, balance, hold, limit, report

ANN, BOB = (Account("budget", "0", f"user={name}", 0) for name in ("ann", "bob"))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def unreadable(_: Sequence[Account]) -> Sums:
    raise AssertionError("the file was read")


def test_a_balance_that_was_committed_is_known_without_the_file() -> None:
    known = CommittedBalances()
    known.commit([Balance(ANN, Unit.MONEY, spent=1, held=2)], None)
    assert known.of([ANN], unreadable) == {ANN: (1, 2)}
    known.commit([Balance(ANN, Unit.MONEY, spent=3, held=0)], None)
    assert known.of([ANN], unreadable) == {ANN: (3, 0)}
    assert known.of([], unreadable) == {}


def test_one_that_is_not_known_is_read_once_with_all_others() -> None:
    known, asked = CommittedBalances(), []

    def read(accounts: Sequence[Account]) -> Sums:
        asked.append(list(accounts))
        return dict.fromkeys(accounts, (5, 5))

    known.commit([Balance(ANN, Unit.MONEY, spent=1)], None)
    assert known.of([ANN, BOB], read) == {ANN: (5, 5), BOB: (5, 5)}  # all of one moment
    assert known.of([ANN, BOB], unreadable) == {ANN: (5, 5), BOB: (5, 5)}
    assert asked == [[ANN, BOB]]


def test_what_was_read_while_another_commit_came_is_not_kept() -> None:
    known = CommittedBalances()

    def read(accounts: Sequence[Account]) -> Sums:
        known.commit([Balance(ANN, Unit.MONEY, held=9)], None)
        return dict.fromkeys(accounts, (0, 0))  # as it was before that commit

    assert known.of([ANN], read) == {ANN: (0, 0)}
    assert known.of([ANN], unreadable) == {ANN: (0, 9)}


def test_before_the_first_commit_any_hold_may_have_expired() -> None:
    known = CommittedBalances()
    assert known.may_be_due(EPOCH)
    known.commit([], 5_000_000)
    assert not known.may_be_due(EPOCH + timedelta(seconds=4.999999))
    assert known.may_be_due(EPOCH + timedelta(seconds=5))
    known.commit([], None)
    assert not known.may_be_due(EPOCH + timedelta(days=9_999))


def test_a_view_follows_holds_settlements_expiry_and_a_restart(path: Path) -> None:
    clock = ManualClock()
    ledger = SqliteLedger(path, clock)
    ledger.set_limit(limit(hard=100, scope={"user": "*"}))
    assert balance(ledger, user="ann") == (0, 0)
    ledger.hold(hold("a", 60, user="ann", ttl_s=10))
    ledger.hold(hold("b", 30, user="ann", ttl_s=20))
    assert balance(ledger, user="ann") == (0, 90)
    ledger.settle(report("a", 20))
    assert balance(ledger, user="ann") == (20, 30)
    clock.advance(seconds=20)  # no two are of one moment: b is a microsecond younger than a
    assert balance(ledger, user="ann") == (20, 30)
    clock.advance(microseconds=1)
    assert balance(ledger, user="ann") == (20, 0)
    ledger.close()
    again = SqliteLedger(path, clock)
    assert balance(again, user="ann") == (20, 0)
    again.hold(hold("c", 1, user="ann"))
    assert balance(again, user="ann") == (20, 1)
    again.close()
