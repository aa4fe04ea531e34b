"""A judge off the rubric: it stops early, says why, and a better judge or rubric goes on in the same file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from router.core.errors import MitsumoriError
from router.core.money import short_usd
from tests.training.commands.test_import_command import jsonl
from tests.training.commands.test_judge_command import attempts, by_model, run, words_of
from tests.training.fake_provider import Act, Refuses, Request, Says, provider
from training.cli import app


def nothing_graded(folder: Path, url: str, *more: object) -> MitsumoriError:
    with pytest.raises(MitsumoriError, match="no attempt was graded") as caught:
        run(folder, url, "--concurrency", 1, *more)
    return caught.value


def test_a_judge_off_the_rubric_is_not_paid_for_the_whole_run(tmp_path: Path) -> None:
    jsonl(tmp_path / "h.jsonl", attempts(40))
    with provider(Says("I will not grade this.")) as made:
        said = nothing_graded(tmp_path, made.url)
        # Ten attempts, each with one reminder; 80 were to be judged.
        assert len(made.requests) == 20
        spent = made.input_tokens["umpire"] * 2_000 + made.output_tokens["umpire"] * 8_000
        assert said.reason == "NOTHING_GRADED"
        assert f"off the rubric at 10 attempts, and {short_usd(spent)} is spent" in said.message
        for way in ("--judge", "--rubric", "--again"):
            assert way in said.message
        # The same command pays nothing more, and says the same.
        assert nothing_graded(tmp_path, made.url).message == said.message
        assert len(made.requests) == 20


def test_a_better_judge_or_rubric_goes_on_in_the_same_file(tmp_path: Path) -> None:
    jsonl(tmp_path / "h.jsonl", attempts())
    better = tmp_path / "better.md"
    better.write_text("Grade it all the same.", encoding="utf-8")

    def judge(request: Request) -> Act:
        mended = "all the same" in request.text or request.model == "referee"
        return by_model(request) if mended else Says("No.")

    with provider(judge) as made:
        nothing_graded(tmp_path, made.url)
        by_rubric = run(tmp_path, made.url, "--json", "--rubric", better)
        assert json.loads(by_rubric.stdout)["graded"] == 8
        changed = [
            word.replace("umpire", "referee") for word in words_of(tmp_path, made.url, "--json")
        ]
        by_judge = CliRunner().invoke(app, changed, catch_exceptions=False)
        assert json.loads(by_judge.stdout)["graded"] == 8


def test_what_is_off_the_rubric_is_asked_again_where_somebody_says_so(tmp_path: Path) -> None:
    jsonl(tmp_path / "h.jsonl", attempts())
    mended: list[bool] = []

    def judge(request: Request) -> Act:
        off = not mended and "answer to 2" in request.text
        return Says("No.") if off else by_model(request)

    with provider(judge) as made:
        first = run(tmp_path, made.url)
        assert "2 attempts were judged off the rubric, and paid for" in first.stdout
        assert "--again" in first.stdout
        assert len(made.requests) == 6 + 4
        mended.append(True)
        # Not unasked, and not for a quote.
        assert json.loads(run(tmp_path, made.url, "--json").stdout)["off_rubric"] == 2
        quoted = json.loads(run(tmp_path, made.url, "--json", "--again", "--dry-run").stdout)
        assert quoted["quote"]["calls"] == 2
        assert json.loads(run(tmp_path, made.url, "--json").stdout)["graded"] == 6
        assert len(made.requests) == 10
        result = run(tmp_path, made.url, "--json", "--again")
        summary = json.loads(result.stdout)
        assert (summary["graded"], summary["off_rubric"], len(made.requests)) == (8, 0, 12)
        # Every reply is paid for, those that were given up too.
        spent = made.input_tokens["umpire"] * 2_000 + made.output_tokens["umpire"] * 8_000
        assert float(summary["spent_usd"]) == pytest.approx(spent / 1e9)
        assert float(summary["spent_usd"]) == pytest.approx(
            float(summary["cost_usd"]) + float(summary["replaced_usd"])
        )
        # What is on the rubric is never asked again.
        run(tmp_path, made.url, "--again")
        assert len(made.requests) == 12


def test_a_run_that_stops_off_the_rubric_keeps_what_was_graded(tmp_path: Path) -> None:
    jsonl(tmp_path / "h.jsonl", attempts(40))

    def judge(request: Request) -> Act:
        return by_model(request) if len(made.requests) <= 6 else Says("No.")

    with provider(judge) as made:
        result = run(tmp_path, made.url, "--concurrency", 1)
        assert (result.exit_code, len(made.requests)) == (3, 6 + 20)
    assert "6 attempts graded" in result.stdout
    assert "not done: 64: 10 judgements in a row are off the rubric" in result.stdout
    assert "name another --judge or --rubric" in result.stdout
    assert "start the same command" not in result.stdout


def test_nine_in_a_row_and_one_that_fits_go_on(tmp_path: Path) -> None:
    jsonl(tmp_path / "h.jsonl", attempts(10))

    def judge(request: Request) -> Act:
        # Every tenth attempt is judged as it should be: 9 × 2 calls off, then one on the rubric.
        return by_model(request) if len(made.requests) % 19 == 0 else Says("No.")

    with provider(judge) as made:
        result = run(tmp_path, made.url, "--json", "--concurrency", 1)
    summary = json.loads(result.stdout)
    assert (result.exit_code, summary["complete"]) == (0, True)
    assert (summary["graded"], summary["off_rubric"]) == (2, 18)


def test_the_quote_counts_reminders_that_are_due(tmp_path: Path) -> None:
    jsonl(tmp_path / "h.jsonl", attempts(1))

    def judge(request: Request) -> Act:
        turns = len(request.body["messages"])
        return Refuses(503) if turns > 2 and not mended else Says("Nine of ten, I think.")

    mended: list[bool] = []
    with provider(judge) as made:
        nothing_graded(tmp_path, made.url, "--retries", 0)
        result = run(tmp_path, made.url, "--json", "--dry-run")
        assert json.loads(result.stdout)["quote"]["calls"] == 2


def test_the_quote_says_why_there_are_more_calls_than_attempts(tmp_path: Path) -> None:
    jsonl(tmp_path / "h.jsonl", attempts())
    with provider(by_model) as made:
        plain = run(tmp_path, made.url, "--dry-run")
        assert "note:" not in plain.stderr
        twice = run(tmp_path, made.url, "--dry-run", "--repeat", 3, "--repeat-sample", 5)
        assert (
            "note: 8 attempts, 5 of them judged 3 times for the self-agreement (--repeat): 18 calls"
            in twice.stderr
        )
        pairs = run(tmp_path, made.url, "--dry-run", "--pairs", "small")
        assert "note: 4 attempts, each compared in both orders (--pairs): 8 calls" in pairs.stderr
        assert made.requests == []


def test_nothing_graded_is_an_error_that_says_where_the_reasons_are(tmp_path: Path) -> None:
    jsonl(tmp_path / "h.jsonl", attempts())
    with (
        provider(Says("No.")) as made,
        pytest.raises(MitsumoriError, match=r"judged-ungraded\.jsonl"),
    ):
        run(tmp_path, made.url)
    assert not (tmp_path / "judged.parquet").exists()
