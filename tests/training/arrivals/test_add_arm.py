"""`python -m training add-arm`: a new model gets a place on the scale of a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from router.classifier.bundle import Bundle, load_bundle
from router.classifier.model_ability import p_of_model
from router.core.ability import p_at
from router.core.errors import BadArtifact, MitsumoriError
from router.paths import ENCODERS
from tests.builders import model
from tests.training.pooled_world import CHAT, attempts
from training.cli import app
from training.pipeline.training_run import TrainingResult

NEWCOMER = "acme/Newcomer-1"
KNOWN = {"gpt-4o-2024-11-20": CHAT["gpt-4o-2024-11-20"], "gpt-5-nano": CHAT["gpt-5-nano"]}
KO_ARENA = ("gpt-4.1-nano-2025-04-14", "gpt-4o-2024-11-20", "gemini-2.5-pro-exp-03-25")
"""By these the history of comparisons is recognised."""
QUESTION = "chat 9999: write a query in SQL, version 5"


def written(target: Path, count: int, **changes: Any) -> Path:
    """Attempts of a model a little abler than gpt-5-nano, and of two known models at the same prompts."""
    rows = attempts("more chat", {NEWCOMER: 0.7, **KNOWN}, count, seed=3)
    target.write_text(
        "".join(json.dumps(row | {"judge": "ours"} | changes) + "\n" for row in rows),
        encoding="utf-8",
    )
    return target


def words(folder: Path, bundle: Path, **changes: Any) -> list[str]:
    options = {
        "bundle": bundle, "history": folder / "history.jsonl", "tier": "medium",
        "arm": f"newcomer={NEWCOMER}", "out": folder / "bundle", "cache": folder / "cache",
    } | changes  # fmt: skip
    return ["add-arm", *(word for name, x in options.items() for word in (f"--{name}", str(x)))]


def add(folder: Path, bundle: Path, *flags: str, **changes: Any) -> Any:
    return CliRunner().invoke(app, [*words(folder, bundle, **changes), *flags])


def refusal(folder: Path, bundle: Path, **changes: Any) -> MitsumoriError:
    result = add(folder, bundle, **changes)
    assert isinstance(result.exception, MitsumoriError), result.output
    assert not (folder / "bundle").exists()
    assert not list(folder.glob(".bundle*"))
    return result.exception


@pytest.fixture(scope="module")
def folder(pooled: TrainingResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a history of 100 prompts, the bundle with the model, the report and the page."""
    made = tmp_path_factory.mktemp("arrival")
    written(made / "history.jsonl", 100)
    result = add(made, pooled.out, json=made / "report.json", html=made / "report.html")
    assert result.exit_code == 0, result.output
    (made / "printed.txt").write_text(result.stdout, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder / "bundle", ENCODERS)


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


def test_the_classifier_stays_and_the_manifest_places_one_more_model(
    pooled: TrainingResult, folder: Path, bundle: Bundle
) -> None:
    before = pooled.manifest
    assert set(bundle.manifest.abilities) == {*before.abilities, "newcomer"}
    assert bundle.manifest.arms == before.arms
    assert bundle.manifest.training_data_sha256 == before.training_data_sha256
    for name in before.files:
        if name != "model_card.md":
            assert (folder / "bundle" / name).read_bytes() == (pooled.out / name).read_bytes()
    known = bundle.manifest.abilities["newcomer"]
    assert known.attempts == 100
    assert not known.strengths
    low, high = known.points - 1.645 * known.uncertainty, known.points + 1.645 * known.uncertainty
    assert before.abilities["llama-3.3-70b-instruct"].points < high
    assert low < before.abilities["gemini-2.5-pro"].points


@pytest.mark.parametrize("name", ["newcomer", "self-hosted/newcomer"])
def test_serving_takes_the_place_for_the_catalog_model_of_that_name(
    bundle: Bundle, name: str
) -> None:
    score, known = bundle.score(QUESTION), bundle.manifest.abilities["newcomer"]
    arms = bundle.manifest.placed_arms
    expected = p_at(
        [score.p_adequate[arm.name] for arm in arms],
        [arm.ability or 0.0 for arm in arms],
        known.points,
        known.uncertainty,
    )
    p, basis = p_of_model(model(name), "medium", bundle.manifest, score)
    assert p == pytest.approx(expected)
    assert p != score.p_adequate["medium"]
    assert basis == "100 attempts of its own"


