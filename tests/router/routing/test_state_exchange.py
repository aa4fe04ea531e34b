"""The example of a shared part in ARCHITECTURE.md does what the page says, over every store."""

from __future__ import annotations

import re
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from router.core.errors import Unavailable
from router.ledger.base import Ledger
from router.ledger.memory import MemoryLedger
from router.ledger.shared_state import SharedRow
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.background_jobs import BackgroundJobs, sharing_job
from router.routing.state_exchange import SharedPart, StateExchange
from tests.router.ledger.builders import ManualClock

PAGE = Path(__file__).parents[3] / "ARCHITECTURE.md"


def example() -> Callable[[], Any]:
    """The class that the page shows."""
    found = re.search(r"^    class Hats:\n(?:    .*\n|\n)*", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    names: dict[str, Any] = {"SharedRow": SharedRow, "Sequence": Sequence, "threading": threading}
    exec(textwrap.dedent(found[0]), names)
    made: Callable[[], Any] = names["Hats"]
    return made


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    clock = ManualClock()
    made: Ledger
    made = (
        MemoryLedger(clock)
        if request.param == "memory"
        else SqliteLedger(tmp_path / "ledger.db", clock)
    )
    yield made
    made.close()


def worn(part: Any) -> dict[str, str]:
    return {person: row.value for person, row in part._rows.items()}


def test_the_example_of_the_page_shares_what_each_process_knows(store: Ledger) -> None:
    hats = example()
    one, other = hats(), hats()
    parts: Sequence[SharedPart] = (one, other)
    exchanges = [StateExchange(store, [part]) for part in parts]
    one.put_on("ann", "bowler", 10)
    other.put_on("bob", "fez", 11)
    other.put_on("ann", "beret", 9)  # before the bowler
    for each in (*exchanges, *exchanges):
        each.exchange()
    assert worn(one) == worn(other) == {"ann": "bowler", "bob": "fez"}
    other.put_on(
        "ann", "top hat", 3
    )  # by a clock that is wrong, and known to be later all the same
    for each in reversed(exchanges):
        each.exchange()
    assert worn(one) == worn(other) == {"ann": "top hat", "bob": "fez"}
    assert one.unpublished() == other.unpublished() == []


def test_several_parts_share_one_exchange_and_each_gets_its_own_rows(store: Ledger) -> None:
    hats = example()

    class Shoes(hats):  # type: ignore[misc, valid-type]
        kinds = ("shoes",)

        def unpublished(self) -> list[SharedRow]:
            return [
                SharedRow("shoes", row.key, row.value, row.changed, 60)
                for row in super().unpublished()
            ]

    one, shoes, other = hats(), Shoes(), hats()
    one.put_on("ann", "bowler", 10)
    shoes.put_on("ann", "clogs", 10)
    StateExchange(store, [one, shoes]).exchange()
    StateExchange(store, [other]).exchange()
    assert worn(other) == {"ann": "bowler"}


def test_the_job_exchanges_once_a_second_and_again_after_the_store_was_away() -> None:
    clock, moment = ManualClock(), [0.0]
    store = MemoryLedger(clock)
    hats = example()
    one, other = hats(), hats()
    jobs = BackgroundJobs(
        [sharing_job(StateExchange(store, [one]), 1.0)],
        clock=lambda: moment[0],
        wait=lambda _: None,
    )
    theirs = StateExchange(store, [other])
    other.put_on("ann", "bowler", 1)
    theirs.exchange()
    jobs.run_due()
    assert worn(one) == {"ann": "bowler"}
    other.put_on("ann", "fez", 2)
    theirs.exchange()
    moment[0] = 0.9
    jobs.run_due()
    assert worn(one) == {"ann": "bowler"}
    moment[0] = 1.0
    jobs.run_due()
    assert worn(one) == {"ann": "fez"}
    other.put_on("ann", "beret", 3)
    theirs.exchange()
    working, store.published = store.published, _away  # type: ignore[method-assign, assignment]
    moment[0] = 2.0
    jobs.run_due()
    store.published = working  # type: ignore[method-assign]
    moment[0] = 3.0
    jobs.run_due()
    assert worn(one) == {"ann": "beret"}


def _away(*_: object) -> None:
    raise Unavailable("the store is away")
