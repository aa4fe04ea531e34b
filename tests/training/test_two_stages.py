"""Two stages: the slow one is consulted for close choices, and no more often than agreed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from mlflow import MlflowClient
from rich.console import Console
from typer.testing import CliRunner

from router.catalog.catalog import load_catalog
from router.classifier.bundle import load_bundle
from router.classifier.encoder import Encoder
from router.classifier.features.lexical import lexical_features
from router.classifier.manifest import SECOND_CLASSIFIER, read_manifest
from router.classifier.reference_sample import REFERENCE_FILE
from router.core.errors import BadArtifact, InvalidInput
from router.core.types import (
    Constraints,
    Goal,
    Importance,
    Message,
    Prompt,
    QualityTarget,
    WillingnessToPay,
)
from router.decision_log.reader import LoggedDecision, logged
from router.decision_log.record_json import parse
from router.decision_log.replay import ReplayPolicy, replay
from router.files import sha256_of
from router.ledger.memory import MemoryLedger
from router.paths import ENCODERS
from router.routing.router import RouteQuery
from router.routing.settlement import UsageReport
from router.rpc.assembly import build_reservations, build_router
from router.settings import Settings
from tests.conftest import NOON
from training.drift.decision_log import of_decisions
from training.encoders.embedding import encode_prompts
from training.evaluation.bundle_predictions import predict, served_score
from training.histories.demonstration import demonstration_history
from training.histories.split import SEED
from training.pipeline.training_run import fit
from training.plan import TrainingPlan

PROMPTS = sorted(set(demonstration_history(SEED).attempts["prompt"]))
TEXTS = [text for text in PROMPTS if text.isascii()][::2]
"""Prompts that the first stage reads."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Path:
    folder = tmp_path_factory.mktemp("cascade")
    plan = TrainingPlan(
        histories=(), out=folder / "bundle", encoder="cascade", cache=folder / "cache",
        tracking=f"sqlite:///{shutil.copy(mlflow_database, folder)}",
    )  # fmt: skip
    return fit(plan, Console(quiet=True)).out


def test_each_encoder_is_a_run_below_that_of_the_whole(bundle: Path) -> None:
    uri = f"sqlite:///{bundle.parent}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    whole = client.get_run(read_manifest(bundle)[0].mlflow_run_id)
    parts = client.search_runs(
        [whole.info.experiment_id], f"tags.`mlflow.parentRunId` = '{whole.info.run_id}'"
    )
    assert {part.data.tags["encoder"] for part in parts} == {"static", "multilingual"}
    for part in parts:
        assert part.info.status == "FINISHED"
        assert whole.info.start_time <= part.info.start_time <= part.info.end_time
        # Their figures stand beside those of the whole, under the same names.
        assert "3 ranking/APGR low to high" in part.data.metrics.keys() & whole.data.metrics.keys()


def asked(text: str, goal: Goal) -> RouteQuery:
    prompt = Prompt((Message("user", text),))
    return RouteQuery("", {}, prompt, Constraints(), goal, Importance.MEDIUM, "", 1)


@pytest.fixture
def slow_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts' encoders by hash, as they are run."""
    runs: list[str] = []
    real = Encoder.embed_ids

    def counted(encoder: Encoder, ids: Any) -> Any:
        runs.append(encoder.manifest.sha256)
        return real(encoder, ids)

    monkeypatch.setattr(Encoder, "embed_ids", counted)
    return runs


@pytest.mark.parametrize(
    "goal", [QualityTarget(0.6), QualityTarget(0.85), WillingnessToPay(2_000_000)], ids=repr
)
def test_a_third_is_asked_about_under_any_goal_and_there_the_second_stage_decides(
    bundle: Path, settings: Settings, slow_runs: list[str], goal: Goal
) -> None:
    router = build_router(settings.model_copy(update={"bundle": bundle}), now=lambda: NOON)
    loaded = router.bundle
    assert loaded.second is not None
    slow, times = loaded.second.encoder.manifest.sha256, 0
    for text in TEXTS:
        slow_runs.clear()
        score = router.assess(asked(text, goal)).score
        if slow in slow_runs:
            times += 1
            assert score == loaded.score_second_stage(text, lexical_features(text))
        else:
            assert score == loaded.score(text)
    assert 0 < times <= 0.45 * len(TEXTS)


def test_a_prompt_in_japanese_is_always_read_by_the_stage_that_reads_japanese(
    bundle: Path, settings: Settings
) -> None:
    router = build_router(settings.model_copy(update={"bundle": bundle}), now=lambda: NOON)
    for text in ("東京の明日の天気を教えてください。", "素数が無限に存在することを証明しなさい。"):
        assessed = router.assess(asked(text, WillingnessToPay(10**15)))
        assert assessed.score == router.bundle.score_second_stage(text, lexical_features(text))
        assert {note.code for note in assessed.notes} == {"SECOND_OPINION"}


