"""What every store refuses as invalid, and how far its sums reach."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from router.core.errors import InvalidInput, Unavailable
from router.core.limits import Amounts
from router.ledger.base import Granted, Ledger
from router.ledger.rows import UNBOUNDED
from router.ledger.storage_format import MAX_AMOUNT
from tests.router.ledger.builders import (
    ManualClock,
    balance,
    hold,
    limit,
    report,
)
from tests.router.ledger.conftest import StoreMaker


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (replace(hold("a"), amounts=Amounts(-1, 0)), "amounts.money"),
        (replace(hold("a"), amounts=Amounts(0, MAX_AMOUNT + 1)), "amounts.tokens"),
        (replace(hold("a"), amounts=Amounts(0, 0, requests=-1)), "amounts.requests"),
        (hold("a", ttl_s=0), "ttl_s"),
        (hold("a", ttl_s=math.nan), "ttl_s"),
        (hold("a", ttl_s=math.inf), "ttl_s"),
        (replace(hold("a"), id=""), "id"),
        (hold("a" * 1001), "id"),
        (hold("a\0b"), "id"),
        (replace(hold("a"), id="a\ud800"), "id"),
        (hold("a", user="x\0"), "labels.user"),
        (hold("a", record={"score": math.nan}), ""),
        (replace(hold("a"), record="not JSON"), ""),
        (replace(hold("a"), record="[]"), ""),
        (replace(hold("a"), record='{"text": "\ud800"}'), ""),
    ],
)
def test_an_invalid_hold_is_refused_by_field(store: Ledger, bad: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        store.hold(bad)
    assert caught.value.field == field
    assert store.decisions() == []


def test_an_invalid_settlement_changes_nothing(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    with pytest.raises(InvalidInput):
        store.settle(report("a", -1))
    assert balance(store) == (0, 60)


def test_sums_never_overflow(store: Ledger) -> None:
    store.set_limit(limit(hard=None))
    fitting = UNBOUNDED // MAX_AMOUNT
    for number in range(fitting):
        store.hold(hold(str(number), MAX_AMOUNT))
    with pytest.raises(InvalidInput) as caught:
        store.hold(hold("one too many", MAX_AMOUNT))
    assert caught.value.reason == "OVERFLOW"
    assert isinstance(store.hold(hold("small", 1)), Granted)


def test_a_balance_reaches_just_below_63_bits_and_no_further(store: Ledger) -> None:
    store.set_limit(limit(hard=None))
    fitting, rest = divmod(UNBOUNDED - 1, MAX_AMOUNT)
    for number in range(fitting):
        store.hold(hold(str(number), MAX_AMOUNT))
    assert isinstance(store.hold(hold("the rest", rest)), Granted)
    with pytest.raises(InvalidInput) as caught:
        store.hold(hold("one more", 1))
    assert caught.value.reason == "OVERFLOW"
    with pytest.raises(InvalidInput) as caught:
        store.settle(report("0", 1))  # counted on top of its own hold, as long as that is there
    assert caught.value.reason == "OVERFLOW"
    store.release("the rest", "acme")
    store.settle(report("0", rest))
    assert balance(store) == (rest, (fitting - 1) * MAX_AMOUNT)


def test_a_closed_store_is_unavailable_and_says_so(make_store: StoreMaker) -> None:
    store = make_store(ManualClock())
    store.hold(hold("a"))
    store.close()
    store.close()
    for use in (
        lambda: store.hold(hold("b")),
        store.limits,
        lambda: store.view([{}]),
        store.expire,
    ):
        with pytest.raises(Unavailable):
            use()
