"""`python -m training abilities`: the models of two small histories on one scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from router.core.errors import InvalidInput
from training import cli
from training.scale.known_abilities import known_abilities


def run(histories: tuple[Path, ...], *words: str) -> str:
    files = [word for path in histories for word in ("--history", str(path))]
    result = CliRunner().invoke(cli.app, ["abilities", *files, *words])
    if isinstance(result.exception, InvalidInput):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_the_ablest_model_comes_first_and_its_attempts_are_counted(
    pooled_histories: tuple[Path, Path],
) -> None:
    printed = run(pooled_histories)
    assert printed.index("gemini-2.5-pro") < printed.index("llama-3.1-8b-instruct")
    assert "7 models, 2,040 attempts at 600 prompts" in printed
    assert "sd: standard deviation of the points, on any work: " in printed
    assert printed.endswith("than in others, as measured here\n")


def test_one_history_says_that_it_tells_little_of_others(
    pooled_histories: tuple[Path, Path],
) -> None:
    printed = run(pooled_histories[:1])
    assert printed.endswith("one history tells little of others\n")
    told = json.loads(run(pooled_histories[:1], "--json"))["abilities"]
    assert all(8 <= one["uncertainty"] < 30 for one in told.values())


def test_the_file_reads_again_and_json_has_the_same(
    pooled_histories: tuple[Path, Path], tmp_path: Path
) -> None:
    target = tmp_path / "abilities.csv"
    told = json.loads(run(pooled_histories, "--out", str(target), "--json"))["abilities"]
    written = known_abilities(target)
    assert set(told) == set(written)
    llama = written["llama-3.1-8b-instruct"]
    assert told["llama-3.1-8b-instruct"]["points"] == llama.points == 0.0
    assert told["llama-3.1-8b-instruct"]["histories"] == ["exams", "chat"]
    assert llama.attempts == 600


def test_models_that_nothing_links_to_the_scale_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "ours.jsonl"
    rows = [{"prompt": f"p{i}", "model": f"m{i % 2}", "quality": i % 3 / 2} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(InvalidInput, match="none of the models of ours is on the scale"):
        run((path,))


def test_a_judge_that_a_history_lacks_is_refused(pooled_histories: tuple[Path, Path]) -> None:
    with pytest.raises(
        InvalidInput, match=r"exams: .* judged by nobody, but by exact; choose with"
    ):
        run(pooled_histories, "--judge", "nobody")
    # Also where another history has it: nobody else's verdicts are taken in its place.
    with pytest.raises(InvalidInput, match=r"chat: .* judged by exact, but by gpt-4.1-2025-04-14;"):
        run(pooled_histories, "--judge", "exact")


def test_files_of_one_name_are_told_apart(
    pooled_histories: tuple[Path, Path], tmp_path: Path
) -> None:
    paths = tmp_path / "a" / "log.jsonl", tmp_path / "b" / "log.jsonl"
    for source, target in zip(pooled_histories, paths, strict=True):
        target.parent.mkdir()
        target.write_bytes(source.read_bytes())
    told = json.loads(run(paths, "--json"))["abilities"]
    assert told["llama-3.1-8b-instruct"]["histories"] == ["log-1", "log-2"]


def test_a_few_attempts_of_the_reference_models_do_not_move_the_scale(
    pooled_histories: tuple[Path, Path], tmp_path: Path
) -> None:
    """Gemini 2.5 Pro, at 100 points, is adequate nowhere in these two rows, and Llama everywhere."""
    path = tmp_path / "few.jsonl"
    rows = [
        {"prompt": f"q{i}", "model": model, "quality": quality, "judge": "exact"}
        for i in range(2)
        for model, quality in (("Llama-3.1-8B-Instruct", 1.0), ("gemini-2.5-pro", 0.0))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    told = json.loads(run((pooled_histories[0], path), "--json"))["abilities"]
    assert all(one["uncertainty"] > 0 for one in told.values())
    assert told["gemini-2.5-pro"]["points"] > told["llama-3.1-8b-instruct"]["points"]
