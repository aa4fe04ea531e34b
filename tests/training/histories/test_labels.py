"""Labels and the table: the cheapest adequate arm, costs, judges, gaps."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.errors import InvalidInput
from router.core.rates import Rates
from training.histories.labels import (
    UNDETERMINED,
    label_counts,
    label_names,
    label_positions,
    write_labels,
)
from training.histories.ladders import parse_arms, parse_prices
from training.histories.outcome_table import HistoryTable, ReadOptions, read_table
from training.histories.outcomes import Outcomes

PRICES = {"low": Rates(Decimal(1), Decimal(2)), "high": Rates(Decimal(10), Decimal(20))}
ARMS = {"low": "small", "high": "large"}


def outcomes(quality: list[list[float]], threshold: float = 0.5) -> Outcomes:
    n, k = len(quality), len(quality[0])
    names = np.array([f"p{i}" for i in range(n)], dtype=object)
    return Outcomes(
        arms=tuple(f"arm{i}" for i in range(k)),
        prompt_ids=names, texts=names, groups=names, categories=names, languages=names, sources=names,
        thresholds=np.full(n, threshold),
        quality=np.array(quality, dtype=float),
        cost_nanos=np.zeros((n, k), dtype=np.int64),
        output_tokens=np.full((n, k), np.nan),
    )  # fmt: skip


def attempt(prompt: str, model: str, quality: float | None, **more: Any) -> dict[str, Any]:
    row = {"prompt": prompt, "model": model, "quality": quality, "input_tokens": 100}
    return row | {"output_tokens": 50} | more


def table(folder: Path, rows: list[dict[str, Any]], **reading: Any) -> HistoryTable:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_table([path], ReadOptions(**({"arms": ARMS, "prices": PRICES} | reading)))


# --- Labels ------------------------------------------------------------------------------------


def test_the_label_is_the_first_adequate_arm_or_none() -> None:
    quality = [[1, 1, 1], [0, 1, 0], [0, 0, 0.5], [0, 0, 0.4]]
    assert label_names(outcomes(quality)).tolist() == ["arm0", "arm1", "arm2", "none"]


def test_a_quality_at_the_threshold_is_adequate_and_one_just_below_is_not() -> None:
    just_below = float(np.nextafter(0.5, 0))
    assert label_positions(outcomes([[0.5, 1.0], [just_below, 0.5]])).tolist() == [0, 1]


def test_labels_are_positions_on_the_ladder_with_none_behind_the_last() -> None:
    nan = float("nan")
    quality = [[1, 1], [0, 1], [0, 0], [nan, 1], [0, nan]]
    assert label_positions(outcomes(quality)).tolist() == [0, 1, 2, -1, -1]
    assert label_counts(outcomes(quality)) == {"arm0": 1, "arm1": 1, "none": 1, "undetermined": 2}


def test_a_label_file_of_another_kind_or_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"labels are written as .parquet, .jsonl or .csv"):
        write_labels(outcomes([[1, 1]]), tmp_path / "labels.txt")
    (tmp_path / "file").write_text("")
    for suffix in (".csv", ".jsonl"):
        with pytest.raises(InvalidInput, match="cannot be written"):
            write_labels(outcomes([[1, 1]]), tmp_path / "file" / f"labels{suffix}")


def test_labels_are_written_into_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "LABELS.JSONL"
    write_labels(outcomes([[1, 1], [0, float("nan")]]), target)
    write_labels(outcomes([[1, 1], [0, float("nan")]]), target)
    assert target.read_text(encoding="utf-8") == (
        '{"prompt_id": "p0", "label": "arm0"}\n{"prompt_id": "p1", "label": null}\n'
    )
    table = tmp_path / "labels.csv"
    write_labels(outcomes([[1, 1]]), table)
    assert table.read_text() == "prompt_id,label\np0,arm0\n"
    write_labels(outcomes([[1, 1]]), tmp_path / "labels.parquet")
    assert pq.read_schema(tmp_path / "labels.parquet").names == ["prompt_id", "label"]


def test_labels_of_any_script_are_written_as_they_are(tmp_path: Path) -> None:
    named = replace(outcomes([[1, 1]]), prompt_ids=np.array(["質問"], dtype=object))
    write_labels(named, tmp_path / "labels.jsonl")
    written = (tmp_path / "labels.jsonl").read_text(encoding="utf-8")
    assert written == '{"prompt_id": "質問", "label": "arm0"}\n'


def test_a_censored_prompt_has_a_label_only_where_it_is_certain() -> None:
    nan = float("nan")
    quality = [[1, nan, nan], [nan, 1, nan], [0, 1, nan], [0, nan, 0], [0, 0, nan]]
    assert label_names(outcomes(quality)).tolist() == ["arm0", None, "arm1", None, None]
    assert label_counts(outcomes(quality)) == {
        "arm0": 1, "arm1": 1, "arm2": 0, "none": 0, "undetermined": 3,
    }  # fmt: skip


qualities = st.lists(
    st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=3, max_size=3),
    min_size=1,
    max_size=8,
)


@given(quality=qualities, threshold=st.floats(0, 1))
def test_no_arm_before_the_label_is_adequate(quality: list[list[float]], threshold: float) -> None:
    for row, label in zip(quality, label_positions(outcomes(quality, threshold)), strict=True):
        if label == UNDETERMINED:
            # Filling the gaps with bad and with good attempts gives different labels.
            bad = [0.0 if value != value else value for value in row]
            good = [1.0 if value != value else value for value in row]
            first, second = label_positions(outcomes([bad, good], max(threshold, 1e-9)))
            assert first != second or threshold == 0
            continue
        assert all(value < threshold for value in row[:label])
        if label < len(row):
            assert row[label] >= threshold


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_labels_are_written_in_every_format(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"labels{suffix}"
    write_labels(outcomes([[1, 1], [float("nan"), 1]]), target)
    read = {
        ".parquet": pd.read_parquet,
        ".csv": pd.read_csv,
        ".jsonl": lambda path: pd.read_json(path, lines=True),
    }[suffix](target)
    assert read["prompt_id"].tolist() == ["p0", "p1"]
    assert read["label"].iloc[0] == "arm0"
    assert pd.isna(read["label"].iloc[1])


# --- The table ---------------------------------------------------------------------------------


def test_missing_attempts_are_gaps_and_repeated_ones_become_their_mean(tmp_path: Path) -> None:
    rows = [attempt("a", "small", 0.2), attempt("a", "small", 0.6), attempt("b", "large", 1)]
    made = table(tmp_path, rows).outcomes
    np.testing.assert_allclose(made.quality, [[0.4, np.nan], [np.nan, 1]])


def test_costs_are_logged_or_reckoned_exactly(tmp_path: Path) -> None:
    rows = [attempt("a", "small", 1, cost_usd=0.25), attempt("a", "large", 1)]
    made = table(tmp_path, rows).outcomes
    assert made.cost_nanos.tolist() == [[250_000_000, (100 * 10 + 50 * 20) * 1000]]


def test_missing_input_tokens_are_counted(tmp_path: Path) -> None:
    row = attempt("hello world", "small", 1, output_tokens=0)
    rows = [{key: row[key] for key in row if key != "input_tokens"}, attempt("b", "large", 0)]
    assert table(tmp_path, rows).outcomes.cost_nanos[0, 0] == 2 * 1000


def test_an_arm_without_a_price_is_never_free(tmp_path: Path) -> None:
    rows = [attempt("a", "small", 1), attempt("a", "large", 1)]
    with pytest.raises(InvalidInput, match=r"arm low \(small\); add --price low=IN,OUT"):
        table(tmp_path, rows, prices={})
    logged = [{**row, "cost_usd": 0.5} for row in rows]
    assert table(tmp_path, logged, prices={}).outcomes.cost_nanos.tolist() == [[500_000_000] * 2]


def test_judges_are_never_mixed(tmp_path: Path) -> None:
    rows = [
        attempt("a", "small", 0.0, judge="strict"),
        attempt("a", "large", 0.2, judge="strict"),
        attempt("b", "small", 0.4, judge="strict"),
        attempt("a", "small", 1.0, judge="kind"),
        attempt("a", "large", 1.0, judge="kind"),
    ]
    made = table(tmp_path, rows)
    assert made.outcomes.quality[0].tolist() == [0.0, 0.2]
    assert (
        "judged by strict (3 attempts); 2 attempts of 1 other judge are not used" in made.notes[0]
    )
    assert table(tmp_path, rows, judge="kind").outcomes.quality[0, 0] == 1.0
    with pytest.raises(
        InvalidInput, match="judged by nobody, but by strict, kind; choose with --judge"
    ):
        table(tmp_path, rows, judge="nobody")


def test_no_judge_for_every_model_is_refused_with_the_names(tmp_path: Path) -> None:
    rows = [attempt("a", "small", 1, judge="strict"), attempt("a", "large", 1, judge="kind")]
    with pytest.raises(InvalidInput, match="kind did not judge small, and judges are never mixed"):
        table(tmp_path, rows)


def test_the_judge_of_most_arms_is_taken(tmp_path: Path) -> None:
    rows = [attempt(str(i), "small", 1, judge="busy") for i in range(9)]
    rows += [attempt("a", model, 0, judge="fair") for model in ("small", "large")]
    assert "judged by fair (2 attempts)" in table(tmp_path, rows).notes[0]


def test_histories_are_pooled_by_arm_with_gaps(tmp_path: Path) -> None:
    for name, model in (("one", "small"), ("two", "large")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(attempt("a", model, 1)) + "\n")
    made = read_table(
        [tmp_path / "one.jsonl", tmp_path / "two.jsonl"], ReadOptions(arms=ARMS, prices=PRICES)
    )
    assert len(set(made.outcomes.prompt_ids)) == 2
    assert len(set(made.outcomes.groups)) == 1
    np.testing.assert_array_equal(made.outcomes.judged, [[True, False], [False, True]])


# --- Arms --------------------------------------------------------------------------------------


def test_a_known_history_brings_its_ladder(tmp_path: Path) -> None:
    models = ("gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1")
    rows = [attempt("a", model, 0.75) for model in models]
    made = table(tmp_path, rows, arms=None, prices={})
    assert made.outcomes.arms == ("low", "high")
    assert made.models["high"] == ["gpt-4-1106-preview"]
    assert made.histories[0].adequacy_threshold == 0.75
    assert made.rates["high"] == Rates(Decimal(10), Decimal(30))


def test_an_unknown_history_asks_for_arms_and_lists_its_models(tmp_path: Path) -> None:
    rows = [attempt("a", f"model-{i:02d}", 1) for i in range(20)]
    with pytest.raises(InvalidInput, match=r"--arms low=MODEL,high=MODEL.*model-14 and 5 more"):
        table(tmp_path, rows, arms=None)


def test_a_model_that_is_not_there_gets_the_closest_name(tmp_path: Path) -> None:
    rows = [attempt("a", "small-1.5", 1), attempt("a", "large", 1)]
    with pytest.raises(InvalidInput, match=r"low=small: .* did you mean small-1\.5\?"):
        table(tmp_path, rows)


NO_LADDERS = ["low", "low=", "=a", "low=a", "low=a,low=b", "low=a,high=a", "none=a,b=c"]


@pytest.mark.parametrize("text", NO_LADDERS)
def test_arms_that_make_no_ladder_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--arms"):
        parse_arms(text)


def test_model_names_may_hold_slashes_and_colons() -> None:
    assert parse_arms("low=org/small:8b, high=x") == {"low": "org/small:8b", "high": "x"}


@pytest.mark.parametrize("text", ["low", "low=1", "low=1,x", "low=-1,2", "low=nan,2"])
def test_prices_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--price"):
        parse_prices([text])


def test_every_shipped_ladder_is_sound() -> None:
    from training.histories.ladders import LADDERS, _ladders

    listed = _ladders()
    assert LADDERS.is_file()
    for known in listed.histories.values():
        assert known.marks
        assert [tier for tier in listed.tiers if tier in known.arms] == list(known.arms)
