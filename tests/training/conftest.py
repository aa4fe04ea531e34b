"""A bundle of two small histories, made once for all tests that need a scale of ability."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.pooled_world import CHAT, EXAMS, attempts
from training.pipeline.training_run import TrainingResult, fit
from training.plan import TrainingPlan
from training.requests.request_set import read_requests
from training.scale import placement


@pytest.fixture(scope="session")
def pooled_histories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """``exams`` and ``chat``."""
    folder = tmp_path_factory.mktemp("histories")
    paths = folder / "exams.jsonl", folder / "chat.jsonl"
    for path, models, prompts in zip(paths, (EXAMS, CHAT), (480, 120), strict=True):
        rows = attempts(path.stem, models, prompts, seed=prompts)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return paths


@pytest.fixture(scope="session")
def pooled(
    pooled_histories: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> TrainingResult:
    """The bundle of both, with some of the annotated requests."""
    some = read_requests()[::20]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "read_requests", lambda: some)
        out = tmp_path_factory.mktemp("out") / "bundle"
        return fit(
            TrainingPlan(histories=pooled_histories, out=out, cache=None), Console(quiet=True)
        )
