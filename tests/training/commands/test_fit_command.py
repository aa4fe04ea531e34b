"""`python -m training fit`, end to end on the demonstration history with the real static encoder."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from rich.console import Console
from typer.testing import CliRunner

from router.classifier.bundle import load_bundle
from router.classifier.encoder import Encoder, find_encoder, load_encoder
from router.classifier.manifest import read_manifest
from router.classifier.reference_sample import REFERENCE_FILE
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError
from router.paths import ENCODERS
from tests.readiness import PATIENCE_S, wait_until
from training import cli
from training.drift.traffic import of_bundle
from training.encoders.embedding import embed_all, encode_prompts
from training.export import stages
from training.histories.demonstration import demonstration_history
from training.histories.ladders import parse_prices
from training.histories.outcome_table import ReadOptions
from training.histories.split import SEEN_FILE, group_of, seen_prompts
from training.pipeline.training_run import TrainingResult, fit
from training.plan import TrainingPlan, bundle_name, model_name
from training.tracking.runs import PAGE, REASON_TAG

QUIET = Console(quiet=True)
PRICES = ("--price", "low=1,2", "--price", "high=10,20")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    folder = tmp_path_factory.mktemp("fit")
    return fit(TrainingPlan(histories=(), out=folder / "bundle", cache=folder / "cache"), QUIET)


def history(folder: Path, attempts: list[dict[str, Any]]) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in attempts), encoding="utf-8")
    return path


def attempts(n: int = 60, quality: Any = None) -> list[dict[str, Any]]:
    """Two models; the small one fails on every third prompt, unless ``quality`` says otherwise."""
    return [
        {
            "prompt": f"prompt number {i} about {'proofs' if i % 3 == 0 else 'weather'}",
            "model": model,
            "quality": (float(model == "large" or i % 3 != 0) if quality is None else quality),
            "input_tokens": 10,
            "output_tokens": 20 + i,
        }
        for i in range(n)
        for model in ("small", "large")
    ]


def plan(folder: Path, rows: list[dict[str, Any]], **more: Any) -> TrainingPlan:
    reading = ReadOptions(
        arms={"low": "small", "high": "large"}, prices=parse_prices(["low=1,2", "high=10,20"])
    )
    options = {"reading": reading, "out": folder / "out" / "bundle", "cache": None} | more
    return TrainingPlan(histories=(history(folder, rows),), **options)


# --- What a good run makes ---------------------------------------------------------------------


def test_the_bundle_loads_and_scores_a_text(made: TrainingResult) -> None:
    bundle = load_bundle(made.out, ENCODERS)
    hard = bundle.score("Prove that there are infinitely many primes and state every lemma.")
    easy = bundle.score("Hello Aiko, how are you today?")
    assert easy.complexity < hard.complexity
    assert easy.p_adequate["low"] > hard.p_adequate["low"]
    assert sum(hard.label_distribution.values()) == pytest.approx(1, abs=1e-5)
    assert hard.lengths["high"].p50 <= hard.lengths["high"].p90 <= hard.lengths["high"].p99


def test_a_demonstration_says_so_everywhere(made: TrainingResult) -> None:
    assert made.manifest.demonstration
    assert made.manifest.name == made.model == "mitsumori-demonstration"
    assert "DEMONSTRATION" in (made.out / "model_card.md").read_text(encoding="utf-8")


def test_the_manifest_tells_what_it_was_trained_on(made: TrainingResult) -> None:
    manifest, _ = read_manifest(made.out)
    assert manifest == made.manifest
    assert [arm.name for arm in manifest.arms] == ["low", "medium", "high"]
    assert set(manifest.languages) == {"en", "ja"}
    assert sum(manifest.languages.values()) == manifest.arms[0].attempts
    assert {"classifier.onnx", "model_card.md", SEEN_FILE, REFERENCE_FILE} == set(manifest.files)
    reference = of_bundle(load_bundle(made.out, ENCODERS), made.out)
    assert len(reference.features) == len(reference.p_adequate) > 50


def test_training_prompts_are_remembered_and_held_out_ones_are_not(made: TrainingResult) -> None:
    prompts = demonstration_history(made.manifest.split.seed).attempts["prompt"].unique()
    content = (made.out / SEEN_FILE).read_bytes()
    seen = seen_prompts(
        [group_of(prompt) for prompt in prompts], content, seed=made.manifest.split.seed
    )
    assert 0.7 < seen.mean() < 0.9


def test_it_beats_chance_on_held_out_prompts(made: TrainingResult) -> None:
    ours = made.report["pairs"]["low>high"]["apgr"]
    assert ours > 0.58
    assert ours > made.report["baselines"]["random"]["low>high"]["apgr"]


def test_the_same_data_and_seed_give_the_same_classifier(
    made: TrainingResult, tmp_path: Path
) -> None:
    again = fit(TrainingPlan(histories=(), out=tmp_path / "again", cache=None), QUIET)
    name = "classifier.onnx"
    assert again.manifest.files[name] == made.manifest.files[name]
    assert again.manifest.training_data_sha256 == made.manifest.training_data_sha256


def test_a_run_is_tracked_and_registered(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    done = fit(plan(tmp_path, attempts(), tracking=uri), QUIET)
    assert done.registered == 1
    assert done.manifest.mlflow_run_id
    assert list((tmp_path / "mlflow").rglob("bundle/classifier.onnx"))
    (page,) = (tmp_path / "mlflow").rglob(PAGE)
    assert "Promotion gate" in page.read_text(encoding="utf-8")
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    run = client.get_run(done.manifest.mlflow_run_id)
    # The run was open during all of the work, not only while it was logged.
    assert run.info.end_time - run.info.start_time >= 1000 * sum(done.seconds.values()) - 1
    assert len(run.data.metrics) <= 40
    assert client.list_artifacts(run.info.run_id)[0].path == PAGE
    counts = {
        tags["mlflow.data.context"]: (int(tags["prompts"]), int(tags["attempts"]))
        for tags in ({t.key: t.value for t in one.tags} for one in run.inputs.dataset_inputs)
    }
    assert sum(prompts for prompts, _ in counts.values()) == 60
    assert sum(attempts for _, attempts in counts.values()) == 120
    assert counts["held out"][0] == done.report["n_prompts"]
    assert run.data.tags["bundle"] in page.read_text(encoding="utf-8")
    assert run.data.tags["data_sha256"] == done.manifest.training_data_sha256
    said = run.data.tags["mlflow.note.content"] + json.dumps(run.data.params)
    assert "prompt number" not in said  # no prompt leaves the history
    made = client.get_model_version("mitsumori", "1")
    assert made.tags["verdict"] == run.data.tags["verdict"]
    assert made.tags["encoder"] == "static"


def test_a_fit_that_fails_says_why_and_registers_nothing(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    with pytest.raises(InvalidInput, match="every attempt is adequate"):
        fit(plan(tmp_path, attempts(quality=1.0), tracking=uri), QUIET)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("mitsumori").experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.tags[REASON_TAG].startswith("every attempt is adequate")
    assert client.search_model_versions() == []
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_no_run(tmp_path: Path) -> None:
    wanted = TrainingPlan(
        histories=(tmp_path / "none.parquet",), out=tmp_path / "out",
        tracking=f"sqlite:///{tmp_path}/mlflow.db",
    )  # fmt: skip
    with pytest.raises(InvalidInput, match=r"none\.parquet: cannot be read"):
        fit(wanted, QUIET)
    assert not (tmp_path / "mlflow.db").exists()


def test_ctrl_c_leaves_a_killed_run_and_registers_nothing(
    tmp_path: Path, mlflow_database: Path
) -> None:
    database = Path(shutil.copy(mlflow_database, tmp_path / "mlflow.db"))
    uri = f"sqlite:///{database}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def runs() -> list[Any]:
        experiment = client.get_experiment_by_name("mitsumori")
        return [] if experiment is None else client.search_runs([experiment.experiment_id])

    command = ["-m", "training", "fit", "--out", str(tmp_path / "out"), "--tracking-uri", uri]
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        wait_until(lambda: [run for run in runs() if run.inputs.dataset_inputs])
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) != 0
    (run,) = runs()
    assert (run.info.status, run.data.tags[REASON_TAG]) == ("KILLED", "interrupted")
    assert run.data.tags["command"].startswith("python -m training fit --out")
    assert client.search_model_versions() == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "name", "model"),
    [
        ({}, "mitsumori-static-log", "mitsumori"),
        ({"encoder": "cascade"}, "mitsumori-cascade-log", "mitsumori"),
        (
            {"histories": (Path("a b.csv"), Path("c.parquet"))},
            "mitsumori-static-a_b-c",
            "mitsumori",
        ),
        ({"histories": (Path("x.csv"),) * 4}, "mitsumori-static-4-histories", "mitsumori"),
        ({"histories": ()}, "mitsumori-demonstration", "mitsumori-demonstration"),
        ({"name": "mine", "model": "trial"}, "mine", "trial"),
        ({"histories": (), "model": "trial"}, "mitsumori-demonstration", "trial"),
    ],
)
def test_names_come_from_encoder_and_history(
    options: dict[str, Any], name: str, model: str
) -> None:
    asked = TrainingPlan(**({"histories": (Path("log.jsonl"),), "out": Path("out")} | options))
    assert (bundle_name(asked), model_name(asked)) == (name, model)


def test_a_registered_name_that_mlflow_could_not_take_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--registered-model 'a/b'"):
        model_name(TrainingPlan(histories=(), out=Path("out"), model="a/b"))


def test_a_log_has_a_line_per_stage_with_the_seconds_so_far(tmp_path: Path) -> None:
    log = io.StringIO()
    made = fit(plan(tmp_path, attempts()), Console(file=log, force_terminal=False))
    lines = [line.split(" s  ") for line in log.getvalue().splitlines()]
    assert [name for _, name in lines] == list(made.seconds)
    seconds = [float(text) for text, _ in lines]
    assert seconds == sorted(seconds)


def test_several_histories_are_pooled_by_arm(tmp_path: Path) -> None:
    rows = attempts()
    first = history(tmp_path, rows[:80])
    second = first.with_name("more.jsonl")
    second.write_text("".join(json.dumps(row) + "\n" for row in rows[80:]), encoding="utf-8")
    wanted = plan(tmp_path, rows[:80])
    done = fit(dataclasses.replace(wanted, histories=(first, second)), QUIET)
    assert [source.name for source in done.manifest.histories] == ["log", "more"]


def test_a_censored_history_trains_too(tmp_path: Path) -> None:
    rows = [row for i, row in enumerate(attempts(120)) if (i // 2 + i) % 2]
    done = fit(plan(tmp_path, rows), QUIET)
    assert load_bundle(done.out, ENCODERS).score("prompt about proofs").p_adequate


# --- What is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (attempts(quality=1.0), "every attempt is adequate"),
        (attempts(quality=0.0), "no attempt is adequate"),
        (attempts(n=10), "10 prompts are too few"),
        ([{**row, "quality": None} for row in attempts()], "nothing to learn from"),
        (
            [{**row, "quality": None} if row["model"] == "large" else row for row in attempts()],
            "the arm high has no judged attempt",
        ),
    ],
)
def test_a_history_that_teaches_nothing_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        fit(plan(tmp_path, rows), QUIET)
    assert not (tmp_path / "out").exists()


def test_a_directory_of_something_else_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadArtifact, match="is no bundle"):
        fit(plan(tmp_path, attempts(), out=tmp_path), QUIET)


def test_a_graph_that_differs_from_the_fit_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stages.classifier_graph

    def wrong(model: Any, *rest: Any) -> bytes:
        return real(dataclasses.replace(model, bias=model.bias + 0.01), *rest)

    monkeypatch.setattr(stages, "classifier_graph", wrong)
    with pytest.raises(BadArtifact, match="does not compute what was fitted"):
        fit(plan(tmp_path, attempts()), QUIET)
    assert not (tmp_path / "out").exists()


def test_a_tampered_bundle_does_not_load(tmp_path: Path) -> None:
    done = fit(plan(tmp_path, attempts()), QUIET)
    graph = done.out / "classifier.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    with pytest.raises(BadArtifact, match="altered or damaged"):
        load_bundle(done.out, ENCODERS)


# --- Embeddings --------------------------------------------------------------------------------


def test_cached_vectors_are_those_of_serving_and_are_not_made_twice(tmp_path: Path) -> None:
    encoder = load_encoder(find_encoder(ENCODERS, "static"))
    texts = ["one", "東京", "one", ""]
    first = embed_all(encoder, texts, cache=tmp_path)
    np.testing.assert_array_equal(first, np.stack([encoder.embed(text) for text in texts]))
    (file,) = tmp_path.glob("*.sqlite")
    assert file.stem == encoder.manifest.sha256
    connection = sqlite3.connect(file)
    connection.execute("UPDATE vectors SET vector = zeroblob(length(vector))")
    connection.commit()
    connection.close()
    assert not embed_all(encoder, texts, cache=tmp_path).any()


class Counting(Encoder):
    """An encoder that notes which texts it tokenises."""

    tokenised: list[str]

    def word_ids(self, text: str) -> list[int]:
        self.tokenised.append(text)
        return super().word_ids(text)


def test_with_a_cold_cache_each_prompt_is_tokenised_once(tmp_path: Path) -> None:
    plain = load_encoder(find_encoder(ENCODERS, "static"))
    encoder = Counting(plain.manifest, plain.tokenizer, plain.session)
    object.__setattr__(encoder, "tokenised", [])
    texts = ["one", "東京", "a long prompt " * 4000]
    found = encode_prompts(encoder, texts, cache=tmp_path)
    assert encoder.tokenised == texts
    assert found.word_ids == [plain.word_ids(text) for text in texts]
    np.testing.assert_array_equal(found.vectors, np.stack([plain.embed(text) for text in texts]))


def test_a_cache_that_is_none_is_refused(tmp_path: Path) -> None:
    encoder = load_encoder(find_encoder(ENCODERS, "static"))
    (tmp_path / f"{encoder.manifest.sha256}.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(MitsumoriError, match=r"cannot be used .*delete it"):
        embed_all(encoder, ["one"], cache=tmp_path)


# --- The command line --------------------------------------------------------------------------


def command(*words: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["training", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_an_error_is_one_line_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = history(tmp_path, [{**row, "quality": 3} for row in attempts()])
    code = command(
        "fit", "--history", path, "--arms", "low=small,high=large", *PRICES,
        "--out", tmp_path / "b", "--no-mlflow", monkeypatch=monkeypatch,
    )  # fmt: skip
    told = capsys.readouterr().err
    assert code == 2
    assert told.count("\n") == 1
    assert told.startswith("error: ")
    assert "row 1: quality" in told


def test_fit_prints_where_the_bundle_is_and_reports_bad_rows(tmp_path: Path) -> None:
    path = history(tmp_path, [*attempts(), {"prompt": "x", "model": "small", "quality": 7}])
    result = CliRunner().invoke(
        cli.app,
        ["fit", "--history", str(path), "--arms", "low=small,high=large", *PRICES, "--skip-bad-rows",
         "--out", str(tmp_path / "b"), "--no-mlflow", "--cache", str(tmp_path / "c")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"bundle: {tmp_path / 'b'}" in result.stdout
    assert "1 bad rows were left out" in result.stdout
    assert '"row": 121' in (tmp_path / "b-rejected-log.jsonl").read_text(encoding="utf-8")


def test_the_option_of_a_part_that_is_gone_is_accepted_and_said_to_do_nothing(
    tmp_path: Path,
) -> None:
    path = history(tmp_path, attempts())
    result = CliRunner().invoke(
        cli.app,
        ["fit", "--history", str(path), "--arms", "low=small,high=large", *PRICES, "--no-neighbours",
         "--out", str(tmp_path / "b"), "--no-mlflow", "--cache", str(tmp_path / "c")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "--no-neighbours has no effect any more" in result.stderr
    assert "--no-neighbours" not in CliRunner().invoke(cli.app, ["fit", "--help"]).output


def test_label_prints_the_distribution(tmp_path: Path) -> None:
    path = history(tmp_path, attempts())
    result = CliRunner().invoke(
        cli.app,
        ["label", "--history", str(path), "--arms", "low=small,high=large", "--json",
         "--out", str(tmp_path / "labels.csv")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["labels"] == {
        "low": 40, "high": 20, "none": 0, "undetermined": 0,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["label", "fit", "evaluate", "encoder"])
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli.app, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout
