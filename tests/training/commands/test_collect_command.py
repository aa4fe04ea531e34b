"""``python -m training collect``: from prompts to a history, within the budget, against a real provider."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from router.core.errors import InvalidInput, MitsumoriError
from tests.readiness import PATIENCE_S, wait_until
from tests.training.commands.test_import_command import jsonl
from tests.training.fake_provider import (
    Act,
    FakeProvider,
    Refuses,
    Request,
    Says,
    Script,
    Sends,
    Streams,
    provider,
)
from tests.training.fake_provider import tokens as tokens_of
from training.cli import app
from training.histories.aggregation import aggregate_attempts
from training.histories.history import read_history

CANARY = "canary-4711"
PRICES = ("--price", "small=1,4", "--price", "large=10,40")


def words_of(folder: Path, url: str, *more: object, prompts: int = 6) -> list[str]:
    path = folder / "prompts.jsonl"
    if not path.exists():
        jsonl(
            path, [{"prompt": f"{CANARY} question {n}?", "category": "c"} for n in range(prompts)]
        )
    return [
        "collect", "--prompts", str(path), "--models", "small,large", *PRICES, "--endpoint", url,
        "--budget", "5", "--out", str(folder / "history.parquet"), *map(str, more),
    ]  # fmt: skip


def run(folder: Path, url: str, *more: object, **options: Any) -> Any:
    return CliRunner().invoke(app, words_of(folder, url, *more, **options), catch_exceptions=False)


def collected(
    folder: Path, url: str, *more: object, exit_code: int = 0, **options: Any
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The summary, and the history with all its columns."""
    result = run(folder, url, "--json", *more, **options)
    assert result.exit_code == exit_code, result.output
    summary = json.loads(result.stdout)
    return summary, pd.read_parquet(summary["out"])


@pytest.mark.parametrize("stream", ["--no-stream", "--stream"])
def test_every_prompt_is_answered_by_every_model(stream: str, tmp_path: Path) -> None:
    with provider(lambda one: Says(f"{one.model} answers", reasoning=7)) as made:
        summary, history = collected(tmp_path, made.url, stream)
    assert (summary["complete"], summary["answered"], len(history)) == (True, 12, 12)
    # The ladder of one prompt before the next, so that a run that ends early has whole rows of it.
    assert history["model"].tolist() == ["small", "large"] * 6
    assert history["prompt_id"].nunique() == 6
    first = history.iloc[0]
    assert (first["answer"], first["reasoning_tokens"], first["usage"]) == (
        "small answers",
        7,
        "reported",
    )
    assert (first["category"], first["source"], first["finish_reason"]) == ("c", "collect", "stop")
    tokens = int(first["input_tokens"]), int(first["output_tokens"])
    assert first["cost_usd"] == pytest.approx((tokens[0] * 1 + tokens[1] * 4) / 1e6, rel=1e-9)
    assert first["latency_s"] >= 0
    # It is a history as training reads it; nobody has judged yet.
    read = read_history(tmp_path / "history.parquet")
    assert read.models == ["large", "small"]
    assert read.attempts["quality"].isna().all()
    assert float(summary["spent_usd"]) == pytest.approx(history["cost_usd"].sum())
    # Lengths are learnt from what was seen: a quote adds the catalog's allowance for hidden reasoning.
    learnt = aggregate_attempts(read.batches(), {"small": 0, "large": 1}, 2).answer_tokens
    assert learnt.tolist() == [[tokens_of("small answers"), tokens_of("large answers")]] * 6


def test_the_run_is_quoted_before_anything_is_asked(tmp_path: Path) -> None:
    with provider() as made:
        result = run(tmp_path, made.url, "--dry-run", "--json")
        assert made.requests == []
    quote = json.loads(result.stdout)["quote"]
    assert (result.exit_code, quote["calls"]) == (0, 12)
    assert 0 < float(quote["expected_usd"]) < float(quote["worst_usd"])
    assert float(quote["per_model"]["large"]["expected_usd"]) == pytest.approx(
        10 * float(quote["per_model"]["small"]["expected_usd"]), rel=0.01
    )
    assert not (tmp_path / "history.parquet").exists()


