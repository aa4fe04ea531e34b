"""A log is read the same from a ledger in use, from a shared one and from its exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.core.errors import InvalidInput
from router.decision_log import reader
from router.decision_log.reader import Damaged, LoggedDecision, read_log
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import Router
from tests.router.decision_log.builders import (
    exported,
    fill,
    invoke,
    prompts,
    rows_of,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "decision_records"


def test_a_ledger_in_use_and_every_export_of_it_read_the_same(
    ledger: tuple[Path, SqliteLedger], tmp_path: Path
) -> None:
    path, open_one = ledger
    wanted = rows_of(open_one)
    assert list(read_log(f"sqlite:{path}")) == wanted
    for suffix in (".csv", ".jsonl", ".parquet"):
        assert list(read_log(str(exported(open_one, tmp_path / f"log{suffix}")))) == wanted


def test_a_log_longer_than_a_page_is_read_to_its_end(router: Router, tmp_path: Path) -> None:
    made = SqliteLedger(tmp_path / "ledger.sqlite")
    fill(made, router, ["What is 2 + 2?"] * 1_003)
    made.close()
    found = list(read_log(f"sqlite:{tmp_path}/ledger.sqlite"))
    assert len({row.id for row in found if isinstance(row, LoggedDecision)}) == 1_003


def test_a_shared_ledger_is_read_page_by_page_and_closed(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MemoryLedger()
    fill(made, router, prompts(7))
    wanted, closed = rows_of(made), []
    monkeypatch.setattr(made, "close", lambda: closed.append(True), raising=False)
    monkeypatch.setattr(reader, "open_ledger", lambda address: made)
    monkeypatch.setattr(reader, "_PAGE", 3)
    assert list(read_log("postgresql://who:secret@somewhere/ledger")) == wanted
    assert closed == [True]


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"record": "{"}, "record"),
        ({"record": "[]"}, "record"),
        ({"created": "yesterday"}, "created"),
        ({"spent_usd": "much"}, "spent_usd"),
    ],
)
def test_a_damaged_row_is_named_and_never_shown(
    change: dict[str, Any], column: str, tmp_path: Path
) -> None:
    sound = {
        "decision_id": "secret", "state": "settled", "created": "2026-11-23T10:00:00Z",
        "spent_usd": "0.1", "labels": "", "record": GOLDEN.joinpath("v1_text.json").read_text(),
    }  # fmt: skip
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(sound) + "\n" + json.dumps({**sound, **change}) + "\n")
    first, second = read_log(str(path))
    assert isinstance(first, LoggedDecision)
    assert isinstance(second, Damaged)
    assert second.column == column
    with pytest.raises(InvalidInput, match=f"row 2 of the log: {column}: ") as caught:
        invoke(str(path))
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'{"decision_id": 1}\n', b"PAR1"])
def test_what_is_no_log_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    for suffix in (".jsonl", ".parquet", ".csv", ".txt"):
        path = tmp_path / f"log{suffix}"
        path.write_bytes(content)
        with pytest.raises(InvalidInput) as caught:
            invoke(str(path))
        assert "\n" not in caught.value.message
    with pytest.raises(InvalidInput, match="no ledger"):
        invoke(f"sqlite:{tmp_path}/none.sqlite")
    with pytest.raises(InvalidInput, match="cannot be read"):
        invoke(str(tmp_path / "none.csv"))
