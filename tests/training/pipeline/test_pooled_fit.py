"""Several histories pooled by tier: today's tiers on the scale, strengths, and sources left out in turn.

Two small histories with the models of real ones, so that their ladders are recognised and link to the scale.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from router.classifier.bundle import load_bundle
from router.classifier.manifest import read_manifest
from router.classifier.model_ability import p_of_model
from router.core.errors import BadArtifact
from router.paths import ENCODERS
from tests.builders import model
from training.pipeline.training_run import TrainingResult, fit
from training.plan import TrainingPlan
from training.requests.request_set import read_requests
from training.scale import placement

QUIET = Console(quiet=True)
EXAMS = {
    "Meta-Llama-3_1-8B-Instruct": 0.0,
    "gemini-1.5-flash-002": 0.5,
    "gemini-1.5-pro-002": 0.6,
}
CHAT = {
    "meta-llama/Llama-3.1-8B-Instruct": 0.0,
    "meta-llama/Llama-3.3-70B-Instruct": 0.4,
    "gpt-4o-2024-11-20": 0.6,
    "gpt-5-nano": 0.6,
    "gemini-2.5-pro": 1.0,
}
"""Models and their abilities, in hundreds of points."""
TOPICS = (
    "a proof about prime numbers",
    "a clause in a contract",
    "a joke about cats",
    "a query in SQL",
)
DIFFICULTY = (2.5, 1.5, -1.0, 0.5)


def attempts(
    name: str, models: dict[str, float], prompts: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Flash is good at SQL and bad at contracts, whatever its ability."""
    rng = np.random.default_rng(seed)
    for place in range(prompts):
        topic = place % len(TOPICS)
        for who, ability in models.items():
            z = 3.3 * ability - DIFFICULTY[topic]
            z += {3: 2.0, 1: -2.0}.get(topic, 0.0) * ("flash" in who)
            yield {
                "prompt": f"{name} {place}: write {TOPICS[topic]}, version {place * 7 % 101}",
                "model": who,
                "quality": float(rng.random() < 1 / (1 + np.exp(-z))),
                "judge": "gpt-4.1-2025-04-14" if name == "chat" else "exact",
                "input_tokens": 12,
                "output_tokens": int(rng.integers(50, 400)),
            }


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("histories")
    paths = folder / "exams.jsonl", folder / "chat.jsonl"
    for path, models, prompts in zip(paths, (EXAMS, CHAT), (480, 120), strict=True):
        rows = attempts(path.stem, models, prompts, seed=prompts)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def made(
    histories: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrainingResult]:
    some = read_requests()[::20]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "read_requests", lambda: some)
        out = tmp_path_factory.mktemp("out") / "bundle"
        yield fit(TrainingPlan(histories=histories, out=out, cache=None), QUIET)


def test_the_arms_are_todays_tiers_on_the_scale(made: TrainingResult) -> None:
    low, medium, high = made.manifest.arms
    assert [low.name, medium.name, high.name] == ["low", "medium", "high"]
    assert low.ability is not None
    assert medium.ability is not None
    assert high.ability is not None
    assert low.ability < medium.ability < high.ability
    assert "gpt-5-nano" in low.models


def test_models_of_the_histories_have_an_ability_from_their_own_attempts(
    made: TrainingResult,
) -> None:
    known = made.manifest.abilities
    assert known["llama-3.1-8b-instruct"].attempts == 600
    assert (
        known["llama-3.1-8b-instruct"].points
        < known["llama-3.3-70b-instruct"].points
        < known["gemini-2.5-pro"].points
    )


def test_annotated_requests_are_told_apart_from_measured_prompts(made: TrainingResult) -> None:
    evidence = made.manifest.evidence
    assert evidence is not None
    assert evidence.measured == 600
    assert evidence.annotated > 200


def test_a_model_with_many_attempts_has_strengths_of_its_own(made: TrainingResult) -> None:
    known = made.manifest.abilities
    assert known["gemini-1.5-flash-002"].strengths
    assert not known["gemini-2.5-pro"].strengths, "120 attempts are too few"
    bundle = load_bundle(made.out, ENCODERS)
    flash, query, contract = (
        model("gemini-1.5-flash-002"),
        *(bundle.score(f"exams 9999: write {TOPICS[topic]}, version 5") for topic in (3, 1)),
    )

    def p(score: Any) -> float:
        return p_of_model(flash, "medium", bundle.manifest, score)[0] or 0.0

    # Its tier is better at contracts than at SQL by far less than it is worse at them.
    lead = query.p_adequate["medium"] - contract.p_adequate["medium"]
    assert p(query) - p(contract) > lead + 0.1


def test_each_source_is_judged_by_a_fit_without_it(made: TrainingResult) -> None:
    found = made.report["unseen_sources"]
    assert list(found) == ["exams", "chat"]
    assert found["exams"]["models"]["high"] == "gemini-1.5-pro-002"
    for one in found.values():
        assert set(one["said"]) == set(one["real"]) == {"low", "medium", "high"}
        assert 0 <= one["worst_ece"] <= 1
        assert 0 < one["coverage_p90"] <= 1
        assert one["policy"]["quality"] <= 1
    card = (made.out / "model_card.md").read_text(encoding="utf-8")
    assert "## Unseen sources" in card
    assert "| exams | 480 |" in card


def test_strengths_that_the_graph_does_not_know_are_refused(
    made: TrainingResult, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(made.out, broken)
    path = broken / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["abilities"]["gemini-1.5-flash-002"]["strengths"] = [1.0]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(
        BadArtifact, match=r"flash-002\.strengths has 1 numbers, but .* tells 8 demands"
    ):
        load_bundle(broken, ENCODERS)
    assert read_manifest(made.out)[0].format_version == 4
