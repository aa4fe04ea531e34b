"""`python -m training promote` and `compare`, with a real registry on SQLite.

The bundles are copies of the shipped one; what they say about a prompt is planted, so that it is known which
one is better. A bundle that was really fitted goes through the gate in test_evaluate_command.py.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner, Result

from router.classifier.bundle import Bundle
from router.classifier.hot_swap import open_bundle_source
from router.classifier.manifest import read_manifest
from router.classifier.registry import SIGNATURE_TAG, RegistryAddress
from router.classifier.signature import SIGNATURE
from router.core.errors import MitsumoriError
from router.files import sha256_of
from router.paths import DEFAULT_BUNDLE
from tests.signing_keys import SigningKey
from training import cli
from training.artifacts.bundle_signature import sign_bundle
from training.commands.promote_command import REFUSED
from training.encoders.embedding import EncodedPrompts
from training.evaluation.bundle_predictions import BundlePredictions
from training.evaluation.predictions import Predictions
from training.histories.demonstration import ARMS, PRICES, demonstration_history
from training.histories.split import SEEN_FILE, group_of, pack_seen
from training.tracking.promotion import CHAMPION, ChampionAlias
from training.tracking.runs import start_run
from training.tracking.store import MODEL

ARM_OPTION = ",".join(f"{name}={model}" for name, model in ARMS.items())
OPTIONS = ["--arms", ARM_OPTION]
OPTIONS += [
    word
    for name, rates in PRICES.items()
    for word in ("--price", f"{name}={rates.input},{rates.output}")
]
PROMPTS = 600


class World:
    """Bundles ``good`` and ``blind``, a history that is new to both, and a registry of one's own."""

    def __init__(self, folder: Path, unused_database: Path) -> None:
        self.folder, self.unused_database = folder, unused_database
        self.rows = demonstration_history(7).attempts.to_dict("records")
        for row in self.rows:  # templates repeat: here no two prompts are one
            row["prompt"] += f" ({row['prompt_id']})"
        self.history = self.written("history", self.rows)
        self.chances = self._chances()
        self.good, self.blind = self.bundle("good"), self.bundle("blind")

    def written(self, name: str, rows: Sequence[dict[str, Any]]) -> Path:
        path = self.folder / f"{name}.jsonl"
        keep = ("prompt_id", "prompt", "model", "quality", "output_tokens", "language", "category")
        lines = [json.dumps({key: row[key] for key in keep if key in row}) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def _chances(self) -> dict[str, np.ndarray]:
        """Prompt → how often each arm is adequate on prompts of its category."""
        qualities: dict[tuple[str, str], list[float]] = {}
        for row in self.rows:
            qualities.setdefault((row["category"], row["model"]), []).append(row["quality"])
        return {
            row["prompt"]: np.array(
                [np.mean(qualities[row["category"], model]) for model in ARMS.values()]
            ).clip(0.02, 0.98)
            for row in self.rows
        }

    def bundle(self, name: str, taught: Sequence[str] = (), drop: str = "") -> Path:
        """A bundle of that name, trained on some prompts, without one of the arms."""
        target = shutil.copytree(DEFAULT_BUNDLE, self.folder / name)
        manifest = json.loads((target / "manifest.json").read_text())
        seed = manifest["split"]["seed"]
        seen = pack_seen([group_of(text) for text in taught], seed=seed)
        (target / SEEN_FILE).write_bytes(seen)
        manifest["files"][SEEN_FILE] = sha256_of(seen)
        manifest["arms"] = [arm for arm in manifest["arms"] if arm["name"] != drop]
        (target / "manifest.json").write_text(json.dumps({**manifest, "name": name}))
        return target

    def said(self, bundle: Bundle, prompts: EncodedPrompts, *_: object) -> BundlePredictions:
        """What a bundle says: the truth, unless it is called blind; then that of other prompts."""
        p = np.array([self.chances[text] for text in prompts.texts])
        if bundle.manifest.name.startswith("blind"):
            p = np.random.default_rng(3).permutation(p)
        lengths = np.tile([100.0, 300.0, 900.0], (*p.shape, 1))
        return BundlePredictions(Predictions(p), lengths, np.zeros((len(p), 0)))

    def fresh(self, name: str) -> None:
        self.database = self.folder / f"{name}.db"
        self.uri = f"sqlite:///{self.database}"
        shutil.copy(self.unused_database, self.database)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def champion(self) -> int | None:
        named = self.client.get_registered_model(MODEL).aliases.get(CHAMPION)
        return None if named is None else int(named)

    def crowned(self, bundle: Path) -> int:
        with start_run(self.uri, name=bundle.name, tags={}) as run:
            run.log_bundle(bundle)
            version = run.register()
        self.client.set_registered_model_alias(MODEL, CHAMPION, str(version))
        return version

    def run(self, *words: str) -> Result:
        common = [*OPTIONS, "--cache", str(self.folder / "cache")]
        return CliRunner().invoke(cli.app, [*words, *common])

    def promote(self, bundle: Path, *words: str, history: Path | None = None) -> Result:
        return self.run(
            "promote", "--bundle", str(bundle), "--history", str(history or self.history),
            "--tracking-uri", self.uri, "--report", str(self.folder / "promote.json"), *words,
        )  # fmt: skip

    def figures(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.folder / "promote.json").read_text())
        return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> World:
    return World(tmp_path_factory.mktemp("promote"), mlflow_database)


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """With a registry that nobody has used."""
    shared.fresh(request.node.name)
    monkeypatch.setattr("training.evaluation.evaluation_set.predict", shared.said)
    return shared