def test_evaluation_judges_what_serving_says(bundle: Path) -> None:
    loaded = load_bundle(bundle, ENCODERS)
    prompts = encode_prompts(loaded.encoder, TEXTS, cache=None)
    arms = [arm.name for arm in loaded.manifest.arms]
    predictions = predict(loaded, prompts, arms).predictions
    told = [list(served_score(loaded, text).p_adequate.values()) for text in TEXTS]
    np.testing.assert_allclose(predictions.standard, told, rtol=1e-6)
    assert 0 < predictions.standard_asked().mean() < 0.5


def test_a_replay_asks_the_second_stage_as_serving_does(
    bundle: Path, settings: Settings, slow_runs: list[str]
) -> None:
    goal = QualityTarget(0.6)
    ledger = MemoryLedger()
    kept = settings.model_copy(update={"log_prompts": "text"})
    reservations = build_reservations(kept, build_router(settings, now=lambda: NOON), ledger)
    models: list[str] = []

    def render(held: Any) -> bytes:
        models.append(held.routed.decision.chosen.model.id)
        return b""

    details = {"outcome": "success", "quality": 1.0, "input_tokens": 50, "output_tokens": 100}
    for place, text in enumerate(TEXTS):
        reservations.decide(asked(text, goal), f"d{place}", "f" * 64, render)
        reservations.reports.settle(
            f"d{place}", "", "s" * 64, UsageReport(models[-1], 50, 0, 100, 1000, details)
        )
    rows = [logged(one) for one in ledger.decisions(count=10_000)]
    router = build_router(settings.model_copy(update={"bundle": bundle}), now=lambda: NOON)
    assert router.bundle.second is not None
    slow = router.bundle.second.encoder.manifest.sha256
    slow_runs.clear()
    for text in TEXTS:
        router.assess(asked(text, goal))
    live = slow_runs.count(slow)
    slow_runs.clear()
    report = replay(rows, ReplayPolicy(router.bundle, {}, goal, load_catalog(), NOON))
    assert report.replayed == len(TEXTS)
    assert 0 < live == slow_runs.count(slow)


def test_drift_does_not_compare_scores_of_which_stage_nobody_knows(bundle: Path) -> None:
    loaded = load_bundle(bundle, ENCODERS)
    score = loaded.score("hello")
    golden = Path(__file__).parents[1] / "golden" / "decision_records" / "v1_off.json"
    record = msgspec.structs.replace(
        parse(golden.read_bytes()),
        bundle=loaded.version,
        features=tuple(lexical_features("hello").tolist()),
        p_adequate=dict(score.p_adequate),
    )
    found = of_decisions(loaded, [LoggedDecision("d", "settled", NOON, {}, 1000, record)])
    assert len(found.features) == 1
    assert len(found.p_adequate) == 0
    assert any("which of the two stages spoke" in line for line in found.untold)


def test_the_model_card_says_who_is_asked_and_how_often(bundle: Path) -> None:
    card = (bundle / "model_card.md").read_text(encoding="utf-8")
    assert "Second stage: multilingual, consulted for the 32% of prompts" in card
    assert "Hyperparameters of static" in card


@pytest.mark.parametrize("name", [SECOND_CLASSIFIER, REFERENCE_FILE])
def test_without_a_part_of_its_second_stage_it_does_not_load(
    bundle: Path, tmp_path: Path, name: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    raw = json.loads((broken / "manifest.json").read_text(encoding="utf-8"))
    del raw["files"][name]
    (broken / "manifest.json").write_text(json.dumps(raw), encoding="utf-8")
    assert read_manifest(broken)[0].second is not None
    with pytest.raises(BadArtifact, match=f"does not list {name}"):
        load_bundle(broken, ENCODERS)


def test_a_reference_of_other_arms_is_damage(bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    content = b'{"p_adequate": [[0.5, 0.6]]}'
    (broken / REFERENCE_FILE).write_bytes(content)
    raw = json.loads((broken / "manifest.json").read_text(encoding="utf-8"))
    raw["files"][REFERENCE_FILE] = sha256_of(content)
    (broken / "manifest.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(BadArtifact, match="is not a table of 3 arms"):
        load_bundle(broken, ENCODERS)


def test_an_unknown_encoder_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    from training.cli import app

    told = CliRunner().invoke(
        app, ["fit", "--encoder", "casacde", "--out", str(tmp_path / "b"), "--no-mlflow"]
    )
    assert isinstance(told.exception, InvalidInput)
    assert "casacde" in str(told.exception)