def test_the_report_says_where_it_stands_and_how_well_that_fits_attempts_left_out(
    folder: Path, bundle: Bundle
) -> None:
    found = report(folder)
    assert found.pop("arm") == "newcomer"
    assert found == bundle.manifest.metrics["arrivals"]["newcomer"]
    assert found["ability"]["low"] < found["ability"]["points"] < found["ability"]["high"]
    checked = found["cross_validation"]
    assert checked["with_strengths"] is None
    for way in ("tier", "placed"):
        assert checked[way]["log_loss"] > 0
        assert 0 <= checked[way]["ece"] <= 1
        assert 0 < checked[way]["said"] < 1
    assert checked["placed"]["said"] == pytest.approx(checked["real"], abs=0.1)
    below, above = found["between"]
    assert below["points"] <= found["ability"]["points"] < above["points"]
    assert found["seen_prompts"] == 0
    printed = (folder / "printed.txt").read_text(encoding="utf-8")
    assert "newcomer: " in printed
    assert "points [" in printed
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The model newcomer" in page
    card = (folder / "bundle" / "model_card.md").read_text(encoding="utf-8")
    assert card.count("## The model newcomer, placed on the scale of ability") == 1


def test_known_models_at_the_same_prompts_tell_how_strict_the_judge_is(
    pooled: TrainingResult, folder: Path, tmp_path: Path
) -> None:
    (history,) = report(folder)["histories"]
    assert history["peers"] == 2
    assert history["judge"] == "ours"
    rows = [
        line
        for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        if NEWCOMER in line
    ]
    (tmp_path / "history.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    result = add(tmp_path, pooled.out)
    assert result.exit_code == 0, result.output
    alone = load_bundle(tmp_path / "bundle", ENCODERS).manifest
    assert alone.abilities["newcomer"].uncertainty > 30
    (found,) = alone.metrics["arrivals"]["newcomer"]["histories"]
    assert found["peers"] == 0
    assert found["leniency"] is None
    assert "look alike" in " ".join(alone.metrics["arrivals"]["newcomer"]["notes"])


def test_from_300_attempts_on_strengths_are_tried_and_kept_where_they_help(
    pooled: TrainingResult, tmp_path: Path
) -> None:
    """Flash is good at SQL and bad at contracts; a new one is, too."""
    rows = attempts("exams again", {"new-flash": 0.5, **KNOWN}, 400, seed=5)
    (tmp_path / "history.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    result = add(tmp_path, pooled.out, arm="new-flash")
    assert result.exit_code == 0, result.output
    made = load_bundle(tmp_path / "bundle", ENCODERS)
    assert len(made.manifest.abilities["new-flash"].strengths) == made.classifier.demands
    checked = made.manifest.metrics["arrivals"]["new-flash"]["cross_validation"]
    assert checked["with_strengths"]["log_loss"] < checked["placed"]["log_loss"] - 0.02

    def p(text: str) -> float:
        return p_of_model(model("new-flash"), "medium", made.manifest, made.score(text))[0] or 0.0

    assert p(QUESTION) > p("chat 9999: write a clause in a contract, version 5") + 0.1


def test_the_same_attempts_give_the_same_place(
    pooled: TrainingResult, folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    shuffled = [lines[at] for at in np.random.default_rng(2).permutation(len(lines))]
    (tmp_path / "history.jsonl").write_text("\n".join(shuffled) + "\n", encoding="utf-8")
    assert add(tmp_path, pooled.out).exit_code == 0
    again = load_bundle(tmp_path / "bundle", ENCODERS).manifest.abilities["newcomer"]
    assert again.points == pytest.approx(bundle.manifest.abilities["newcomer"].points, abs=0.2)


def test_a_model_is_placed_anew_only_where_that_is_asked_for(folder: Path, tmp_path: Path) -> None:
    written(tmp_path / "history.jsonl", 40)
    error = refusal(tmp_path, folder / "bundle")
    assert error.reason == "MODEL_EXISTS"
    assert "by 100 attempts" in error.message
    before = load_bundle(folder / "bundle", ENCODERS).manifest.abilities["newcomer"]
    assert f"at {before.points:.0f} ±" in error.message
    result = add(tmp_path, folder / "bundle", "--replace")
    assert result.exit_code == 0, result.output
    made = load_bundle(tmp_path / "bundle", ENCODERS).manifest
    assert made.abilities["newcomer"].attempts == 40
    assert made.metrics["arrivals"]["newcomer"]["replaces"] == before.points
    card = (tmp_path / "bundle" / "model_card.md").read_text(encoding="utf-8")
    assert card.count("## The model newcomer") == 1
    assert "by 40 attempts" in card
    assert "by 100 attempts" not in card


def test_a_second_model_joins_the_first(folder: Path, tmp_path: Path) -> None:
    written(tmp_path / "history.jsonl", 20)
    assert add(tmp_path, folder / "bundle", arm=f"other={NEWCOMER}").exit_code == 0
    made = load_bundle(tmp_path / "bundle", ENCODERS).manifest
    assert {"newcomer", "other"} <= set(made.abilities)
    card = (tmp_path / "bundle" / "model_card.md").read_text(encoding="utf-8")
    assert card.count("placed on the scale of ability") == 2


def test_attempts_at_training_prompts_count_and_are_told(
    pooled: TrainingResult, pooled_histories: tuple[Path, Path], tmp_path: Path
) -> None:
    chat = pooled_histories[1].read_text(encoding="utf-8").replace("gpt-5-nano", "gpt-5-nono")
    (tmp_path / "history.jsonl").write_text(chat, encoding="utf-8")
    result = add(tmp_path, pooled.out, arm="nono=gpt-5-nono")
    assert result.exit_code == 0, result.output
    found = load_bundle(tmp_path / "bundle", ENCODERS).manifest.metrics["arrivals"]["nono"]
    assert found["attempts"] == 120
    assert 60 < found["seen_prompts"] < 120
    assert f"{found['seen_prompts']} of 120 attempts are at its training prompts" in " ".join(
        found["notes"]
    )


# --- What is refused ---------------------------------------------------------------------------


def test_ten_judged_attempts_are_enough_and_nine_are_not(
    pooled: TrainingResult, tmp_path: Path
) -> None:
    written(tmp_path / "history.jsonl", 9)
    error = refusal(tmp_path, pooled.out)
    assert error.reason == "TOO_FEW_ATTEMPTS"
    assert "has 9 judged attempts, and a place needs 10" in error.message
    assert "give the model the tier medium in the catalog" in error.message
    written(tmp_path / "history.jsonl", 10)
    assert add(tmp_path, pooled.out).exit_code == 0


def test_attempts_that_nobody_judged_are_no_evidence(
    pooled: TrainingResult, tmp_path: Path
) -> None:
    written(tmp_path / "history.jsonl", 20, quality=None, judge=None)
    error = refusal(tmp_path, pooled.out)
    assert "has 0 judged attempts" in error.message
    assert "python -m training judge" in error.message


def test_a_bundle_without_a_scale_is_refused_with_what_to_do(
    pooled: TrainingResult, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for file in pooled.out.iterdir():
        (plain / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((plain / "manifest.json").read_text(encoding="utf-8"))
    for arm in manifest["arms"]:
        del arm["ability"]
    (plain / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    written(tmp_path / "history.jsonl", 20)
    error = refusal(tmp_path, plain)
    assert error.reason == "NOT_ON_SCALE"
    assert "make train HISTORY=" in error.message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tier": "giant"}, "TIER_UNKNOWN"),
        ({"arm": f"high={NEWCOMER}"}, "ARM_EXISTS"),
        ({"arm": f"self-hosted/high={NEWCOMER}"}, "ARM_EXISTS"),
        ({"arm": f"none={NEWCOMER}"}, "ARM_EXISTS"),
        ({"arm": f"gpt-5-nano={NEWCOMER}"}, "MODEL_EXISTS"),
        ({"arm": f"openrouter/gpt-5-nano={NEWCOMER}"}, "MODEL_EXISTS"),
        ({"arm": "mine=acme/newcomer"}, "MODEL_UNKNOWN"),
        ({"arm": f"self-hosted/={NEWCOMER}"}, "NAME_INVALID"),
        ({"arm": f"{'x' * 201}={NEWCOMER}"}, "NAME_INVALID"),
        ({"arm": f"a\tb={NEWCOMER}"}, "NAME_INVALID"),
        ({"judge": "theirs"}, "JUDGE_UNKNOWN"),
    ],
)
def test_names_that_do_not_fit_are_refused(
    change: dict[str, str], reason: str, pooled: TrainingResult, tmp_path: Path
) -> None:
    written(tmp_path / "history.jsonl", 20)
    assert refusal(tmp_path, pooled.out, **change).reason == reason


@pytest.mark.parametrize("arm", ["", "=", "newcomer=", "=model"])
def test_an_arm_without_a_name_is_refused(arm: str, pooled: TrainingResult, tmp_path: Path) -> None:
    assert "NAME=MODEL" in refusal(tmp_path, pooled.out, arm=arm).message


def test_a_model_that_is_misspelt_is_suggested(pooled: TrainingResult, tmp_path: Path) -> None:
    written(tmp_path / "history.jsonl", 20)
    error = refusal(tmp_path, pooled.out, arm="mine=acme/Newcomer-2")
    assert f"did you mean {NEWCOMER}" in error.message


def test_judges_of_one_history_are_never_mixed(pooled: TrainingResult, tmp_path: Path) -> None:
    one, two = (
        written(tmp_path / f"{judge}.jsonl", 20, judge=judge).read_text(encoding="utf-8")
        for judge in ("one", "two")
    )
    (tmp_path / "history.jsonl").write_text(one + two, encoding="utf-8")
    error = refusal(tmp_path, pooled.out)
    assert error.reason == "JUDGES_DIFFER"
    assert "one, two" in error.message
    assert add(tmp_path, pooled.out, judge="two").exit_code == 0
    # A judge who judged others more often is no matter.
    more = two.replace("more chat", "other chat").replace(NEWCOMER, "somebody")
    (tmp_path / "history.jsonl").write_text(one + two.replace(NEWCOMER, "somebody") + more)
    assert add(tmp_path, pooled.out, out=tmp_path / "first").exit_code == 0
    # Each may have judged a history of its own.
    command = words(tmp_path, pooled.out, history=tmp_path / "one.jsonl", out=tmp_path / "both")
    result = CliRunner().invoke(app, [*command, "--history", str(tmp_path / "two.jsonl")])
    assert result.exit_code == 0, result.output
    made = load_bundle(tmp_path / "both", ENCODERS).manifest
    assert made.abilities["newcomer"].attempts == 40
    assert [one["attempts"] for one in made.metrics["arrivals"]["newcomer"]["histories"]] == [
        20,
        20,
    ]


def test_comparisons_with_another_answer_do_not_tell_what_is_adequate(
    pooled: TrainingResult, tmp_path: Path
) -> None:
    rows = [
        {"prompt": f"Question {place}", "model": name, "quality": 0.5}
        for place in range(20)
        for name in (*KO_ARENA, NEWCOMER)
    ]
    (tmp_path / "history.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    error = refusal(tmp_path, pooled.out)
    assert error.reason == "NOT_GRADED"


def test_a_directory_that_holds_something_else_is_left_alone(
    pooled: TrainingResult, tmp_path: Path
) -> None:
    written(tmp_path / "history.jsonl", 20)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "letters.txt").write_text("dear")
    result = add(tmp_path, pooled.out)
    assert isinstance(result.exception, BadArtifact)
    assert (tmp_path / "bundle" / "letters.txt").read_text() == "dear"