def refusal(result: Result) -> str:
    assert result.exit_code == REFUSED, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("refused: ")]
    return line


def error(result: Result) -> str:
    assert isinstance(result.exception, MitsumoriError), result.output
    assert "\n" not in result.exception.message
    return result.exception.message


# --- Promotion ---------------------------------------------------------------------------------


def test_the_first_good_bundle_becomes_champion_and_a_second_time_nothing_happens(
    world: World,
) -> None:
    result = world.promote(world.good)
    assert result.exit_code == 0, result.output
    assert world.champion() == 1
    version = world.client.get_model_version(MODEL, "1")
    assert "beats prompt length" in version.tags["gate_found"]
    assert json.loads(version.tags["gate_figures"]) == world.figures()
    assert version.tags["verdict"].startswith("Passes the promotion gate")
    assert version.tags["bundle"] == "good"
    (judged_on,) = world.client.get_run(version.run_id).inputs.dataset_inputs
    assert judged_on.dataset.name.startswith(f"history (held out: {PROMPTS} prompts")
    assert version.description.startswith("Promoted on ")
    assert f"/runs/{version.run_id}" in version.description
    assert any(one["holds"] for one in world.figures())
    again = world.promote(world.good)
    assert again.exit_code == 0
    assert "champion already" in again.output
    assert len(world.client.search_model_versions(f"name = '{MODEL}'")) == 1


def test_a_server_on_this_machine_gets_what_was_promoted_and_not_what_was_refused(
    world: World, tmp_path: Path
) -> None:
    """As `mitsumori serve --bundle models:/mitsumori@champion` does, without an MLflow server."""
    source = open_bundle_source(
        RegistryAddress.parse(f"models:/{MODEL}@{CHAMPION}"), world.uri, tmp_path
    )
    assert world.promote(world.good).exit_code == 0
    assert "version 1" in source.find().location
    assert read_manifest(source.fetch())[1].startswith("good@")
    refusal(world.promote(world.blind))
    assert "version 1" in source.find().location


def test_a_champion_that_is_signed_anew_keeps_its_version(world: World, tmp_path: Path) -> None:
    bundle = shutil.copytree(world.good, tmp_path / "good")
    sign_bundle(bundle, SigningKey(tmp_path, "one").private)
    assert world.promote(bundle).exit_code == 0
    first = world.client.get_model_version(MODEL, "1").tags[SIGNATURE_TAG]
    assert first == sha256_of((bundle / SIGNATURE).read_bytes())
    sign_bundle(bundle, SigningKey(tmp_path, "two").private)
    assert "nothing to do" in world.promote(bundle, "--dry-run").output
    assert world.client.get_model_version(MODEL, "1").tags[SIGNATURE_TAG] == first
    again = world.promote(bundle)
    assert "is the champion already (version 1); its signature is the new one now" in (
        again.output.replace("\n", " ")
    )
    renewed = world.client.get_model_version(MODEL, "1").tags[SIGNATURE_TAG]
    assert renewed == sha256_of((bundle / SIGNATURE).read_bytes()) != first
    source = open_bundle_source(
        RegistryAddress.parse(f"models:/{MODEL}@{CHAMPION}"), world.uri, tmp_path / "cache"
    )
    source.find()
    assert (source.fetch() / SIGNATURE).read_bytes() == (bundle / SIGNATURE).read_bytes()


def test_a_bundle_that_is_promoted_again_is_described_once(world: World) -> None:
    assert world.promote(world.good).exit_code == 0
    world.crowned(world.blind)
    assert world.promote(world.good).exit_code == 0
    said = world.client.get_model_version(MODEL, "1").description
    assert said.count("Promoted on ") == 1
    assert "beats the champion" in said