def test_a_quote_above_the_budget_is_refused_with_a_sample_that_fits(tmp_path: Path) -> None:
    with provider() as made:
        with pytest.raises(InvalidInput) as caught:
            run(tmp_path, made.url, "--budget", "0.004", "--max-output-tokens", "50", prompts=60)
        assert made.requests == []
        words = caught.value.message.split()
        fitting = words[words.index("(--sample") + 1].rstrip("),;")
        summary, _ = collected(
            tmp_path,
            made.url,
            "--budget",
            "0.004",
            "--max-output-tokens",
            "50",
            "--sample",
            fitting,
        )
    assert (caught.value.field, caught.value.reason) == ("budget", "OVER_BUDGET")
    assert 1 <= int(fitting) < 60
    assert summary["prompts"] == int(fitting)


def test_a_budget_that_ends_in_the_middle_keeps_what_was_paid_for(tmp_path: Path) -> None:
    with provider(Says("x" * 300)) as made:
        summary, history = collected(
            tmp_path, made.url, "--budget", "0.03", "--yes", "--max-output-tokens", "150",
            "--concurrency", "4", exit_code=3, prompts=60,
        )  # fmt: skip
        assert len(history) == sum(made.answered.values()) == summary["answered"] > 0
        assert float(summary["spent_usd"]) <= 0.03
        # A larger budget goes on: what is there is not asked again.
        more, whole = collected(tmp_path, made.url, "--budget", "5", "--max-output-tokens", "150")
        assert set(made.answered.values()) == {1}
    assert summary["stopped"] == "the budget ends here"
    assert (more["complete"], len(whole)) == (True, 120)


def test_what_fails_is_counted_and_kept_apart(tmp_path: Path) -> None:
    def script(request: Request) -> Act:
        number = int(request.prompt.split()[-1].rstrip("?"))
        if request.model == "large" and number < 2:
            return Refuses(400, "content_policy_violation")
        return Refuses(429, headers={"Retry-After": "0"}) if not request.before else Says()

    with provider(script) as made:
        result = run(tmp_path, made.url)
    assert result.exit_code == 0
    assert "failed: 2 calls: refused" in result.stdout
    history = pd.read_parquet(tmp_path / "history.parquet")
    assert len(history) == 10
    failed = [
        json.loads(line) for line in (tmp_path / "history-failed.jsonl").read_text().splitlines()
    ]
    assert [(one["model"], one["kind"], one["tries"]) for one in failed] == [
        ("large", "refused", 1)
    ] * 2
    assert failed[0]["detail"] == "status 400 (content_policy_violation)"
    everything = result.output + (tmp_path / "history-failed.jsonl").read_text()
    assert CANARY not in everything


def test_usage_that_cannot_be_believed_is_told_by_model(tmp_path: Path) -> None:
    def script(request: Request) -> Act:
        lie = {"prompt_tokens": 5, "completion_tokens": -7}
        return Says("word " * 30, usage=lie) if request.model == "small" else Says()

    with provider(script) as made:
        result = run(tmp_path, made.url)
    assert "note: small: output tokens negative in 6 answers" in result.stdout
    history = pd.read_parquet(tmp_path / "history.parquet")
    assert set(history[history["model"] == "small"]["usage"]) == {"counted"}
    assert history[history["model"] == "small"]["output_tokens"].between(28, 33).all()
    assert set(history[history["model"] == "large"]["usage"]) == {"reported"}


def test_answers_that_were_cut_are_told(tmp_path: Path) -> None:
    with provider(Says("Half", finish="length")) as made:
        assert "12 answers were cut at the limit" in run(tmp_path, made.url).stdout


