"""Reading a history: what is accepted, what is refused, and that every bad row is named."""

from __future__ import annotations

import csv
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from router.core.errors import InvalidInput
from training.histories import history_files
from training.histories.history import Attempt, read_history, write_rejected

ROWS: list[dict[str, Any]] = [
    {"prompt": "secret words", "model": "small", "quality": 0.25, "output_tokens": 12},
    {"prompt": "secret words", "model": "large", "quality": 1, "output_tokens": 30},
    {"prompt": "東京の天気は？", "model": "small", "quality": None, "language": "ja"},
]


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def as_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_the_same_attempts_come_out_of_every_format(tmp_path: Path) -> None:
    read = [
        read_history(jsonl(tmp_path / "a.jsonl", ROWS)).attempts,
        read_history(as_csv(tmp_path / "a.csv", ROWS)).attempts,
        read_history(parquet(tmp_path / "a.parquet", ROWS)).attempts,
    ]
    assert read[0]["quality"].tolist()[:2] == [0.25, 1.0]
    assert np.isnan(read[0]["quality"].iloc[2])
    for other in read[1:]:
        pd.testing.assert_frame_equal(read[0], other)


def test_a_missing_prompt_id_is_a_hash_of_the_prompt(tmp_path: Path) -> None:
    ids = read_history(jsonl(tmp_path / "a.jsonl", ROWS)).attempts["prompt_id"]
    assert ids[0] == ids[1] != ids[2]


def test_a_float32_quality_reaches_the_threshold_it_was_written_for(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS[:1]).assign(quality=np.float32(0.7))
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_history(tmp_path / "a.parquet").attempts["quality"][0] >= 0.7


def test_parquet_dates_and_decimals_are_times_and_numbers(tmp_path: Path) -> None:
    """Warehouses export days as ``date`` and money as ``decimal``."""
    table = pa.table(
        {
            "prompt": ["a", "b"],
            "model": ["m", "m"],
            "timestamp": pa.array([date(2026, 4, 9), None]),
            "cost_usd": pa.array([Decimal("0.001200000"), None], pa.decimal128(18, 9)),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    attempts = read_history(tmp_path / "a.parquet").attempts
    assert attempts["timestamp"][0].startswith("2026-04-09")
    assert attempts["timestamp"].isna().tolist() == [False, True]
    assert attempts["cost_usd"][0] == pytest.approx(0.0012)


def test_parquet_with_messages_for_a_prompt_is_told_by_row(tmp_path: Path) -> None:
    chats = [[{"role": "user", "content": "Hello"}], [{"role": "user", "content": "Bye"}]]
    pq.write_table(pa.table({"prompt": chats, "model": ["m", "m"]}), tmp_path / "a.parquet")
    with pytest.raises(
        InvalidInput, match="row 1: prompt: is not text; row 2: prompt: is not text"
    ):
        read_history(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"quality": 1.7}, "quality", "1.7 must be finite, at least 0 and at most 1"),
        ({"quality": "good"}, "quality", "is not a number"),
        ({"quality": True}, "quality", "is not a number"),
        ({"output_tokens": -1}, "output_tokens", "-1 must be finite, at least 0"),
        ({"cost_usd": float("inf")}, "cost_usd", "inf must be finite"),
        ({"propensity": 0}, "propensity", "above 0"),
        ({"prompt": "  "}, "prompt", "is missing"),
        ({"prompt": 7}, "prompt", "is not text"),
        ({"model": None}, "model", "is missing"),
        ({"timestamp": "yesterday"}, "timestamp", "ISO 8601"),
        ({"reasoning_tokens": -1}, "reasoning_tokens", "-1 must be finite, at least 0"),
        (
            {"output_tokens": 300, "reasoning_tokens": 301},
            "reasoning_tokens",
            "301 is above the 300 output_tokens, which include it",
        ),
    ],
)
def test_a_bad_row_is_named_by_number_column_and_reason(
    tmp_path: Path, change: dict[str, Any], column: str, reason: str
) -> None:
    path = jsonl(tmp_path / "a.jsonl", [*ROWS, {**ROWS[0], **change}])
    with pytest.raises(InvalidInput, match=r"1 of 4 rows are bad: row 4") as caught:
        read_history(path)
    assert f"row 4: {column}: " in caught.value.message
    assert reason in caught.value.message
    assert "secret" not in caught.value.message


def test_one_prompt_id_for_two_prompts_is_named(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "prompt_id": "a"}, {**ROWS[2], "prompt_id": "a"}]
    with pytest.raises(InvalidInput, match="row 2: prompt_id: stands for another prompt"):
        read_history(jsonl(tmp_path / "a.jsonl", rows))


