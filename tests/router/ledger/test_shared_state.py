"""Processes share small rows through every store: the newer change stays, and old rows end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.core.errors import InvalidInput, Unavailable
from router.ledger import memory
from router.ledger.base import Granted, Ledger
from router.ledger.check import check
from router.ledger.postgres import database
from router.ledger.postgres import shared_state as in_postgres
from router.ledger.postgres.ledger import PostgresLedger
from router.ledger.shared_state import MAX_PUBLISHED, MAX_ROWS, SharedRow
from router.ledger.sqlite import file
from router.ledger.sqlite import shared_state as in_sqlite
from router.ledger.sqlite.ledger import SqliteLedger
from tests.router.ledger.builders import START, ManualClock, hold
from tests.router.ledger.conftest import StoreMaker

ROW = SharedRow("fruit", "apple", '{"ripe":true}', 100, 60.0)


def row(key: str = "apple", value: str = "v", changed: int = 100, **changes: object) -> SharedRow:
    return replace(ROW, key=key, value=value, changed=changed, **changes)  # type: ignore[arg-type]


def values(store: Ledger, since: int = 0, *kinds: str) -> dict[str, str]:
    found = store.published(kinds or ("fruit",), since)
    return {each.key: each.value for each in found.rows}


def test_what_one_process_shares_another_reads_as_it_was_written(store: Ledger) -> None:
    assert store.published(["fruit"]).rows == ()
    store.publish([ROW])
    assert store.published(["fruit"]).rows == (ROW,)


def test_each_question_brings_what_was_written_since_the_last_one(store: Ledger) -> None:
    store.publish([row("apple"), row("pear")])
    first = store.published(["fruit"])
    assert [each.key for each in first.rows] == ["apple", "pear"]
    assert store.published(["fruit"], first.until).rows == ()
    store.publish([row("pear", changed=101), row("fig")])
    second = store.published(["fruit"], first.until)
    assert [each.key for each in second.rows] == ["pear", "fig"]
    assert store.published(["fruit"], second.until).rows == ()
    assert sorted(values(store)) == ["apple", "fig", "pear"]


def test_only_the_kinds_that_are_asked_for_are_read(store: Ledger) -> None:
    store.publish([row("apple"), row("beech", kind="tree"), row("rose", kind="flower")])
    assert set(values(store, 0, "tree", "flower")) == {"beech", "rose"}
    assert values(store, 0, "stone") == {}


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        (("old", 100), ("new", 101), "new"),
        (("new", 101), ("old", 100), "new"),
        (("a", 100), ("b", 100), "b"),
        (("b", 100), ("a", 100), "b"),
        (("Zebra", 100), ("ähre", 100), "ähre"),
        (("ähre", 100), ("Zebra", 100), "ähre"),
    ],
)
def test_the_newer_change_stays_and_of_two_at_once_the_greater_text(
    store: Ledger, first: tuple[str, int], second: tuple[str, int], stays: str
) -> None:
    for value, changed in (first, second):
        store.publish([row(value=value, changed=changed)])
    assert values(store) == {"apple": stays}


def test_a_row_that_changes_nothing_is_not_news(store: Ledger) -> None:
    store.publish([ROW])
    until = store.published(["fruit"]).until
    store.publish([ROW, replace(ROW, value="x", changed=99)])
    assert store.published(["fruit"], until).rows == ()


_WRITES = st.lists(
    st.builds(
        row,
        key=st.sampled_from(["apple", "pear"]),
        value=st.sampled_from(["", "a", "b", "é", "\U0001f34f"]),
        changed=st.integers(0, 3),
    ),
    max_size=6,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(writes=_WRITES, chance=st.randoms(use_true_random=False))
def test_the_order_in_which_rows_arrive_does_not_matter(
    make_store: StoreMaker, writes: list[SharedRow], chance: object
) -> None:
    shuffled = list(writes)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = make_store(ManualClock()), make_store(ManualClock())
    for each in writes:
        one.publish([each])
    other.publish(shuffled)
    best: dict[str, SharedRow] = {}
    for each in writes:
        best[each.key] = max(best.get(each.key, each), each, key=lambda found: found.age)
    expected = {key: each.value for key, each in best.items()}
    assert values(one) == values(other) == expected
    one.close()
    other.close()


def test_a_row_ends_exactly_when_its_time_is_over(store: Ledger, clock: ManualClock) -> None:
    store.publish([row(keep_s=60.0)])
    clock.advance(seconds=59.9)
    assert values(store) == {"apple": "v"}
    clock.advance(seconds=0.1)
    assert values(store) == {}
    store.publish([row(changed=1)])  # older, and there is nothing left that is newer
    assert values(store) == {"apple": "v"}


def test_writing_a_row_again_with_a_newer_change_keeps_it_for_longer(
    store: Ledger, clock: ManualClock
) -> None:
    store.publish([row(keep_s=60.0)])
    clock.advance(seconds=40)
    store.publish([row(changed=101, keep_s=60.0)])
    clock.advance(seconds=59.9)
    assert values(store) == {"apple": "v"}


def test_of_too_many_rows_of_a_kind_those_written_longest_ago_go(
    store: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_ROWS == 10_000
    for module in (memory, in_sqlite, in_postgres):
        monkeypatch.setattr(module, "MAX_ROWS", 3)
    store.publish([row("oak", kind="tree")])
    store.publish([row(str(number)) for number in range(3)])
    assert sorted(values(store)) == ["0", "1", "2"]
    store.publish([row("0", changed=101), row("3")])
    assert sorted(values(store)) == ["0", "2", "3"]
    assert values(store, 0, "tree") == {"oak": "v"}


def test_many_rows_are_read_in_pages(store: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory, in_sqlite, in_postgres):
        monkeypatch.setattr(module, "MAX_PAGE", 2)
    store.publish([row(str(number)) for number in range(5)])
    pages, since = [], 0
    for _ in range(4):
        found = store.published(["fruit"], since)
        since = found.until
        pages.append([each.key for each in found.rows])
    assert pages == [["0", "1"], ["2", "3"], ["4"], []]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": ""}, "kind"),
        ({"kind": "k" * 101}, "kind"),
        ({"key": ""}, "key"),
        ({"key": "k" * 1_001}, "key"),
        ({"key": "\0"}, "key"),
        ({"value": "v" * 8_001}, "value"),
        ({"value": "\ud800"}, "value"),
        ({"changed": -1}, "changed"),
        ({"changed": 2**62 + 1}, "changed"),
        ({"keep_s": 0.0}, "keep_s"),
        ({"keep_s": float("nan")}, "keep_s"),
        ({"keep_s": 366 * 86_400.0 + 1}, "keep_s"),
    ],
)
def test_a_row_that_cannot_be_kept_is_refused_with_all_the_others(
    store: Ledger, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        store.publish([ROW, replace(ROW, **changes)])  # type: ignore[arg-type]
    assert refusal.value.field == field
    assert values(store) == {}


def test_the_largest_row_is_kept(store: Ledger) -> None:
    largest = SharedRow("k" * 100, "é" * 1_000, "é" * 8_000, 2**62, 366 * 86_400.0)
    smallest = SharedRow("k", "k", "", 0, 0.001)
    store.publish([largest, smallest])
    assert store.published([largest.kind, "k"]).rows == (largest, smallest)


def test_a_thousand_rows_are_published_at_once_and_no_more(store: Ledger) -> None:
    many = [row(str(number)) for number in range(MAX_PUBLISHED + 1)]
    with pytest.raises(InvalidInput, match="1,001 are too many"):
        store.publish(many)
    store.publish(many[1:])
    assert len(values(store)) == MAX_PUBLISHED == 1_000
    store.publish([])


def test_money_and_what_is_erased_have_nothing_to_do_with_it(
    store: Ledger, clock: ManualClock
) -> None:
    store.publish([row(keep_s=7200.0)])
    assert isinstance(store.hold(hold("a", 1)), Granted)
    store.release("a", "acme")
    assert store.erase({}, START + timedelta(hours=1)) == 1
    assert values(store) == {"apple": "v"}
    assert check(store).violations == []  # type: ignore[arg-type]


def test_a_store_that_is_closed_shares_nothing(store: Ledger) -> None:
    store.close()
    for share in (lambda: store.publish([ROW]), lambda: store.published(["fruit"])):
        with pytest.raises(Unavailable):
            share()


# ── particular stores ─────────────────────────────────────────────────────────────────────────────


def test_it_survives_a_restart_and_is_in_a_backup(path: Path, tmp_path: Path) -> None:
    store = SqliteLedger(path, ManualClock())
    store.publish([ROW])
    file.back_up(path, tmp_path / "copy.db")
    store.close()
    for each in (path, tmp_path / "copy.db"):
        again = SqliteLedger(each, ManualClock())
        assert again.published(["fruit"]).rows == (ROW,)
        again.close()


def test_after_an_earlier_copy_is_restored_everything_is_read_again(
    path: Path, tmp_path: Path
) -> None:
    store = SqliteLedger(path, ManualClock())
    store.publish([row("apple")])
    file.back_up(path, tmp_path / "copy.db")
    store.publish([row("pear"), row("fig")])
    until = store.published(["fruit"]).until
    store.close()
    restored = SqliteLedger(tmp_path / "copy.db", ManualClock())
    assert values(restored, until) == {"apple": "v"}
    restored.close()


def test_a_ledger_of_the_schema_before_shares_rows_once_it_was_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(file, "_MIGRATIONS", file._MIGRATIONS[:4])
        file.open_writer(path, busy_timeout_s=1).close()
    store = SqliteLedger(path, ManualClock())
    store.publish([ROW])
    assert store.published(["fruit"]).rows == (ROW,)
    store.close()


_SCHEMAS = itertools.count()


@pytest.fixture
def replicas(postgres_address: str) -> Callable[[], PostgresLedger]:
    schema = f"sharing{next(_SCHEMAS)}"
    return lambda: PostgresLedger(postgres_address, schema=schema)


def test_replicas_read_each_other_s_rows(replicas: Callable[[], PostgresLedger]) -> None:
    one, other = replicas(), replicas()
    one.publish([ROW])
    found = other.published(["fruit"])
    assert found.rows == (ROW,)
    other.publish([row(changed=101)])
    assert one.published(["fruit"], found.until).rows == (row(changed=101),)
    for each in (one, other):
        each.close()
    again = replicas()
    assert values(again) == {"apple": "v"}
    again.close()


def test_a_database_of_the_schema_before_shares_rows_once_it_was_migrated(
    replicas: Callable[[], PostgresLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(database, "_MIGRATIONS", database._MIGRATIONS[:2])
        replicas().close()
    store = replicas()
    store.publish([ROW])
    assert store.published(["fruit"]).rows == (ROW,)
    store.close()


def test_who_reads_while_others_write_misses_nothing(store: Ledger) -> None:
    keys = {f"{writer}-{number}" for writer in range(4) for number in range(25)}
    seen: set[str] = set()

    def write(writer: int) -> None:
        for number in range(25):
            store.publish([row(f"{writer}-{number}")])

    def news(since: int) -> int:
        found = store.published(["fruit"], since)
        seen.update(each.key for each in found.rows)
        return found.until

    with ThreadPoolExecutor(4) as writers:
        jobs = [writers.submit(write, writer) for writer in range(4)]
        since = 0
        while not all(job.done() for job in jobs):
            since = news(since)
        for job in jobs:
            job.result()
    news(since)
    assert seen == keys


def test_replicas_that_write_at_once_are_read_whole_by_a_third(
    replicas: Callable[[], PostgresLedger],
) -> None:
    stores = [replicas(), replicas(), replicas()]
    seen: set[str] = set()

    def write(number: int) -> None:
        for turn in range(50):
            stores[number].publish([row(f"{number}-{turn}-{each}") for each in range(3)])

    with ThreadPoolExecutor(2) as writers:
        jobs = [writers.submit(write, number) for number in range(2)]
        since, ends = 0, False
        while not ends:
            ends = all(job.done() for job in jobs)
            found = stores[2].published(["fruit"], since)
            seen.update(each.key for each in found.rows)
            since = found.until
        for job in jobs:
            job.result()
    assert len(seen) == 2 * 50 * 3
    for each in stores:
        each.close()