def test_a_refused_key_says_where_it_is_read_from_and_never_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-canary-secret")
    with provider(Refuses(401, "invalid_api_key")) as made:
        with pytest.raises(MitsumoriError, match="no call was answered"):
            run(tmp_path, made.url, "--api-key-env", "MY_KEY")
        assert made.keys == {"sk-canary-secret"}
    assert b"sk-canary" not in (tmp_path / "history.parquet.journal").read_bytes()


@pytest.mark.parametrize("act", [
    Streams(("null",)), Streams(("5",)), Streams(("[1]",)), Sends("[" * 200_000),
], ids=["null", "number", "list", "deep"])  # fmt: skip
def test_a_reply_of_another_kind_costs_its_call_and_not_the_run(act: Act, tmp_path: Path) -> None:
    with provider(lambda one: act if "question 3?" in one.prompt else Says()) as made:
        summary, history = collected(tmp_path, made.url, "--stream", "--retries", "0")
        assert (summary["complete"], summary["failed"]) == (True, {"malformed": 2})
        assert len(history) == 10
        # They may have been billed: the same command does not pay for them again.
        collected(tmp_path, made.url, "--stream")
        assert len(made.requests) == 12


def test_what_the_endpoint_says_never_takes_the_key_into_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-canary-0123456789-secret"
    monkeypatch.setenv("OPENAI_API_KEY", key)

    def script(request: Request) -> Act:
        if request.model == "large":
            return Refuses(400, key)
        return Says(f"The key is {key}.", finish=key)

    with provider(script) as made:
        result = run(tmp_path, made.url, "--json", prompts=3)
    assert result.exit_code == 0
    rows = pd.read_parquet(tmp_path / "history.parquet")
    assert set(rows["answer"]) == {"The key is [API key]."}
    assert set(rows["finish_reason"]) == {"other"}
    kept = [path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".parquet"]
    everything = b"".join([result.output.encode(), rows.to_json().encode(), *kept])
    assert b"0123456789" not in everything


@pytest.mark.parametrize("about", [{}, "p", {"model": "small"}, {"prompt": "x", "prompt_id": "p"}])
def test_a_journal_altered_by_hand_is_one_line(about: object, tmp_path: Path) -> None:
    with provider() as made:
        collected(tmp_path, made.url, prompts=1)
        journal = tmp_path / "history.parquet.journal"
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        number = next(n for n, line in enumerate(lines) if line["event"] == "answered")
        lines[number]["about"] = about
        journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
        with pytest.raises(InvalidInput) as caught:
            run(tmp_path, made.url)
    assert caught.value.message == (
        f"{journal}, line {number + 1}: is damaged (about); restore the file, or name another --out to "
        "start anew"
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--models", "small,large,unheard"), "no price is known for unheard"),
        (("--models", "small"), "large is neither an arm nor a model"),
        (("--models", ","), "at least one model"),
        (("--budget", "-1"), "not an amount in USD"),
        (("--budget", "lots"), "not an amount in USD"),
        (("--endpoint", "example.com"), "base URL"),
        (("--out", "history.csv"), "must end in .parquet or .jsonl"),
    ],
)
def test_bad_options_are_one_line(more: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with provider() as made:
        with pytest.raises(MitsumoriError) as caught:
            run(tmp_path, made.url, *more)
        assert made.requests == []
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "history.parquet").write_bytes(b"mine")
    with provider() as made, pytest.raises(InvalidInput, match="is there already"):
        run(tmp_path, made.url)
    assert (tmp_path / "history.parquet").read_bytes() == b"mine"


@pytest.mark.parametrize("kept", [b"", b"{}\n", b"{}\n" + 50 * b"\0"])
def test_calls_of_a_journal_that_was_emptied_are_not_paid_again(
    kept: bytes, tmp_path: Path
) -> None:
    with provider() as made:
        run(tmp_path, made.url)
        asked = len(made.requests)
        (tmp_path / "history.parquet.journal").write_bytes(kept)
        with pytest.raises(InvalidInput, match="has no journal beside it"):
            run(tmp_path, made.url)
        assert len(made.requests) == asked