def test_a_damaged_line_is_a_bad_row(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", ROWS)
    path.write_text(path.read_text(encoding="utf-8") + '{"prompt": "secret', encoding="utf-8")
    with pytest.raises(InvalidInput, match="row 4: row: is not a JSON object"):
        read_history(path)
    wide = tmp_path / "a.csv"
    wide.write_text("prompt,model\nsecret,small,and more\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="row 1: row: has another number of fields"):
        read_history(wide)


def test_many_bad_rows_are_counted_and_the_first_are_listed(tmp_path: Path) -> None:
    rows = [*ROWS, *({**ROWS[0], "quality": 2} for _ in range(50))]
    with pytest.raises(InvalidInput, match=r"50 of 53 rows are bad.* and 30 more"):
        read_history(jsonl(tmp_path / "a.jsonl", rows))


def test_bad_rows_can_be_left_out_and_are_reported(tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[1], "quality": 9, "output_tokens": -3}, ROWS[2]]
    history = read_history(jsonl(tmp_path / "a.jsonl", rows), skip_bad_rows=True)
    assert history.attempts["model"].tolist() == ["small", "small"]
    assert history.rejected_rows == 1
    write_rejected(history.rejected, tmp_path / "rejected.jsonl")
    told = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [(row["row"], row["column"]) for row in told] == [(2, "output_tokens"), (2, "quality")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "a history is one of .parquet"),
        ("a.jsonl", b"", "holds no attempts"),
        ("a.csv", b"", "holds no attempts"),
        ("a.csv", b"prompt,model\n", "holds no attempts"),
        ("a.csv", b"prompt,quality\nhello,1\n", "without the column 'model'"),
        ("a.jsonl", b'{"text": "hello"}\n', "without the column 'prompt' and 'model'"),
        ("a.parquet", b"not parquet", "not a readable Parquet file"),
        ("a.jsonl", b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_history_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read_history(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"gone\.csv: cannot be read \(No such file"):
        read_history(tmp_path / "gone.csv")


numbers = st.one_of(st.none(), st.floats(), st.integers(-3, 3), st.booleans())


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(quality=numbers, cost=numbers, propensity=numbers, prompt=st.sampled_from(["a", "", None]))
def test_the_check_of_columns_agrees_with_the_contract(
    tmp_path: Path, quality: Any, cost: Any, propensity: Any, prompt: Any
) -> None:
    given_row = {"quality": quality, "cost_usd": cost, "propensity": propensity}
    # The contract says that NaN means «not given», and that a truth value is no number.
    row = {key: None if value != value else value for key, value in given_row.items()}
    try:
        Attempt.model_validate({"prompt": prompt, "model": "m", **row}, strict=True)
        allowed = True
    except ValidationError:
        allowed = False
    path = jsonl(tmp_path / "a.jsonl", [{"prompt": prompt, "model": "m", **row}])
    if allowed:
        assert len(read_history(path).attempts) == 1
    else:
        with pytest.raises(InvalidInput, match="row 1"):
            read_history(path)


# --- A batch at a time -------------------------------------------------------------------------

WRITERS = {"jsonl": jsonl, "csv": as_csv, "parquet": parquet}


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_files, "BATCH", 2)


@pytest.mark.parametrize("suffix", WRITERS)
def test_batches_change_nothing(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**ROWS[row % 3], "latency_s": row / 7} for row in range(11)]
    path = WRITERS[suffix](tmp_path / f"a.{suffix}", rows)
    whole = read_history(path)
    monkeypatch.setattr(history_files, "BATCH", 2)
    cut = read_history(path)
    assert len(list(cut.batches())) == 6
    pd.testing.assert_frame_equal(whole.attempts, cut.attempts)
    pd.testing.assert_frame_equal(whole.counts, cut.counts)
    assert (cut.prompts, cut.counts["attempts"].sum()) == (2, 11)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.usefixtures("small_batches")
def test_bad_rows_are_named_by_their_place_in_the_file(tmp_path: Path, suffix: str) -> None:
    rows = [{"prompt_id": str(row), **ROWS[row % 2]} for row in range(7)]
    rows[4]["quality"], rows[6]["prompt_id"], rows[6]["prompt"] = 3, "0", "other words"
    path = WRITERS[suffix](tmp_path / f"a.{suffix}", rows)
    history = read_history(path, skip_bad_rows=True)
    assert [(bad.row, bad.column) for bad in history.rejected] == [(5, "quality"), (7, "prompt_id")]
    assert history.attempts["prompt_id"].tolist() == ["0", "1", "2", "3", "5"]
    with pytest.raises(
        InvalidInput, match=r"2 of 7 rows are bad: row 5: quality.* row 7: prompt_id"
    ):
        read_history(path)


@pytest.mark.usefixtures("small_batches")
def test_a_number_as_id_is_the_same_in_batches_with_and_without_gaps(tmp_path: Path) -> None:
    frame = pd.DataFrame([*ROWS, *ROWS[:1]])
    frame["prompt_id"] = pd.array([7, 7, None, 7], dtype="Int64")
    frame.to_parquet(tmp_path / "a.parquet")
    ids = read_history(tmp_path / "a.parquet").attempts["prompt_id"]
    assert ids[0] == ids[1] == ids[3] == "7"


@pytest.mark.usefixtures("small_batches")
def test_a_batch_without_a_required_column_is_bad_rows(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [*ROWS[:2], {"prompt": "one"}, {"prompt": "two"}])
    with pytest.raises(InvalidInput, match="row 3: model: is missing; row 4: model: is missing"):
        read_history(path)


def test_attempts_of_the_wanted_models_are_brought(tmp_path: Path) -> None:
    history = read_history(parquet(tmp_path / "a.parquet", ROWS))
    (only,) = history.batches(columns=("prompt", "model"), models={"large"})
    assert only["model"].tolist() == ["large"]
    assert history.models == ["large", "small"]


def test_a_file_that_changes_after_its_check_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", ROWS)
    history = read_history(path)
    jsonl(path, [*ROWS, {"prompt": "unchecked", "model": ""}])
    with pytest.raises(InvalidInput, match=r"a\.jsonl: was changed while it was read"):
        history.attempts  # noqa: B018 -- reading is what fails
