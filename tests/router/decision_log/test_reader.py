"""One reader for every log: exports whole and damaged, ledgers, all rows and the newest ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest
from google.rpc import code_pb2

from mitsumori.v1 import admin_pb2
from router.core.errors import BadArtifact, InvalidInput
from router.core.limits import Amounts
from router.decision_log import reader
from router.decision_log.reader import (
    Damaged,
    LoggedDecision,
    Unparsed,
    is_decision_log,
    read_log,
    read_newest,
    undamaged,
)
from router.ledger.base import Settlement, Usage
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.rpc.error_interceptor import status_of
from router.rpc.messages.admin import fill_decision
from tests.router.decision_log.test_record import GOLDEN, golden
from tests.router.ledger.builders import ManualClock, hold

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
COLUMNS = ("decision_id", "state", "created", "spent_usd", "labels", "record")


def row(number: int = 0, **changes: Any) -> dict[str, Any]:
    moment = START + timedelta(seconds=number)
    return {
        "decision_id": f"d{number}", "state": "settled", "created": moment.isoformat(),
        "spent_usd": "0.000001500", "labels": "category=customer support team=search user=u1",
        "record": golden("v1_text"),
        **changes,
    }  # fmt: skip


def written(path: Path, rows: Sequence[dict[str, Any]], encoding: str = "utf-8") -> str:
    with path.open("w", encoding=encoding, newline="") as lines:
        if path.suffix == ".csv":
            table = csv.DictWriter(lines, COLUMNS)
            table.writeheader()
            table.writerows(rows)
        else:
            lines.writelines(json.dumps(one) + "\n" for one in rows)
    return str(path)


def ids(rows: Sequence[LoggedDecision | Unparsed]) -> list[str]:
    return [one.id for one in rows if isinstance(one, LoggedDecision)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_reads_with_and_without_a_byte_order_mark(
    suffix: str, encoding: str, tmp_path: Path
) -> None:
    log = written(tmp_path / f"log{suffix}", [row()], encoding)
    assert is_decision_log(log)
    (found,) = read_log(log)
    assert isinstance(found, LoggedDecision)
    assert (found.id, found.state, found.created, found.spent) == ("d0", "settled", START, 1_500)
    assert found.labels == {"category": "customer support", "team": "search", "user": "u1"}
    assert read_newest(log, 5) == [found]


def test_a_moment_of_another_time_zone_is_read_in_utc(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [row(created="2026-11-23T21:00:00+09:00")])
    (found,) = read_newest(log, 1)
    assert (found.created, found.created.tzinfo) == (START, UTC)


def test_a_record_longer_than_128_kib_reads_from_csv(tmp_path: Path) -> None:
    long = json.dumps(json.loads(golden("v1_text")) | {"prompt": "x" * 200_000})
    log = written(tmp_path / "log.csv", [row(record=long)])
    assert is_decision_log(log)
    (found,) = read_newest(log, 1)
    assert isinstance(found, LoggedDecision)
    assert found.record.prompt == "x" * 200_000


def test_a_record_of_another_release_is_not_called_damaged(tmp_path: Path) -> None:
    newer = json.dumps(json.loads(golden("v1_text")) | {"version": 2})
    log = written(tmp_path / "log.jsonl", [row(record=newer), row(record="{}"), row(record="{")])
    first, second, third = read_log(log)
    assert isinstance(first, Unparsed)
    assert (first.created, first.reason) == (START, "the record is of an unknown version")
    assert isinstance(second, Unparsed)
    assert second.reason == "the record lacks bundle"
    assert third == Damaged("record", "is not JSON")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"record": "{"}, "record: is not JSON"),
        ({"record": "[]"}, "record: is not a record of a decision"),
        ({"created": "yesterday"}, "created: is no moment"),
        ({"created": "0001-01-01T00:00:00+23:00"}, "created: is no moment in ISO 8601"),
        ({"created": "9999-12-31T23:59:59-23:00"}, "created: is no moment in ISO 8601"),
        ({"spent_usd": "much"}, "spent_usd: is no amount"),
        ({"spent_usd": "1e999999"}, "spent_usd: is no amount in USD"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_the_newest_rows_stop_at_damage_and_name_it(
    suffix: str, bad: dict[str, Any], words: str, tmp_path: Path
) -> None:
    log = written(tmp_path / f"log{suffix}", [row(), row(1, **bad)])
    with pytest.raises(InvalidInput, match=f"row 2 of the log: {words}"):
        read_newest(log, 5)


def test_the_newest_of_a_file_are_those_made_last_whatever_their_order(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [row(number) for number in (3, 1, 4, 0, 2)])
    assert ids(read_newest(log, 3)) == ["d2", "d3", "d4"]
    assert ids(read_newest(log, 9)) == ["d0", "d1", "d2", "d3", "d4"]
    assert read_newest(log, 0) == []


def test_the_newest_of_a_ledger_are_read_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_PAGE", 2)
    clock = ManualClock(START)
    stores = (SqliteLedger(tmp_path / "ledger", clock=clock), MemoryLedger(clock=clock))
    for number in range(7):
        for store in stores:
            store.hold(replace(hold(f"d{number}"), record=golden("v1_held")))
        clock.moment += timedelta(seconds=1)
    # Its rows are read twice below.
    monkeypatch.setattr(stores[1], "close", lambda: None)
    monkeypatch.setattr(reader, "open_ledger", lambda address: stores[1])
    for log in (f"sqlite:{tmp_path}/ledger", "postgresql://somewhere/ledger"):
        assert is_decision_log(log)
        assert ids(read_newest(log, 5)) == ["d2", "d3", "d4", "d5", "d6"]
        assert ids(read_newest(log, 99)) == [f"d{number}" for number in range(7)]
    stores[0].close()


def test_a_ledger_joins_what_was_settled(tmp_path: Path) -> None:
    store = SqliteLedger(tmp_path / "ledger")
    store.hold(replace(hold("d0"), record=golden("v1_held")))
    store.hold(replace(hold("d1"), record=golden("v1_held")))
    store.settle(
        Settlement("d1", "f", "acme", Usage(Amounts(12, 3), {"model": "a", "quality": 0.5}))
    )
    store.hold(replace(hold("d2"), record="{}"))
    store.close()
    held, settled, foreign = read_log(f"sqlite:{tmp_path}/ledger")
    assert isinstance(held, LoggedDecision)
    assert isinstance(settled, LoggedDecision)
    assert isinstance(foreign, Unparsed)
    assert (held.spent, held.record.usage) == (None, None)
    assert settled.spent == 12
    assert settled.record.usage is not None
    assert (settled.record.usage.model, settled.record.usage.quality) == ("a", 0.5)


@pytest.mark.parametrize(
    ("table", "column", "text", "reason"),
    [
        ("payloads", "record", "{", "is not JSON"),
        ("payloads", "record", "[]", "is not a record of a decision"),
        ("decisions", "usage", "{", "is not a JSON object"),
        ("label_sets", "labels", "[]", "is not a JSON object"),
    ],
)
def test_damage_in_a_ledger_names_the_decision_and_a_remedy_that_works(
    table: str, column: str, text: str, reason: str, tmp_path: Path
) -> None:
    store = SqliteLedger(tmp_path / "ledger")
    store.hold(replace(hold("d0"), record=golden("v1_held")))
    store.release("d0", "acme")
    store.close()
    with closing(apsw.Connection(str(tmp_path / "ledger"))) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (text,))
    with pytest.raises(BadArtifact) as caught:
        read_newest(f"sqlite:{tmp_path}/ledger", 5)
    assert caught.value.message == (
        f"decision d0 is damaged in the ledger: {column}: {reason}; erase it with `mitsumori erase`, "
        "or restore a backup"
    )
    with closing(SqliteLedger(tmp_path / "ledger")) as again:
        assert again.erase({"tenant": "acme"}, datetime.max.replace(tzinfo=UTC)) == 1
    assert read_newest(f"sqlite:{tmp_path}/ledger", 5) == []


@pytest.mark.parametrize(("table", "column"), [("payloads", "record"), ("decisions", "usage")])
def test_text_that_is_not_utf_8_names_the_decision_and_a_remedy_that_works(
    table: str, column: str, tmp_path: Path
) -> None:
    with closing(SqliteLedger(tmp_path / "ledger")) as store:
        for name in ("d0", "d1", "d2"):
            store.hold(replace(hold(name), record=golden("v1_held")))
            store.release(name, "acme")
        with closing(apsw.Connection(str(tmp_path / "ledger"))) as connection:
            connection.execute(
                f"UPDATE {table} SET {column} = CAST(x'ff22' AS TEXT)"
                " WHERE created = (SELECT created FROM decisions WHERE id = 'd1')"
            )
        for read in (store.decisions, lambda: store.decision("d1")):
            with pytest.raises(BadArtifact, match="decision d1 is damaged") as caught:
                read()
            assert caught.value.reason == "LOG_DAMAGED"
        assert store.decision("d2") is not None
        assert store.erase({"tenant": "acme"}, datetime.max.replace(tzinfo=UTC)) == 3
        assert store.decisions() == []


def test_the_server_names_a_damaged_decision_to_those_who_list_it(tmp_path: Path) -> None:
    with closing(SqliteLedger(tmp_path / "ledger")) as store:
        store.hold(replace(hold("d0"), record=golden("v1_held")))
        with closing(apsw.Connection(str(tmp_path / "ledger"))) as connection:
            connection.execute("UPDATE payloads SET record = '{'")
        (damaged,) = store.decisions()
        with pytest.raises(BadArtifact, match="decision d0 is damaged") as caught:
            fill_decision(admin_pb2.DecisionRow(), damaged)
    assert status_of(caught.value).code == code_pb2.FAILED_PRECONDITION
    assert caught.value.metadata == {"decision_id": "d0"}


@pytest.mark.parametrize("name", ["v0_log.csv", "v0_log.jsonl", "v0_log.parquet"])
def test_a_log_is_known_by_its_columns(name: str, tmp_path: Path) -> None:
    assert is_decision_log(str(GOLDEN / name))
    empty = tmp_path / "empty.csv"
    empty.write_text(",".join(COLUMNS) + "\n")
    assert is_decision_log(str(empty))
    assert list(read_log(str(empty))) == []


def test_a_parquet_file_that_is_damaged_inside_is_called_damaged(tmp_path: Path) -> None:
    whole = (GOLDEN / "v0_log.parquet").read_bytes()
    log = tmp_path / "log.parquet"
    told = set()
    for start in range(4, 20_000, 500):
        log.write_bytes(whole[:start] + b"\xff" * 40 + whole[start + 40 :])
        try:
            list(read_log(str(log)))
        except InvalidInput as error:
            told.add(error.message)
    assert told == {f"{log}: is damaged; write it again with `mitsumori decisions --out`"}


def test_a_parquet_file_that_is_not_there_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be read \(No such file"):
        list(read_log(str(tmp_path / "none.parquet")))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("history.jsonl", '{"prompt": "p", "model": "m"}\n'),
        ("history.csv", "prompt,model\np,m\n"),
        ("history.jsonl", "no JSON\n"),
        ("history.jsonl", ""),
        ("log.csv", "decision_id,state,created,record\n"),
        ("log.txt", ""),
    ],
)
def test_what_lacks_a_column_is_no_log(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert not is_decision_log(str(path))


def test_rows_pass_until_one_is_damaged() -> None:
    unparsed = Unparsed(START, "the record lacks goal", "")
    rows = undamaged([unparsed, Damaged("record", "is not JSON")])
    assert next(rows) is unparsed
    with pytest.raises(InvalidInput, match="row 2 of the log: record: is not JSON"):
        next(rows)