def test_a_call_that_no_budget_allows_is_left_out_before_the_run(tmp_path: Path) -> None:
    jsonl(tmp_path / "prompts.jsonl", ["short", "long " * 30_000])
    with provider() as made:
        result = run(tmp_path, made.url, "--budget", "1", "--max-output-tokens", "100")
        assert len(made.requests) == 3
    assert result.exit_code == 0
    assert "1 call is left out: the worst case alone is above the budget" in result.stderr


def test_a_model_of_the_catalog_needs_no_price(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "prompts.jsonl", ["Hello"])
    with provider(Says("Hello to you.")) as made:
        words = ["collect", "--prompts", str(path), "--models", "gpt-5-nano,claude-haiku-5-5",
                 "--endpoint", made.url, "--budget", "1", "--out", str(tmp_path / "h.jsonl")]  # fmt: skip
        assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows] == ["gpt-5-nano", "claude-haiku-5-5"]
    assert 0 < rows[0]["cost_usd"] < rows[1]["cost_usd"]
    assert read_history(tmp_path / "h.jsonl").models == ["claude-haiku-5-5", "gpt-5-nano"]


def test_a_run_is_bound_to_its_endpoint(tmp_path: Path) -> None:
    with provider() as made:
        collected(tmp_path, made.url, prompts=1)
        with pytest.raises(InvalidInput, match="is of a run with endpoint"):
            run(tmp_path, "http://elsewhere.invalid/v1")


def test_a_failed_call_is_asked_again_only_on_request(tmp_path: Path) -> None:
    broken = [True]
    with provider(lambda one: Refuses(400) if broken and one.model == "large" else Says()) as made:
        assert collected(tmp_path, made.url, prompts=3)[0]["failed"] == {"refused": 3}
        broken.clear()
        assert collected(tmp_path, made.url)[0]["failed"] == {"refused": 3}
        summary, history = collected(tmp_path, made.url, "--retry-failed")
    assert (summary["failed"], len(history)) == ({}, 6)
    assert not (tmp_path / "history-failed.jsonl").exists()


def test_a_prompt_that_was_reworded_is_asked_anew_and_the_history_still_reads(
    tmp_path: Path,
) -> None:
    with provider() as made:
        for text in ("Frist wording?", "First wording?"):
            jsonl(tmp_path / "prompts.jsonl", [{"prompt_id": "p1", "prompt": text}])
            collected(tmp_path, made.url)
        assert len(made.requests) == 4
    assert set(read_history(tmp_path / "history.parquet").attempts["prompt"]) == {"First wording?"}


def test_a_key_from_a_file_may_end_with_a_line_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with provider() as made:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-good\n")
        collected(tmp_path, made.url)
        assert made.keys == {"sk-good"}
        monkeypatch.setenv("OPENAI_API_KEY", "sk-cana ry")
        with pytest.raises(InvalidInput, match="OPENAI_API_KEY: holds characters") as caught:
            run(tmp_path, made.url)
    assert "sk-" not in caught.value.message


@pytest.mark.parametrize(("typed", "requests"), [("n", 0), ("y", 1)])
def test_on_a_terminal_somebody_is_asked(typed: str, requests: int, tmp_path: Path) -> None:
    with provider(Says("x" * 90)) as made:
        words = words_of(
            tmp_path, made.url, "--budget", "0.02", "--max-output-tokens", "40", "--sample", "30",
            "--models", "large", "--concurrency", "1", prompts=30,
        )  # fmt: skip
        words = [one for one in words if one not in PRICES] + ["--price", "large=10,40"]
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "training", *words],
            stdin=theirs,
            stderr=theirs,
            stdout=subprocess.PIPE,
        ) as process:
            os.close(theirs)
            shown = b""
            while b"Go on until the budget ends?" not in shown:
                shown += os.read(ours, 4096)
            os.write(ours, f"{typed}\n".encode())
            with suppress(OSError):  # the terminal ends with its process
                while os.read(ours, 4096):
                    pass
            process.communicate()
        os.close(ours)
        assert min(len(made.requests), 1) == requests
    assert process.returncode == (3 if requests else 2)


