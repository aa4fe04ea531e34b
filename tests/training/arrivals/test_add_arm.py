"""`python -m training add-arm` on the shipped bundle: a newcomer gets its own arm from a few attempts."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from router.classifier.bundle import Bundle, load_bundle
from router.classifier.reference_sample import REFERENCE_FILE
from router.core.errors import BadArtifact, MitsumoriError
from router.core.types import Constraints, Importance, Message, Prompt
from router.paths import DEFAULT_BUNDLE, ENCODERS
from router.routing.router import RouteQuery
from router.rpc.server import build_router
from router.settings import Settings
from tests.conftest import NOON
from training.cli import app
from training.commands.drift_command import DRIFTED
from training.drift.traffic import of_bundle
from training.evaluation.bundle_predictions import unseen_prompts
from training.histories.demonstration import demonstration_history
from training.histories.history import read_history
from training.histories.outcome_table import ReadOptions, tabulate_all
from training.histories.split import SEEN_FILE

ARMS = ["low", "medium", "newcomer", "high"]


def prompts(seed: int = 3) -> list[str]:
    return demonstration_history(seed).attempts["prompt"].drop_duplicates().tolist()


def written(target: Path, count: int, *, model: str = "acme/newcomer-1", **changes: Any) -> Path:
    """Attempts of a model that is a little worse than the tier medium, and twice as wordy."""
    bundle, rng = load_bundle(DEFAULT_BUNDLE, ENCODERS), np.random.default_rng(5)
    rows = []
    for text in prompts()[:count]:
        score = bundle.score(text)
        p = score.p_adequate["medium"]
        tokens = 2 * score.lengths["medium"].p50 * np.exp(0.5 * rng.normal())
        row = {
            "prompt": text, "model": model, "quality": float(rng.random() < 0.7 * p),
            "output_tokens": round(tokens) + 1,
        } | changes  # fmt: skip
        rows.append({name: value for name, value in row.items() if value is not None})
    target.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return target


def words(folder: Path, **changes: Any) -> list[str]:
    options = {
        "bundle": DEFAULT_BUNDLE, "history": folder / "history.jsonl", "tier": "medium",
        "arm": "newcomer=acme/newcomer-1", "out": folder / "bundle", "cache": folder / "cache",
    } | changes  # fmt: skip
    return ["add-arm", *(word for name, x in options.items() for word in (f"--{name}", str(x)))]


def add(folder: Path, **changes: Any) -> Any:
    return CliRunner().invoke(app, words(folder, **changes))


def refusal(folder: Path, **changes: Any) -> MitsumoriError:
    result = add(folder, **changes)
    assert isinstance(result.exception, MitsumoriError), result.output
    assert not (folder / "bundle").exists()
    assert not list(folder.glob(".bundle*"))
    return result.exception


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a history of 120 attempts, the bundle with the arm, the report and the page."""
    made = tmp_path_factory.mktemp("arrival")
    written(made / "history.jsonl", 120)
    result = add(made, json=made / "report.json", html=made / "report.html", price="newcomer=1,2")
    assert result.exit_code == 0, result.output
    (made / "printed.txt").write_text(result.stdout, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder / "bundle", ENCODERS)


def test_the_bundle_has_one_more_arm_and_says_the_same_of_the_others(bundle: Bundle) -> None:
    before = load_bundle(DEFAULT_BUNDLE, ENCODERS)
    assert [arm.name for arm in bundle.manifest.arms] == ARMS
    arm = bundle.manifest.arms[2]
    assert (arm.tier, arm.models, arm.attempts) == ("medium", ["acme/newcomer-1"], 120)
    assert arm.reference_price is not None
    assert str(arm.reference_price.output) == "2"
    for text in ("hello", "", prompts()[0], "東京の天気は?"):
        old, new = before.score(text), bundle.score(text)
        assert {name: new.p_adequate[name] for name in old.p_adequate} == old.p_adequate
        assert {name: new.lengths[name] for name in old.lengths} == old.lengths
        assert sum(new.label_distribution.values()) == pytest.approx(1, abs=1e-5)
        assert new.p_adequate["newcomer"] < old.p_adequate["medium"] + 0.02
        assert new.lengths["newcomer"].p50 > old.lengths["medium"].p50


