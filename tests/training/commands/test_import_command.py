"""``python -m training import``: logs of every kind become a history that reading accepts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from router.core.errors import InvalidInput
from training.cli import app
from training.histories.history import read_history
from training.histories.log_import.history_writer import GROUP_COLUMN
from training.histories.split import group_of

EMAIL = "canary.4711@example.co.jp"


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["import", *map(str, words)], catch_exceptions=False)


def imported(
    kind: str, *logs: Path, words: Iterable[str] = ()
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The summary, and the history as training reads it."""
    out = logs[0].parent / "out" / "history.parquet"
    result = run("--from", kind, *logs, "--out", out, "--json", *words)
    assert result.exit_code == 0
    return json.loads(result.stdout), read_history(out).attempts


def refused(kind: str, *logs: Path, words: Iterable[str] = ()) -> str:
    out = logs[0].parent / "refused.parquet"
    with pytest.raises(InvalidInput) as caught:
        run("--from", kind, *logs, "--out", out, *words)
    assert "\n" not in caught.value.message
    assert not out.exists()
    assert list(out.parent.glob(".*.part")) == []
    return caught.value.message


def jsonl(path: Path, rows: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as a file of the kind that its suffix says; nested values as text where the kind has none."""
    flat = [
        {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()}
        for row in rows
    ]
    match path.suffix:
        case ".csv":
            with path.open("w", encoding="utf-8", newline="") as lines:
                writer = csv.DictWriter(lines, list(rows[0]))
                writer.writeheader()
                writer.writerows(flat)
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(flat), path)
        case ".json":
            path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        case _:
            jsonl(path, rows)
    return path


# --- LiteLLM -----------------------------------------------------------------------------------


def spend(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "request_id": f"r{number}",
        "call_type": "acompletion",
        "api_key": "hashed",
        "spend": 0.0012,
        "total_tokens": 30,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "startTime": f"2026-11-01 10:00:{number % 60:02}.000",
        "endTime": f"2026-11-01 10:00:{number % 60:02}.500",
        "model": "gpt-5-nano",
        "user": "u1",
        "team_id": "t1",
        "cache_hit": "False",
        "metadata": {"quality": 1.0, "status": "success"},
        "messages": [{"role": "system", "content": "Be brief."},
                     {"role": "user", "content": f"Question {number}?"}],
        "response": {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]},
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_litellm_reads_the_same_from_every_kind_of_export(suffix: str, tmp_path: Path) -> None:
    log = table(tmp_path / f"spend{suffix}", [spend(n) for n in range(3)])
    summary, attempts = imported("litellm", log)
    assert (summary["attempts"], summary["judged"], summary["rejected_rows"]) == (3, 3, 0)
    first = attempts.iloc[0]
    # As serving's classifier reads it: without the system message.
    assert first["prompt"] == "Question 0?"
    assert (first["model"], first["quality"], first["user"]) == ("gpt-5-nano", 1.0, "u1")
    assert (first["input_tokens"], first["output_tokens"]) == (10, 20)
    assert (first["cost_usd"], first["latency_s"]) == (pytest.approx(0.0012), pytest.approx(0.5))
    assert first["timestamp"] == "2026-11-01T10:00:00+00:00"


def test_litellm_rows_that_are_no_attempts_are_counted_with_their_remedy(tmp_path: Path) -> None:
    rows = [
        spend(0),
        spend(1, messages={}),
        spend(2, status="failure"),
        spend(3, call_type="aembedding"),
        spend(4, messages=[{"role": "user", "content": "a (litellm_truncated 900 chars) b"}]),
        spend(
            5, messages={}, proxy_server_request={"messages": [{"role": "user", "content": "x"}]}
        ),
    ]
    summary, attempts = imported("litellm", jsonl(tmp_path / "spend.jsonl", rows))
    assert attempts["prompt"].tolist() == ["Question 0?", "x"]
    told = {one["reason"]: one["remedy"] for one in summary["left_out"]}
    assert "store_prompts_in_spend_logs" in told["LiteLLM kept no prompt"]
    assert "MAX_STRING_LENGTH_PROMPT_IN_DB" in told["LiteLLM kept only a part of the prompt"]
    assert {"the call failed", "no chat (aembedding)"} <= set(told)


def test_a_cached_answer_has_neither_price_nor_speed(tmp_path: Path) -> None:
    log = jsonl(tmp_path / "spend.jsonl", [spend(0, cache_hit="True", spend=0.0)])
    _, attempts = imported("litellm", log)
    assert attempts[["cost_usd", "latency_s"]].isna().all(axis=None)


# --- OpenAI ------------------------------------------------------------------------------------


def chat(text: str, model: str = "gpt-6-luna") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "developer", "content": "Be brief."},
                                         {"role": "user", "content": text}]}  # fmt: skip


def answer(text: str = "Fine.") -> dict[str, Any]:
    return {
        "model": "gpt-6-luna-2026-10-01",
        "created": 1_793_000_000,
        "choices": [{"message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }


def test_openai_calls_in_their_shapes(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {}}]
    rows = [
        {"request": chat("One?"), "response": answer(), "quality": 0.5, "category": "maths"},
        {**chat("Two?"), "response": answer()},
        {"request": {"model": "m", "messages": [{"role": "user", "content": parts}]},
         "response": answer()},
        {"request": {"model": "m", "input": "Three?"},
         "response": {"output": [{"content": [{"type": "output_text", "text": "x"}]}],
                      "usage": {"input_tokens": 5, "output_tokens": 6}}},
        {"request": chat("Failed?"), "response": {"error": {"message": "no"}}},
    ]  # fmt: skip
    summary, attempts = imported("openai", jsonl(tmp_path / "calls.jsonl", rows))
    assert attempts["prompt"].tolist() == ["One?", "Two?", "What is this?", "Three?"]
    assert attempts["model"].tolist() == ["gpt-6-luna", "gpt-6-luna", "m", "m"]
    assert attempts["input_tokens"].tolist() == [7, 7, 7, 5]
    assert attempts["category"].tolist()[0] == "maths"
    assert summary["judged"] == 1
    assert [one["reason"] for one in summary["left_out"]] == ["the call failed"]


def test_hidden_reasoning_of_a_log_is_kept_apart_from_the_answer(tmp_path: Path) -> None:
    def reply(**usage: Any) -> dict[str, Any]:
        return {**answer(), "usage": {"prompt_tokens": 7, "completion_tokens": 90, **usage}}

    hidden = {"completion_tokens_details": {"reasoning_tokens": 80}}
    rows = [
        {"request": chat("One?"), "response": reply(**hidden)},
        {"request": chat("Two?"), "response": reply(total_tokens=177, **hidden)},
        {"request": chat("Three?"), "response": reply()},
        {"request": {"model": "m", "input": "Four?"},
         "response": {"output": [{"content": [{"type": "output_text", "text": "x"}]}],
                      "usage": {"input_tokens": 5, "output_tokens": 60,
                                "output_tokens_details": {"reasoning_tokens": 50}}}},
    ]  # fmt: skip
    _, attempts = imported("openai", jsonl(tmp_path / "calls.jsonl", rows))
    # The second endpoint leaves reasoning out of the output; its total has it.
    assert attempts["output_tokens"].tolist() == [90, 170, 90, 60]
    assert attempts["reasoning_tokens"].fillna(-1).tolist() == [80, 80, -1, 50]


@pytest.mark.parametrize("place", ["response", "metadata"])
def test_litellm_tells_hidden_reasoning(place: str, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 20,
             "completion_tokens_details": {"reasoning_tokens": 15}}  # fmt: skip
    told = {"metadata": {"usage_object": usage}}
    if place == "response":
        told = {"response": {**answer(), "usage": usage}}
    _, attempts = imported("litellm", jsonl(tmp_path / "spend.jsonl", [spend(1, **told)]))
    assert attempts[["output_tokens", "reasoning_tokens"]].to_numpy().tolist() == [[20, 15]]


def test_the_output_of_a_batch_finds_its_prompts_in_the_input(tmp_path: Path) -> None:
    asked = [
        {"custom_id": f"c{n}", "method": "POST", "url": "/v1/chat/completions",
         "body": chat(f"Number {n}? 数{n}")}
        for n in range(3)
    ]  # fmt: skip
    got = [
        {"id": "b1", "custom_id": "c2", "response": {"status_code": 200, "body": answer()},
         "error": None},
        {"id": "b0", "custom_id": "c0", "response": {"status_code": 500, "body": {}}, "error": None},
    ]  # fmt: skip
    inputs, outputs = jsonl(tmp_path / "in.jsonl", asked), jsonl(tmp_path / "out.jsonl", got)
    summary, attempts = imported("openai", inputs, outputs)
    assert attempts["prompt"].tolist() == ["Number 2? 数2"]
    assert (summary["read"], summary["attempts"]) == (2, 1)
    assert "custom_id: has no request; name the batch's input file too" in refused(
        "openai", outputs
    )


def test_fine_tuning_needs_to_be_told_whose_answers_they_are(tmp_path: Path) -> None:
    turns = [*chat("Capital of France?")["messages"], {"role": "assistant", "content": "Paris."}]
    log = jsonl(tmp_path / "tune.jsonl", [{"messages": turns}])
    assert "row 1: model: is missing; name the model that answered with --model" in refused(
        "openai", log
    )
    _, attempts = imported("openai", log, words=["--model", "ours"])
    assert attempts[["prompt", "model"]].to_numpy().tolist() == [["Capital of France?", "ours"]]
    unanswered = jsonl(tmp_path / "no.jsonl", [{"messages": turns[:2]}])
    assert "row 1: messages: has no answer" in refused("openai", unanswered)


# --- RouterBench -------------------------------------------------------------------------------


def bench(number: int) -> dict[str, Any]:
    return {
        "sample_id": f"mmlu.{number}",
        "prompt": f"['Part one of {number}.', 'Part two.']",
        "eval_name": "mmlu",
        "gpt-4": 1.0,
        "mixtral": 0.0,
        "gpt-4|model_response": "A",
        "mixtral|model_response": "B",
        "gpt-4|total_cost": 0.01,
        "mixtral|total_cost": 0.001,
        "oracle_model_to_route_to": "gpt-4",
    }


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_routerbench_has_an_attempt_per_prompt_and_model(suffix: str, tmp_path: Path) -> None:
    log = table(tmp_path / f"bench{suffix}", [bench(0), bench(1)])
    summary, attempts = imported("routerbench", log)
    assert (summary["attempts"], summary["prompts"], summary["judged"]) == (4, 2, 4)
    assert set(attempts["model"]) == {"gpt-4", "mixtral"}
    assert attempts["prompt"].iloc[0] == "Part one of 0.\n\nPart two."
    strong = attempts[attempts["model"] == "gpt-4"]
    assert strong["quality"].tolist() == [1.0, 1.0]
    assert strong["cost_usd"].tolist() == [0.01, 0.01]
    assert set(attempts["category"]) == {"mmlu"}


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "routerbench_raw.pkl"
    path.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert "a pickle can run any code" in refused("routerbench", path)


def test_a_bad_value_is_named_by_the_column_of_the_log(tmp_path: Path) -> None:
    log = jsonl(tmp_path / "bench.jsonl", [bench(0), {**bench(1), "mixtral": 7}])
    assert "row 2: mixtral: 7 must be finite, at least 0 and at most 1" in refused(
        "routerbench", log
    )


# --- What holds for all ------------------------------------------------------------------------


def call(text: object, **changes: Any) -> dict[str, Any]:
    return {"request": chat("x") | {"messages": [{"role": "user", "content": text}]},
            "response": answer(), **changes}  # fmt: skip


def test_bad_rows_are_refused_by_number_or_left_out_and_reported(tmp_path: Path) -> None:
    rows: list[object] = [call("a secret"), {"nothing": 1}, call("b secret", quality=3), call(None)]
    log = jsonl(tmp_path / "log.jsonl", rows)
    log.write_text(log.read_text() + '{"request": "secret', encoding="utf-8")
    said = refused("openai", log)
    assert "4 of 5 rows are bad" in said
    for words in (
        "log.jsonl row 2: row: ",
        "row 3: quality: 3 must",
        "row 4: messages: is missing",
    ):
        assert words in said
    assert "row 5: row: is not a JSON object" in said
    assert "secret" not in said
    assert "--skip-bad-rows" in said
    report = tmp_path / "refused-rejected-log.jsonl"
    assert str(report) in said
    told = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    assert sorted(row["row"] for row in told) == [2, 3, 4, 5]
    summary, attempts = imported("openai", log, words=["--skip-bad-rows"])
    assert attempts["prompt"].tolist() == ["a secret"]
    assert summary["rejected_rows"] == 4
    assert [Path(path).name for path in summary["rejected"]] == ["history-rejected-log.jsonl"]


def test_exact_repeats_are_written_once_and_counted(tmp_path: Path) -> None:
    later = {**call("same"), "response": {**answer(), "created": 1_793_000_001}}
    other = {**call("same"), "response": answer("Other.")}
    log = jsonl(tmp_path / "log.jsonl", [call("same"), call("same"), later, other, call("same")])
    again = jsonl(tmp_path / "again.jsonl", [call("same")])
    summary, attempts = imported("openai", log, again)
    assert (summary["attempts"], summary["repeats"], summary["prompts"]) == (3, 3, 1)
    assert attempts["prompt_id"].nunique() == 1


def test_prompts_of_one_group_share_it_and_each_text_keeps_an_id_of_its_own(tmp_path: Path) -> None:
    texts = ["What is  IT?", "what is it?", "What else?"]
    log = jsonl(tmp_path / "log.jsonl", map(call, texts))
    summary, attempts = imported("openai", log)
    assert summary["prompts"] == 2
    ids = attempts["prompt_id"].tolist()
    assert len(set(ids)) == 3
    assert len({identity.split("-")[0] for identity in ids}) == 2
    groups = pq.read_table(tmp_path / "out" / "history.parquet")[GROUP_COLUMN].to_pylist()
    assert groups == [group_of(text) for text in texts]


def test_personal_data_never_reaches_the_file_unless_asked_for(tmp_path: Path) -> None:
    rows = [call(f"Write to {EMAIL} at once"), call("No names here")]
    rows[0]["request"]["user"] = EMAIL
    log = jsonl(tmp_path / "log.jsonl", rows)
    summary, attempts = imported("openai", log)
    assert attempts["prompt"].tolist() == ["Write to [email] at once", "No names here"]
    assert summary["redacted"] == 1
    written = [path for path in (tmp_path / "out").iterdir() if path.is_file()]
    assert written
    assert all(EMAIL.encode() not in path.read_bytes() for path in written)
    assert EMAIL not in pq.read_table(written[0]).to_pandas().to_json()
    summary, attempts = imported("openai", log, words=["--no-redact"])
    assert EMAIL in attempts["prompt"][0]
    assert summary["redacted"] is None


def test_without_the_extra_redacting_is_refused_in_one_line(tmp_path: Path) -> None:
    log = jsonl(tmp_path / "log.jsonl", [call("x")])
    code = textwrap.dedent(f"""
        import sys
        sys.modules["phonenumbers"] = None
        sys.argv = ["t", "import", "--from", "openai", {str(log)!r}, "--out", {str(tmp_path / "h.parquet")!r}]
        from training.cli import main
        main()
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: redacting prompts needs")
    assert done.stderr.count("\n") == 1


def test_half_of_a_surrogate_pair_is_a_bad_row(tmp_path: Path) -> None:
    log = jsonl(tmp_path / "log.jsonl", [call("fine"), call("x\ud800")])
    assert "row 2: messages: holds half of a surrogate pair" in refused("openai", log)


def test_a_json_array_of_any_length_is_read_element_by_element(tmp_path: Path) -> None:
    rows = [call(f"{n} " + "é" * 300) for n in range(700)]
    path = tmp_path / "log.json"
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")
    summary, _ = imported("openai", path)
    assert summary["attempts"] == 700
    path.write_text(json.dumps(rows)[:-40], encoding="utf-8")
    assert "is not JSON after row 699" in refused("openai", path)


@pytest.mark.parametrize("kind", ["litellm", "openai", "routerbench"])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "a log must be one of"),
        ("a.csv", b"\xff\xfe", "is not UTF-8"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
        ("a.jsonl", b"", "no attempt to write, of 0 rows: there are no rows"),
        ("none.jsonl", None, "cannot be read"),
    ],
)
def test_what_is_no_log_is_one_clear_error(
    kind: str, name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert words in refused(kind, path)


def test_the_file_that_is_read_is_not_overwritten(tmp_path: Path) -> None:
    log = table(tmp_path / "log.parquet", [spend(0)])
    with pytest.raises(InvalidInput, match="is the log itself"):
        run("--from", "litellm", log, "--out", log)
    with pytest.raises(InvalidInput, match="must end in"):
        run("--from", "litellm", log, "--out", tmp_path / "h.csv")


def test_people_read_what_was_done(tmp_path: Path) -> None:
    rows: list[Mapping[str, Any]] = [
        spend(0),
        spend(0),
        spend(1, messages={}),
        spend(2, metadata={}),
    ]
    log = jsonl(tmp_path / "spend.jsonl", rows)
    shown = run("--from", "litellm", log, "--out", tmp_path / "h.parquet").stdout
    for words in ("2 attempts at 2 prompts, 1 judged", "repeats: 1", "left out: 1 rows: LiteLLM kept no",
                  "redacted: ", "1 attempts have no quality"):  # fmt: skip
        assert words in shown
