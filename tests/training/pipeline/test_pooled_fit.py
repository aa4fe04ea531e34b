"""Several histories pooled by tier: today's tiers on the scale, strengths, and sources left out in turn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from router.classifier.bundle import load_bundle
from router.classifier.manifest import read_manifest
from router.classifier.model_ability import p_of_model
from router.core.errors import BadArtifact, InvalidInput
from router.paths import ENCODERS
from tests.builders import model
from tests.training.pooled_world import TOPICS, attempts
from training.pipeline.sources import read_sources
from training.pipeline.training_run import TrainingResult
from training.plan import TrainingPlan


def test_the_arms_are_todays_tiers_on_the_scale(pooled: TrainingResult) -> None:
    low, medium, high = pooled.manifest.arms
    assert [low.name, medium.name, high.name] == ["low", "medium", "high"]
    assert low.ability is not None
    assert medium.ability is not None
    assert high.ability is not None
    assert low.ability < medium.ability < high.ability
    assert "gpt-5-nano" in low.models


def test_models_of_the_histories_have_an_ability_from_their_own_attempts(
    pooled: TrainingResult,
) -> None:
    known = pooled.manifest.abilities
    assert known["llama-3.1-8b-instruct"].attempts == 600
    assert (
        known["llama-3.1-8b-instruct"].points
        < known["llama-3.3-70b-instruct"].points
        < known["gemini-2.5-pro"].points
    )


def test_annotated_requests_are_told_apart_from_measured_prompts(pooled: TrainingResult) -> None:
    evidence = pooled.manifest.evidence
    assert evidence is not None
    assert evidence.measured == 600
    assert evidence.annotated > 200


def test_a_model_with_many_attempts_has_strengths_of_its_own(pooled: TrainingResult) -> None:
    known = pooled.manifest.abilities
    assert known["gemini-1.5-flash-002"].strengths
    assert not known["gemini-2.5-pro"].strengths, "120 attempts are too few"
    bundle = load_bundle(pooled.out, ENCODERS)
    flash, query, contract = (
        model("gemini-1.5-flash-002"),
        *(bundle.score(f"exams 9999: write {TOPICS[topic]}, version 5") for topic in (3, 1)),
    )

    def p(score: Any) -> float:
        return p_of_model(flash, "medium", bundle.manifest, score)[0] or 0.0

    # Its tier is better at contracts than at SQL by far less than it is worse at them.
    lead = query.p_adequate["medium"] - contract.p_adequate["medium"]
    assert p(query) - p(contract) > lead + 0.1


def test_each_source_is_judged_by_a_fit_without_it(pooled: TrainingResult) -> None:
    found = pooled.report["unseen_sources"]
    assert list(found) == ["exams", "chat"]
    assert found["exams"]["models"]["high"] == "gemini-1.5-pro-002"
    for one in found.values():
        assert set(one["said"]) == set(one["real"]) == {"low", "medium", "high"}
        assert 0 <= one["worst_ece"] <= 1
        assert 0 < one["coverage_p90"] <= 1
        assert one["policy"]["quality"] <= 1
    card = (pooled.out / "model_card.md").read_text(encoding="utf-8")
    assert "## Unseen sources" in card
    assert "| exams | 480 |" in card


def test_strengths_that_the_graph_does_not_know_are_refused(
    pooled: TrainingResult, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(pooled.out, broken)
    path = broken / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["abilities"]["gemini-1.5-flash-002"]["strengths"] = [1.0]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(
        BadArtifact, match=r"flash-002\.strengths has 1 numbers, but .* tells 8 demands"
    ):
        load_bundle(broken, ENCODERS)
    assert read_manifest(pooled.out)[0].format_version == 4


# --- Which histories take part, and how --------------------------------------------------------


def planned(*histories: Path, out: Path) -> TrainingPlan:
    return TrainingPlan(histories=histories, out=out / "bundle", cache=None)


def test_a_history_without_a_ladder_joins_by_its_models(
    pooled_histories: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "own.jsonl"
    rows = attempts("own", {"gpt-5-nano": 0.6, "gpt-5-mini": 0.8, "acme-1": 0.7}, 60, seed=5)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sources = read_sources(planned(*pooled_histories, path, out=tmp_path))
    assert sources.placed is not None
    assert sources.placed.abilities["acme-1"].attempts == 60
    assert set(sources.table.outcomes.sources) == {"exams", "chat"}
    (note,) = (note for note in sources.table.notes if note.startswith("own: "))
    assert "its models are placed and its prompts teach" in note


def test_a_history_that_nothing_links_and_no_ladder_knows_is_refused_with_the_remedy(
    pooled_histories: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "own.jsonl"
    rows = attempts("own", {"acme-1": 0.6, "acme-2": 0.8}, 60, seed=5)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(
        InvalidInput, match=r"own .* nothing links it to the scale.* train on it alone"
    ):
        read_sources(planned(*pooled_histories, path, out=tmp_path))


def test_a_history_is_given_once(pooled_histories: tuple[Path, Path], tmp_path: Path) -> None:
    exams, chat = pooled_histories
    with pytest.raises(InvalidInput, match="exams-1 and exams-3 are the same file; give it once"):
        read_sources(planned(exams, chat, exams, out=tmp_path))