def test_a_registered_bundle_is_not_registered_again(world: World) -> None:
    world.crowned(world.blind)
    with start_run(world.uri, name="good", tags={}) as run:
        run.log_bundle(world.good)
        version = run.register()
    result = world.promote(world.good, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["promoted_version"] == version
    assert world.champion() == version
    assert "version 1" in world.client.get_model_version(MODEL, "2").tags["gate_champion"]


def test_a_dry_run_touches_nothing(world: World) -> None:
    world.database.unlink()
    result = world.promote(world.good, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "would be promoted" in result.output
    assert not world.database.exists()


def test_a_worse_bundle_is_refused_with_every_reason_and_the_champion_stays(world: World) -> None:
    version = world.crowned(world.good)
    reasons = refusal(world.promote(world.blind))
    for whom in ("the best single arm at equal cost", "prompt length", "the champion"):
        assert f"does not beat {whom}" in reasons
    assert "95 % interval" in reasons
    assert world.champion() == version
    assert [one for one in world.figures() if one["holds"] is False]


def test_a_tie_is_refused(world: World, tmp_path: Path) -> None:
    """The same classifier under another name."""
    world.crowned(world.good)
    twin = shutil.copytree(world.good, tmp_path / "twin")
    manifest = json.loads((twin / "manifest.json").read_text())
    (twin / "manifest.json").write_text(json.dumps({**manifest, "name": "twin"}))
    assert "does not beat the champion: APGR +0.000" in refusal(world.promote(twin))


def test_another_bundle_can_be_named_as_the_champion(world: World) -> None:
    assert "the champion" in refusal(world.promote(world.blind, "--champion", str(world.good)))
    result = world.promote(world.good, "--champion", str(world.blind))
    assert result.exit_code == 0, result.output
    assert world.champion() == 1


# --- What goes wrong ---------------------------------------------------------------------------


def test_when_the_alias_cannot_be_moved_it_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = world.crowned(world.blind)

    def broken(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_model_version_tag", broken)
        message = error(world.promote(world.good))
    assert "the disk is full" in message
    assert "not moved" in message
    assert world.champion() == version


def test_whoever_promotes_meanwhile_is_not_overruled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.crowned(world.blind)
    find: Callable[[ChampionAlias, str], int | None] = ChampionAlias.find

    def meanwhile(throne: ChampionAlias, sha256: str) -> int | None:
        world.crowned(world.blind)
        return find(throne, sha256)

    monkeypatch.setattr(ChampionAlias, "find", meanwhile)
    assert "changed from version 1 to version 2" in error(world.promote(world.good))
    assert world.champion() == 2


def test_an_altered_champion_is_not_compared_with(world: World) -> None:
    version = world.crowned(world.blind)
    source = world.client.get_model_version(MODEL, str(version)).source
    with (Path(source.removeprefix("file://")) / "classifier.onnx").open("ab") as file:
        file.write(b"x")
    assert "altered" in error(world.promote(world.good))


def test_an_alias_that_names_a_deleted_version_says_what_to_do(world: World) -> None:
    world.crowned(world.blind)
    world.client.delete_model_version(MODEL, "1")
    with sqlite3.connect(world.database) as connection:  # as another release of MLflow leaves it
        connection.execute(
            "INSERT INTO registered_model_aliases (name, alias, version) VALUES (?, ?, 1)",
            (MODEL, CHAMPION),
        )
    connection.close()
    message = error(world.promote(world.good))
    assert "version 1, which was deleted" in message
    assert "--champion" in message
    assert world.promote(world.good, "--champion", "none").exit_code == 0
    assert world.champion() == 2


def test_a_registry_that_was_asked_for_must_have_a_champion(world: World) -> None:
    world.database.unlink()
    assert "no mitsumori@champion yet" in error(world.promote(world.good, "--champion", "registry"))
    assert not world.database.exists()


def test_prompts_that_taught_either_judge_neither(world: World) -> None:
    texts = list(world.chances)
    mine, theirs = world.bundle("mine", texts[:200]), world.bundle("theirs", texts[150:300])
    result = world.promote(mine, "--champion", str(theirs), "--json")
    assert json.loads(result.stdout)["n_prompts"] == PROMPTS - 300
    rest = world.bundle("rest", texts[200:])
    assert "new to all" in error(world.promote(mine, "--champion", str(rest)))


def test_a_history_without_quality_is_refused(world: World) -> None:
    rows = [{key: value for key, value in row.items() if key != "quality"} for row in world.rows]
    assert "quality" in error(world.promote(world.good, history=world.written("blank", rows)))


# --- Comparison --------------------------------------------------------------------------------


def compare(world: World, a: Path, b: Path, *words: str) -> Result:
    return world.run("compare", str(a), str(b), "--history", str(world.history), *words)


def test_a_comparison_is_a_table_json_and_a_page(world: World, tmp_path: Path) -> None:
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    result = compare(world, world.blind, world.good, "--json", str(out), "--html", str(page))
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["pooled_apgr"]["better"] == "b"
    assert found["n_prompts"] == PROMPTS
    assert found["encode_ms"]["p50"]["a"] > 0
    assert "blind@" in page.read_text()
    assert "all pairs together" in result.output


def test_a_bundle_is_not_compared_with_itself(world: World) -> None:
    assert "same bundle" in error(compare(world, world.good, world.good))


def test_bundles_with_different_arms_are_compared_on_those_they_share(world: World) -> None:
    message = error(compare(world, world.good, world.bundle("two", drop="medium")))
    assert "medium" in message
    assert f"--arms low={ARMS['low']},high={ARMS['high']}" in message