def test_serving_takes_the_arm_for_the_model_of_its_name_alone(
    folder: Path, settings: Settings
) -> None:
    text = (resources.files("router.catalog") / "catalog.yaml").read_text(encoding="utf-8")
    shipped = yaml.safe_load(text)
    known = next(one for one in shipped["models"] if one["tier"] == "medium")
    shipped["models"] = [known, known | {"id": "newcomer", "price_id": known["id"]}]
    (folder / "catalog.yaml").write_text(json.dumps(shipped, default=str), encoding="utf-8")
    router = build_router(
        settings.model_copy(
            update={"bundle": folder / "bundle", "catalog": folder / "catalog.yaml"}
        ),
        now=lambda: NOON,
    )
    query = RouteQuery(
        "", {}, Prompt((Message("user", prompts()[0]),)), Constraints(), None, Importance.LOW, "", 1
    )  # fmt: skip
    assessed = router.assess(query)
    assert [one.arm for one in assessed.candidates] == ["medium", "newcomer"]
    veteran, newcomer = assessed.candidates
    assert newcomer.p_adequate == assessed.score.p_adequate["newcomer"] != veteran.p_adequate
    assert newcomer.quote is not None
    assert veteran.quote is not None
    assert newcomer.quote.output_tokens_p50 > veteran.quote.output_tokens_p50


def test_the_manifest_says_what_it_was_made_from(bundle: Bundle) -> None:
    before = load_bundle(DEFAULT_BUNDLE, ENCODERS)
    assert bundle.version != before.version
    assert bundle.manifest.training_data_sha256 != before.manifest.training_data_sha256
    assert [one.name for one in bundle.manifest.histories][-1] == "history"
    assert bundle.manifest.metrics["pairs"] == before.manifest.metrics["pairs"]
    assert bundle.manifest.metrics["arrivals"]["newcomer"]["parent"] == before.version


def test_the_report_shows_how_the_estimate_tightens(folder: Path, bundle: Bundle) -> None:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report.pop("arm") == "newcomer"
    assert report == bundle.manifest.metrics["arrivals"]["newcomer"]
    assert [step["attempts"] for step in report["steps"]] == [0, 10, 20, 50, 100, 120]
    first, last = report["steps"][0], report["steps"][-1]
    for key in ("p_adequate", "shift", "slope"):
        assert last[key]["high"] - last[key]["low"] < first[key]["high"] - first[key]["low"]
    assert last["p_adequate"]["mean"] < first["p_adequate"]["mean"]
    assert set(last["log_loss"]) == {"arm", "tier", "base_rate"}
    assert report["length"]["pinball_to_tier_p50"] < 1
    assert np.exp(report["length"]["shift"]) == pytest.approx(2, rel=0.3)
    printed = (folder / "printed.txt").read_text(encoding="utf-8")
    assert "loss arm / tier / base" in printed
    assert "…" not in printed
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The arm newcomer" in page
    assert "data:image/svg+xml" in page
    card = (folder / "bundle" / "model_card.md").read_text(encoding="utf-8")
    assert "## The arm newcomer, added without training" in card


def test_drift_and_the_held_out_side_go_on_working(folder: Path, bundle: Bundle) -> None:
    traffic = of_bundle(bundle, folder / "bundle")
    assert traffic.p_adequate.shape == (1000, 4)
    assert traffic.arms == tuple(ARMS)
    result = CliRunner().invoke(
        app,
        ["drift", "--bundle", str(folder / "bundle"), "--recent", str(folder / "history.jsonl"),
         "--cache", str(folder / "cache"), "--json"],
    )  # fmt: skip
    assert result.exit_code in (0, DRIFTED), result.output
    assert json.loads(result.stdout)["calibration"]["newcomer"]["n"] == 120
    reading = ReadOptions({"newcomer": "acme/newcomer-1"}, need_prices=False)
    outcomes = tabulate_all([read_history(folder / "history.jsonl")], reading).outcomes
    fresh = unseen_prompts(bundle, folder / "bundle", outcomes)
    assert fresh is not None
    assert not fresh.any()


