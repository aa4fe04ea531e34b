"""Two stages: the slow one is asked where it would change something, and not more often than agreed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from router.bundle import FORMAT_VERSION, SECOND_CLASSIFIER, load_bundle, read_manifest
from router.core.errors import BadArtifact, InvalidInput
from router.encoding import Encoder
from router.lexical import lexical_features
from router.paths import ENCODERS
from training.arrivals.add_arm import Arrival, add_arm
from training.fitting.cascade import fit_doubt
from training.histories.demonstration import demonstration_history
from training.histories.splitting import SEED
from training.judging.asking import predictions
from training.pipeline import Plan, fit

TEXTS = sorted(set(demonstration_history(SEED).attempts["prompt"]))[::12]


def world(seed: int = 0) -> tuple[Any, Any, Any]:
    """The stages differ much where the first column is high, and hardly anywhere else."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(900, 4)).astype(np.float32)
    first = rng.uniform(0.3, 0.7, size=(900, 2))
    change = np.where(x[:, :1] > 0.8, 0.25, 0.01) * rng.choice([-1, 1], size=(900, 2))
    return x, first, first + change


def test_it_is_asked_where_it_would_change_something_and_no_more_than_a_third() -> None:
    x, first, second = world()
    doubt = fit_doubt(x, first, second, [str(row) for row in range(900)], seed=1)
    new, one, other = world(seed=1)
    asked = doubt.asks(new)
    assert 0.2 < asked.mean() <= 1 / 3 + 0.02
    changed = np.abs(other - one).max(axis=1) > 0.1
    assert (changed & asked).sum() / changed.sum() > 0.95


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cascade")
    plan = Plan(histories=(), out=folder / "bundle", encoder="cascade", cache=folder / "cache")
    return fit(plan, Console(quiet=True)).out


def test_the_second_stage_has_the_last_word_where_it_is_asked(bundle: Path) -> None:
    loaded = load_bundle(bundle, ENCODERS)
    assert loaded.second is not None
    assert loaded.manifest.format_version == FORMAT_VERSION
    told = {True: 0, False: 0}
    for text in TEXTS:
        ids = loaded.encoder.word_ids(text)
        vector, form = loaded.encoder.embed_ids(loaded.encoder.window(ids)), lexical_features(text)
        alone = loaded.outputs(vector, form, ids)
        (doubt,) = loaded.classifier.run(
            ["doubt"],
            {
                "embedding": vector[None],
                "features": form[None],
                "token_ids": np.asarray(ids, np.int64),
            },
        )
        asked = float(doubt[0, 0]) >= loaded.second.ask_above
        told[asked] += 1
        said = loaded.outputs(vector, form, ids, text)
        assert (not np.array_equal(alone[1], said[1])) == asked
    assert min(told.values()) > 0


def test_the_slow_encoder_is_not_run_where_there_is_no_doubt(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_bundle(bundle, ENCODERS)
    assert loaded.second is not None
    slow, runs = loaded.second.encoder.manifest.sha256, []
    real = Encoder.embed_ids

    def counted(encoder: Encoder, ids: Any) -> Any:
        runs.append(encoder.manifest.sha256)
        return real(encoder, ids)

    monkeypatch.setattr(Encoder, "embed_ids", counted)
    for text in TEXTS:
        loaded.score(text)
    assert 0 < runs.count(slow) < len(TEXTS)


def test_evaluation_judges_what_serving_says(bundle: Path) -> None:
    loaded = load_bundle(bundle, ENCODERS)
    vectors = np.stack([loaded.encoder.embed(text) for text in TEXTS])
    form = np.stack([lexical_features(text) for text in TEXTS])
    arms = [arm.name for arm in loaded.manifest.arms]
    said = predictions(loaded, TEXTS, vectors, form, arms).p_adequate
    served = [list(loaded.score(text).p_adequate.values()) for text in TEXTS]
    np.testing.assert_allclose(said, served, rtol=1e-6)


def test_the_model_card_says_who_is_asked_and_how_often(bundle: Path) -> None:
    card = (bundle / "model_card.md").read_text(encoding="utf-8")
    assert "Second stage: multilingual, asked about" in card
    assert "Hyperparameters of static" in card


def test_without_its_second_classifier_it_does_not_load(bundle: Path, tmp_path: Path) -> None:
    import json
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    raw = json.loads((broken / "manifest.json").read_text(encoding="utf-8"))
    del raw["files"][SECOND_CLASSIFIER]
    (broken / "manifest.json").write_text(json.dumps(raw), encoding="utf-8")
    assert read_manifest(broken)[0].second is not None
    with pytest.raises(BadArtifact, match=f"does not name {SECOND_CLASSIFIER}"):
        load_bundle(broken, ENCODERS)


def test_an_unknown_encoder_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    from training.cli import app

    told = CliRunner().invoke(
        app, ["fit", "--encoder", "casacde", "--out", str(tmp_path / "b"), "--no-mlflow"]
    )
    assert isinstance(told.exception, InvalidInput)
    assert "casacde" in str(told.exception)


def test_an_arm_is_not_added_to_one_stage_only(bundle: Path, tmp_path: Path) -> None:
    arrival = Arrival(
        bundle=bundle, histories=(), arm="new", model="new", tier="low", out=tmp_path / "more"
    )
    with pytest.raises(InvalidInput, match="two stages"):
        add_arm(arrival, Console(quiet=True))
