"""Tracking, against a real MLflow on SQLite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient

from router.core.errors import MitsumoriError
from router.files import sha256_of
from training.tracking.headline import flattened
from training.tracking.runs import ALIAS, start_run
from training.tracking.store import MODEL, tracking_uri

REPORT = {
    "n_prompts": 3,
    "pairs": {"low>high": {"apgr": 0.6, "apgr_interval": [0.5, 0.7], "cpt50": None}},
    "notes": ["a word"],
    "flag": True,
    "by_category": {"数学 (1)": {"n": 2}},
}


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
        run.log_params({"encoder": "static", "hyperparameters": {"c": 0.003}})
        run.log_report(REPORT)
        run.log_figures({"empty": Figure()})
        run.log_bundle(bundle)
        assert run.register(tags={"demonstration": "true"}) == 1
        assert run.register() == 2
        assert run.register("mitsumori-demonstration") == 1
    return run.id


def test_flattened_keys_are_what_mlflow_takes() -> None:
    assert flattened(REPORT) == {
        "n_prompts": 3.0,
        "pairs/low_to_high/apgr": 0.6,
        "pairs/low_to_high/apgr_interval/low": 0.5,
        "pairs/low_to_high/apgr_interval/high": 0.7,
        "by_category/__ _1_/n": 2.0,
    }


def test_a_run_holds_all_that_was_logged(uri: str, run_id: str) -> None:
    run = client(uri).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "test"
    assert run.data.params == {"encoder": "static", "hyperparameters.c": "0.003"}
    assert run.data.metrics["pairs/low_to_high/apgr"] == 0.6
    assert run.data.tags["encoder"] == "static"
    assert "absent" not in run.data.tags


def test_artifacts_lie_beside_the_database(uri: str, run_id: str) -> None:
    folder = Path(uri.removeprefix("sqlite:///")).parent / "artifacts" / run_id / "artifacts"
    assert (folder / "bundle" / "manifest.json").read_text() == "{}"
    assert (folder / "plots" / "empty.png").stat().st_size > 0
    assert json.loads((folder / "evaluation.json").read_text())["n_prompts"] == 3


def test_the_newest_bundle_is_the_candidate(uri: str, run_id: str) -> None:
    version = client(uri).get_model_version_by_alias(MODEL, ALIAS)
    assert version.run_id == run_id
    assert int(version.version) == 2
    assert client(uri).get_model_version(MODEL, "1").tags == {
        "demonstration": "true",
        "manifest_sha256": sha256_of(b"{}"),  # serving compares it with what it downloads
    }
    source = Path(client(uri).get_model_version_download_uri(MODEL, "2").removeprefix("file://"))
    assert (source / "manifest.json").exists()


def test_a_block_that_raises_leaves_a_failed_run(uri: str, run_id: str) -> None:
    with pytest.raises(ValueError, match="no"), start_run(uri, name="bad", tags={}) as run:
        raise ValueError("no")
    assert client(uri).get_run(run.id).info.status == "FAILED"
    assert client(uri).get_model_version_by_alias(MODEL, ALIAS).run_id == run_id


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
