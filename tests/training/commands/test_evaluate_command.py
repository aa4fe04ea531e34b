"""`python -m training evaluate`, end to end with the real static encoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console
from typer.testing import CliRunner, Result

from router.core.errors import MitsumoriError
from training import cli
from training.commands.promote_command import REFUSED
from training.histories.demonstration import ARMS, PRICES, demonstration_history
from training.histories.outcome_table import ReadOptions
from training.pipeline.training_run import fit
from training.plan import TrainingPlan
from training.tracking.runs import PAGE
from training.tracking.store import MODEL

ARM_OPTION = ",".join(f"{name}={model}" for name, model in ARMS.items())
PRICE_OPTIONS = [
    word
    for name, rates in PRICES.items()
    for word in ("--price", f"{name}={rates.input},{rates.output}")
]


def written(folder: Path, seed: int) -> Path:
    path = folder / f"history-{seed}.jsonl"
    attempts = demonstration_history(seed).attempts
    path.write_text(attempts.to_json(orient="records", lines=True), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a bundle fitted on history 1, and history 2."""
    made = tmp_path_factory.mktemp("evaluate")
    reading = ReadOptions(arms=ARMS, prices=PRICES)
    plan = TrainingPlan(
        histories=(written(made, 1),), out=made / "bundle", reading=reading, cache=made / "cache"
    )
    fit(plan, Console(quiet=True))
    written(made, 2)
    return made


def evaluate(folder: Path, seed: int, *words: str) -> Result:
    return CliRunner().invoke(
        cli.app,
        [
            "evaluate", "--bundle", str(folder / "bundle"), "--cache", str(folder / "cache"),
            "--history", str(folder / f"history-{seed}.jsonl"), "--json", str(folder / "out.json"),
            *words,
        ],
    )  # fmt: skip


def report(folder: Path, seed: int, *words: str) -> Any:
    (folder / "out.json").unlink(missing_ok=True)
    result = evaluate(folder, seed, "--arms", ARM_OPTION, *PRICE_OPTIONS, *words)
    assert result.exit_code == 0, result.output
    return json.loads((folder / "out.json").read_text())


def refusal(folder: Path, *words: str) -> str:
    (folder / "out.json").unlink(missing_ok=True)
    result = evaluate(folder, 2, *words)
    assert isinstance(result.exception, MitsumoriError), result.output
    assert not (folder / "out.json").exists()
    return result.exception.message


def test_the_report_has_every_figure_with_the_baselines_beside_it(folder: Path) -> None:
    found = report(folder, 2)
    assert set(found["arms"]) == {"low", "medium", "high"}
    assert set(found["arms"]["low"]) >= {
        "mean_quality", "mean_cost_usd", "auc", "ece", "ece_floor", "brier",
    }  # fmt: skip
    pairs = {"low>medium", "low>high", "medium>high"}
    assert set(found["pairs"]) == pairs
    assert set(found["pairs"]["low>high"]) >= {"apgr", "cpt50", "cpt80", "within_category_apgr"}
    for name in ("length", "knn", "multinomial", "random"):
        assert set(found["baselines"][name]) >= pairs
    assert found["aiq_zero"] <= found["aiq_oracle"]
    assert set(found["cost_at_quality"]) >= {"1.00", "0.99", "0.95"}
    assert 0 < found["encode_ms"]["p50"] <= found["encode_ms"]["p99"]
    assert found["by_language"]
    assert found["by_category"]


def test_the_page_and_the_run_hold_the_whole_report(folder: Path, mlflow_database: Path) -> None:
    page, uri = folder / "out.html", f"sqlite:///{folder}/mlflow.db"
    shutil.copy(mlflow_database, folder)
    found = report(folder, 2, "--html", str(page), "--tracking-uri", uri)
    text = page.read_text(encoding="utf-8")
    assert found["bundle"] in text
    for title in ("Promotion gate", "Ranking prompts", "Money", "Calibration", "Output length"):
        assert f"<h2>{title}</h2>" in text
    for baseline in ("prompt length alone", "kNN", "multinomial on labels", "oracle"):
        assert baseline in text
    assert text.count("data:image/svg+xml;base64,") == 4
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name(MODEL).experiment_id])
    assert run.data.tags["bundle"] == found["bundle"]
    assert len(run.data.tags["data_sha256"]) == 64
    assert run.data.metrics["7 data/held-out prompts"] == found["n_prompts"]
    assert len(run.data.metrics) <= 40
    assert run.data.tags["verdict"] in run.data.tags["mlflow.note.content"]
    (dataset,) = run.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in dataset.tags}["prompts"] == str(found["n_prompts"])
    folder_of_run = Path(run.info.artifact_uri.removeprefix("file://"))
    assert (folder_of_run / PAGE).read_text(encoding="utf-8") == text
    assert json.loads((folder_of_run / "evaluation.json").read_text()) == found
    assert (folder_of_run / "plots" / "reliability.png").exists()


def test_size_memory_and_the_time_of_the_router_are_in_the_report(folder: Path) -> None:
    found = report(folder, 2, "--core-hour-usd", "3.6")
    assert found["footprint"]["bundle"] > 10_000
    assert found["footprint"]["resident"] > found["footprint"]["encoder"]
    net = found["net_of_router"]
    assert net["usd_per_prompt"] == pytest.approx(found["encode_ms"]["mean"] * 1e-6)
    for share, one in net["saving"].items():
        assert one["saving"] < 1 - found["cost_at_quality"][share]
    assert "held_out_category_apgr" in found["pairs"]["low>high"]
    assert any("held-out categories" in note for note in found["notes"])


def test_a_fitted_bundle_goes_through_the_gate(folder: Path, mlflow_database: Path) -> None:
    uri = f"sqlite:///{folder}/registry.db"
    shutil.copy(mlflow_database, folder / "registry.db")
    result = CliRunner().invoke(
        cli.app,
        [
            "promote", "--bundle", str(folder / "bundle"), "--cache", str(folder / "cache"),
            "--history", str(folder / "history-2.jsonl"), "--arms", ARM_OPTION, *PRICE_OPTIONS,
            "--tracking-uri", uri, "--report", str(folder / "promote.json"), "--json",
        ],
    )  # fmt: skip
    told = json.loads(result.stdout)
    assert result.exit_code == (0 if told["passes"] else REFUSED)
    # The gate of an evaluation is the same gate.
    assert report(folder, 2)["gate"]["criteria"]["length"] == told["criteria"]["length"]


def test_prompts_that_the_bundle_was_trained_on_are_left_out(folder: Path) -> None:
    everything = report(folder, 1, "--include-seen")["n_prompts"]
    unseen = report(folder, 1)["n_prompts"]
    assert 0.1 * everything < unseen < 0.3 * everything


def test_an_arm_that_the_bundle_lacks_is_named(folder: Path) -> None:
    assert "tiny" in refusal(folder, "--arms", "tiny=demo-small,high=demo-large", *PRICE_OPTIONS)


def test_an_arm_without_a_price_asks_for_one(folder: Path) -> None:
    assert "--price" in refusal(folder, "--arms", ARM_OPTION)


def test_a_model_that_the_history_lacks_is_named(folder: Path) -> None:
    message = refusal(folder, "--arms", "low=demo-smal,high=demo-large", *PRICE_OPTIONS)
    assert "demo-small" in message