# --- A process that is killed ------------------------------------------------------------------


class Gate:
    """Lets so many answers through, and holds every later request until it opens."""

    def __init__(self, count: int) -> None:
        self.count, self.open = count, Event()

    def __call__(self, request: Request) -> Act:
        self.count -= 1
        if self.count < 0:
            self.open.wait(PATIENCE_S)
        return Says("An answer.")


@contextmanager
def started(folder: Path, made: FakeProvider, *more: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "training", *words_of(folder, made.url, *more, prompts=20)]
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def held(made: FakeProvider, script: Script, count: int) -> None:
    """Wait until so many requests are held at the gate."""
    wait_until(
        lambda: getattr(script, "count", 0) <= -count and made.under_way >= count, what="for calls"
    )


def test_a_killed_run_goes_on_and_pays_for_no_answer_twice(tmp_path: Path) -> None:
    gate = Gate(9)
    with provider(gate) as made:
        with started(tmp_path, made, "--concurrency", "3") as process:
            held(made, gate, 3)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE_S)
        journal = tmp_path / "history.parquet.journal"
        whole = [json.loads(line) for line in journal.read_text().splitlines()]
        done = {one["key"] for one in whole if one["event"] == "answered"}
        assert len(done) == 9
        with journal.open("ab") as file:
            file.write(b'{"event": "answered", "key": "half a li')
        gate.count, before = 10**6, len(made.requests)
        names = [one.headers["idempotency-key"] for one in made.requests]
        gate.open.set()
        summary, history = collected(tmp_path, made.url, "--concurrency", "3")
        assert len(made.requests) - before == 40 - 9
        # A provider that knows idempotency keys bills what was under way once.
        again = [one.headers["idempotency-key"] for one in made.requests[before:]]
        assert len(set(names) & set(again)) == 3
        assert len(set(again)) == len(again)
    assert (summary["complete"], summary["lost"], len(history)) == (True, 3, 40)
    assert not history.duplicated(["prompt_id", "model"]).any()
    # What was under way may have been billed: it is booked at its worst case, beside the answers.
    assert float(summary["spent_usd"]) > float(summary["cost_usd"])
    assert summary["cost_usd"] == f"{history['cost_usd'].sum():.9f}"


def test_an_interrupt_awaits_what_is_paid_for_and_writes_the_history(tmp_path: Path) -> None:
    gate = Gate(4)
    with (
        provider(gate) as made,
        started(tmp_path, made, "--concurrency", "2", "--json") as process,
    ):
        held(made, gate, 2)
        process.send_signal(signal.SIGINT)
        gate.open.set()
        out, told = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 3, told
        assert len(made.requests) == 6
    summary = json.loads(out)
    assert (summary["stopped"], summary["answered"], summary["lost"]) == (
        "it was interrupted",
        6,
        0,
    )
    assert len(pd.read_parquet(tmp_path / "history.parquet")) == 6


def test_a_second_interrupt_ends_at_once_and_loses_nothing_that_is_known(tmp_path: Path) -> None:
    gate = Gate(4)
    with provider(gate) as made:
        with started(tmp_path, made, "--concurrency", "2", "--json") as process:
            held(made, gate, 2)

            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            told = ""
            while "once more ends at once" not in told:
                line = process.stderr.readline()
                assert line, told
                told += line
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate()
        assert process.returncode == 3, told
        assert json.loads(out)["answered"] == 4
        gate.open.set()
        gate.count = 10**6
        summary, history = collected(tmp_path, made.url)
    assert (summary["lost"], len(history)) == (2, 40)
