"""Tracking, against a real MLflow on SQLite."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.models import Model
from mlflow.models.utils import _enforce_schema
from onnxruntime import InferenceSession

from router.classifier.manifest import CLASSIFIER, read_manifest
from router.core.errors import InvalidInput, MitsumoriError
from router.files import sha256_of
from router.paths import DEFAULT_BUNDLE
from training.tracking.datasets import HELD_OUT, TRAINING, HistorySplit
from training.tracking.runs import ALIAS, PAGE, REASON_TAG, Run, start_run
from training.tracking.signature import example_inputs
from training.tracking.store import MODEL, tracking_uri

REPORT = {
    "n_prompts": 3,
    "arms": {"low": {"ece": 0.04, "ece_floor": 0.03}, "high": {}},
    "pairs": {"low>high": {"apgr": 0.6, "apgr_interval": [0.5, 0.7], "cpt50": None}},
    "notes": ["a word"],
    "flag": True,
    "by_category": {"数学 (1)": {"n": 2}},
}
SPLITS = [
    HistorySplit("chat", "ab" * 32, TRAINING, 8, 24),
    HistorySplit("chat", "ab" * 32, HELD_OUT, 2, 6),
]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/nested/mlflow.db"


def client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture(scope="module")
def run_id(uri: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    bundle = tmp_path_factory.mktemp("bundle")
    (bundle / "manifest.json").write_text("{}")
    with start_run(uri, name="test", tags={"encoder": "static", "absent": None}) as run:
        run.log_datasets(SPLITS)
        run.log_params(
            {
                "encoder": "static",
                "hyperparameters": {"c": 0.003},
                "models": "m" * 500,
                "long": "x",
            },
            unlisted=("long",),
        )
        run.log_report(REPORT)
        run.log_page("<p>page</p>")
        run.log_figures({"empty": Figure()})
        run.describe_report(REPORT, SPLITS, demonstration=False)
        run.log_bundle(bundle)
        assert run.register(tags={"demonstration": "true"}, description="**fine**") == 1
        assert run.register() == 2
        assert run.register("mitsumori-demonstration") == 1
    return run.id


def test_a_run_holds_all_that_was_logged(uri: str, run_id: str) -> None:
    run = client(uri).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "test"
    assert {**run.data.params, "models": ""} == {
        "encoder": "static", "hyperparameters.c": "0.003", "models": "",
    }  # fmt: skip
    assert len(run.data.params["models"]) == 100  # short enough to be compared
    assert run.data.metrics["3 ranking/APGR low to high"] == 0.6
    assert run.data.tags["encoder"] == "static"
    assert "absent" not in run.data.tags


def test_a_run_says_which_code_and_which_command_made_it(uri: str, run_id: str) -> None:
    tags = client(uri).get_run(run_id).data.tags
    assert tags["code_version"].startswith(version("mitsumori"))
    assert tags["command"]
    assert tags["mlflow.source.type"] == "LOCAL"


def test_datasets_tell_what_was_used_and_hold_no_prompt(uri: str, run_id: str) -> None:
    found = {
        one.dataset.name: (one.dataset, {tag.key: tag.value for tag in one.tags})
        for one in client(uri).get_run(run_id).inputs.dataset_inputs
    }
    assert set(found) == {
        "chat (training: 8 prompts, 24 attempts)", "chat (held out: 2 prompts, 6 attempts)",
    }  # fmt: skip
    dataset, tags = found["chat (held out: 2 prompts, 6 attempts)"]
    assert ("ab" * 32).startswith(dataset.digest)
    assert tags == {
        "mlflow.data.context": "held out", "history": "chat", "sha256": "ab" * 32,
        "prompts": "2", "attempts": "6",
    }  # fmt: skip
    assert json.loads(dataset.profile) == {"num_rows": 6, "prompts": 2, "attempts": 6}


def test_artifacts_lie_beside_the_database_and_the_page_is_the_first(uri: str, run_id: str) -> None:
    folder = Path(uri.removeprefix("sqlite:///")).parent / "artifacts" / run_id / "artifacts"
    assert (folder / "bundle" / "manifest.json").read_text() == "{}"
    assert (folder / "plots" / "empty.png").stat().st_size > 0
    assert json.loads((folder / "evaluation.json").read_text())["n_prompts"] == 3
    assert json.loads((folder / "parameters.json").read_text())["models"] == "m" * 500
    whole = pd.read_parquet(folder / "evaluation.parquet").set_index("figure")["value"]
    assert whole["by_category/数学 (1)/n"] == 2
    assert client(uri).list_artifacts(run_id)[0].path == PAGE


def test_the_description_gives_verdict_figures_data_and_the_way_to_the_page(
    uri: str, run_id: str
) -> None:
    said = client(uri).get_run(run_id).data.tags["mlflow.note.content"]
    assert said.startswith("Not judged by the promotion gate.")
    assert (
        "| Calibration of the worst arm (ECE) | 0.040 (low) | perfect calibration 0.030 |" in said
    )
    assert f"/runs/{run_id}/artifacts/{PAGE}" in said
    assert f"| chat | training | 8 | 24 | `{'ab' * 6}` |" in said


def test_the_newest_bundle_is_the_candidate(uri: str, run_id: str) -> None:
    version = client(uri).get_model_version_by_alias(MODEL, ALIAS)
    assert version.run_id == run_id
    assert int(version.version) == 2
    assert client(uri).get_model_version(MODEL, "1").tags == {
        "demonstration": "true",
        "manifest_sha256": sha256_of(b"{}"),  # serving compares it with what it downloads
    }
    described = client(uri).get_model_version(MODEL, "1")
    assert described.description.startswith("**fine**")
    assert run_id in described.description
    assert described.run_id == run_id
    source = Path(client(uri).get_model_version_download_uri(MODEL, "2").removeprefix("file://"))
    assert (source / "manifest.json").exists()


def ended(uri: str, error: BaseException) -> Any:
    """The run whose block this error ended."""
    with pytest.raises(type(error)), start_run(uri, name="bad", tags={}) as run:
        raise error
    return client(uri).get_run(run.id)


def test_a_block_that_raises_leaves_a_failed_run_that_says_why(uri: str, run_id: str) -> None:
    refused = ended(uri, InvalidInput("the history is empty\nsecond line", field="history"))
    assert refused.info.status == "FAILED"
    assert refused.data.tags[REASON_TAG] == "the history is empty"
    assert client(uri).get_model_version_by_alias(MODEL, ALIAS).run_id == run_id


def test_an_error_that_is_not_ours_may_quote_a_prompt_and_is_named_by_its_type(uri: str) -> None:
    assert ended(uri, ValueError("my secret prompt")).data.tags[REASON_TAG] == "ValueError"


def test_an_interrupted_run_is_killed(uri: str) -> None:
    killed = ended(uri, KeyboardInterrupt())
    assert (killed.info.status, killed.data.tags[REASON_TAG]) == ("KILLED", "interrupted")


def test_a_run_lasts_from_the_start_of_the_work_to_its_end(uri: str) -> None:
    before = time.time() * 1000 - 1
    with start_run(uri, name="timed", tags={}) as run:
        opened = client(uri).get_run(run.id).info
        assert (opened.status, opened.end_time) == ("RUNNING", None)
        middle = time.time() * 1000 + 1
    info = client(uri).get_run(run.id).info
    assert before <= info.start_time <= middle
    assert info.start_time == opened.start_time
    assert info.end_time >= info.start_time


def test_parts_of_the_work_are_runs_below_it(uri: str) -> None:
    with start_run(uri, name="whole", tags={}) as run:
        with run.nested("encoder static", {"encoder": "static"}) as part:
            part.log_metrics({"3 ranking/APGR low to high": 0.6})
        run.log_nested(
            "without chat",
            {"4 calibration/ECE low": 0.1, "APGR low>high": 0.6, "lost": None, "odd": float("nan")},
            params={"source": "chat"},
        )
        with pytest.raises(ValueError, match="no"), run.nested("bad"):
            raise ValueError("no")
    experiment = client(uri).get_run(run.id).info.experiment_id
    found = client(uri).search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run.id}'")
    assert {one.info.run_name: one.info.status for one in found} == {
        "encoder static": "FINISHED", "without chat": "FINISHED", "bad": "FAILED",
    }  # fmt: skip
    (source,) = [one for one in found if one.info.run_name == "without chat"]
    assert source.data.metrics == {"4 calibration/ECE low": 0.1, "APGR low to high": 0.6}
    assert source.data.params == {"source": "chat"}
    assert client(uri).get_run(run.id).info.status == "FINISHED"


def logged_and_registered(run: Run, bundle: Path) -> int:
    run.log_bundle(bundle)
    return run.register()


def test_a_version_that_cannot_be_named_is_taken_back(
    uri: str, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.json").write_text("{}")

    def broken(*_: object) -> None:
        raise OSError("the disk is full")

    before = len(client(uri).search_model_versions(f"name = '{MODEL}'"))
    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", broken)
    with (
        pytest.raises(MitsumoriError, match=r"cannot register the bundle .*the disk is full"),
        start_run(uri, name="half", tags={}) as run,
    ):
        logged_and_registered(run, tmp_path)
    assert len(client(uri).search_model_versions(f"name = '{MODEL}'")) == before
    assert client(uri).get_run(run.id).info.status == "FAILED"


def test_a_registered_bundle_shows_what_it_takes_and_gives(uri: str) -> None:
    with start_run(uri, name="described", tags={}) as run:
        run.log_bundle(DEFAULT_BUNDLE)
    files = {one.path for one in client(uri).list_artifacts(run.id, "bundle")}
    assert {"bundle/MLmodel", "bundle/input_example.json", "bundle/manifest.json"} <= files
    folder = Path(run.artifacts.removeprefix("file://")) / "bundle"
    model = Model.load(str(folder / "MLmodel"))
    inputs = {one.name: one for one in model.signature.inputs.inputs}
    assert set(inputs) == {"embedding", "features", "token_ids"}
    width = len(read_manifest(DEFAULT_BUNDLE)[0].features)
    assert inputs["features"].shape == (-1, width)
    assert [one.name for one in model.signature.outputs.inputs] == [
        "label_distribution", "p_adequate", "output_tokens", "demands",
    ]  # fmt: skip
    # The example goes through the classifier, and through MLflow's check of inputs.
    example = example_inputs(DEFAULT_BUNDLE)
    session = InferenceSession((folder / CLASSIFIER).read_bytes())
    assert np.isfinite(session.run(["p_adequate"], example)[0]).all()
    assert set(_enforce_schema(example, model.signature.inputs)) == set(inputs)


def test_a_store_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_text("this is no database, and never was one, whatever its name says" * 20)
    with (
        pytest.raises(MitsumoriError, match="MLFLOW_TRACKING_URI") as caught,
        start_run(f"sqlite:///{database}", name="x", tags={}),
    ):
        pass
    assert "\n" not in caught.value.message


def test_nothing_is_said(uri: str, run_id: str, capfd: pytest.CaptureFixture[str]) -> None:
    with start_run(uri, name="quiet", tags={}) as run:
        run.log_params({"a": 1})
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_where_runs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == "sqlite:///build/mlflow/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri() == "http://mlflow:5000"
    assert tracking_uri("sqlite:///x.db") == "sqlite:///x.db"