def test_the_same_attempts_give_the_same_classifier(folder: Path, tmp_path: Path) -> None:
    result = add(folder, out=tmp_path / "again", price="newcomer=1,2")
    assert result.exit_code == 0, result.output
    for name in ("classifier.onnx", SEEN_FILE, REFERENCE_FILE):
        assert (tmp_path / "again" / name).read_bytes() == (folder / "bundle" / name).read_bytes()


def test_a_second_newcomer_joins_the_first(folder: Path, tmp_path: Path) -> None:
    shutil.copy(written(tmp_path / "history.jsonl", 30, model="other"), tmp_path / "other.jsonl")
    result = add(
        tmp_path, bundle=folder / "bundle", arm="other", tier="high", after="low",
        history=tmp_path / "other.jsonl",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    made = load_bundle(tmp_path / "bundle", ENCODERS)
    assert [arm.name for arm in made.manifest.arms] == [
        "low",
        "other",
        "medium",
        "newcomer",
        "high",
    ]
    assert set(made.manifest.metrics["arrivals"]) == {"newcomer", "other"}
    assert made.score("hello").p_adequate.keys() == {arm.name for arm in made.manifest.arms}
    card = (tmp_path / "bundle" / "model_card.md").read_text(encoding="utf-8")
    assert card.count("added without training") == 2


def test_without_token_counts_the_lengths_are_the_tiers(tmp_path: Path) -> None:
    written(tmp_path / "history.jsonl", 15, output_tokens=None)
    result = add(tmp_path)
    assert result.exit_code == 0, result.output
    assert "the lengths are the tier's" in result.stdout
    lengths = load_bundle(tmp_path / "bundle", ENCODERS).score("hello").lengths
    assert lengths["newcomer"].p90 == pytest.approx(lengths["medium"].p90, rel=1e-4)


# --- What is refused ---------------------------------------------------------------------------


def test_too_few_judged_attempts_are_refused_with_what_to_do(tmp_path: Path) -> None:
    written(tmp_path / "history.jsonl", 9)
    error = refusal(tmp_path)
    assert error.reason == "TOO_FEW_ATTEMPTS"
    assert "9 judged attempts" in error.message
    assert "give the model the tier medium in the catalog" in error.message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tier": "giant"}, "ARM_UNKNOWN"),
        ({"after": "giant"}, "ARM_UNKNOWN"),
        ({"arm": "high=acme/newcomer-1"}, "ARM_EXISTS"),
        ({"arm": "none=acme/newcomer-1"}, "ARM_EXISTS"),
        ({"arm": "mine=gemini-1.5-pro-002"}, "MODEL_EXISTS"),
        ({"arm": "mine=acme/newcomer"}, "MODEL_UNKNOWN"),
        ({"price": "newcommer=1,2"}, "PRICE_UNUSED"),
    ],
)
def test_names_that_do_not_fit_are_refused(
    change: dict[str, str], reason: str, tmp_path: Path
) -> None:
    written(tmp_path / "history.jsonl", 20)
    assert refusal(tmp_path, **change).reason == reason


@pytest.mark.parametrize("arm", ["", "=", "newcomer=", "=model"])
def test_an_arm_without_a_name_is_refused(arm: str, tmp_path: Path) -> None:
    assert "NAME=MODEL" in refusal(tmp_path, arm=arm).message


def test_judges_are_never_mixed(tmp_path: Path) -> None:
    one, two = (
        written(tmp_path / f"{judge}.jsonl", 20, judge=judge).read_text()
        for judge in ("one", "two")
    )
    (tmp_path / "history.jsonl").write_text(one + two.replace('"judge": "one"', '"judge": "two"'))
    error = refusal(tmp_path)
    assert error.reason == "JUDGES_DIFFER"
    assert "one, two" in error.message
    # The same where each judged a history of its own.
    command = words(tmp_path, history=tmp_path / "one.jsonl")
    result = CliRunner().invoke(app, [*command, "--history", str(tmp_path / "two.jsonl")])
    assert isinstance(result.exception, MitsumoriError)
    assert result.exception.reason == "JUDGES_DIFFER"
    assert add(tmp_path, judge="two").exit_code == 0


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    written(tmp_path / "history.jsonl", 20)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "letters.txt").write_text("dear")
    result = add(tmp_path)
    assert isinstance(result.exception, BadArtifact)
    assert (tmp_path / "bundle" / "letters.txt").read_text() == "dear"
