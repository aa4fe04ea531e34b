"""The ablation measures what it says: the same figures for every variant, on a small history."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from benchmarks.ablation import (
    LEVELLED,
    LOSS,
    draws,
    gathered,
    known_figures,
    source_figures,
    unseen_figures,
)
from benchmarks.ablation_fit import SHIPPED, Ablation
from tests.training.pooled_world import CHAT, EXAMS, attempts
from tests.training.worlds import world
from training.histories.history_files import SUFFIXES
from training.pipeline.unseen_sources import Source
from training.plan import TrainingPlan
from training.requests.request_set import read_requests
from training.scale import placement

SEED = 3


def source(n: int = 200) -> tuple[Source, np.ndarray]:
    """Prompts whose P(adequate) is known."""
    rows, truth = world(n, SEED)
    x = np.hstack([rows.embeddings, rows.features])
    return Source("world", rows.outcomes, x, sparse.csr_matrix((n, 1))), truth


def test_the_losses_are_those_that_a_hand_would_reckon() -> None:
    one, truth = source()
    said = {"truth": truth, "coin": np.full_like(truth, 0.5)}
    found = draws(one, said, SEED)
    adequate = one.test.adequate
    by_hand = -np.where(adequate, np.log(truth), np.log(1 - truth)).mean()
    assert found["truth"][LOSS][0] == pytest.approx(by_hand)
    assert found["coin"][LOSS][0] == pytest.approx(math.log(2))
    # At the right level a coin knows each arm's share, and nothing else.
    share = adequate.mean(axis=0)
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share)).mean()
    assert found["coin"][LEVELLED][0] == pytest.approx(entropy, rel=1e-6)
    assert found["truth"]["APGR"][0] > 0.55
    assert found["truth"]["worst ECE"][0] < found["coin"]["worst ECE"][0]
    assert len(found["truth"][LOSS]) == len(found["coin"][LOSS]) > 100


def test_a_variant_is_compared_with_the_shipped_one_on_the_same_resamples() -> None:
    one, truth = source()
    same = draws(one, {SHIPPED: truth, "without nothing": truth, "coin": truth * 0 + 0.5}, SEED)
    figures = list(source_figures("worlds", {"a": same, "b": same}))
    differences = {
        before.name.rpartition(": ")[2]: after
        for before, after in pairwise(figures)
        if after.name.startswith("· less") and f", {LOSS}," in before.name
    }
    assert set(differences) == {"without nothing", "coin"}
    assert differences["without nothing"].value == 0
    assert "[+0.0000, +0.0000]" in differences["without nothing"].name
    assert differences["coin"].value > 0


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    """Of two small histories and a few of the annotated requests."""
    folder = tmp_path_factory.mktemp("histories")
    paths = [folder / f"{name}{SUFFIXES[1]}" for name in ("exams", "chat")]
    for path, models, prompts in zip(paths, (EXAMS, CHAT), (400, 120), strict=True):
        rows = attempts(path.stem, models, prompts, seed=prompts)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    some = read_requests()[::40]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "read_requests", lambda: some)
        plan = TrainingPlan(histories=paths, out=Path(folder / "bundle"), cache=None)
        return Ablation.of(gathered(plan), plan.seed)


def test_every_variant_has_a_figure_of_every_kind(ablation: Ablation) -> None:
    for where, made in (
        ("unseen sources", unseen_figures(ablation)),
        ("held-out prompts", known_figures(ablation)),
    ):
        figures = list(made)
        for metric in (LOSS, LEVELLED, "worst ECE", "APGR"):
            measured = {
                one.name.rpartition(": ")[2]: one.value
                for one in figures
                if one.name.startswith(f"{where}, {metric}, ")
            }
            assert set(measured) == set(ablation.variants)
            assert all(math.isfinite(value) for value in measured.values())
        compared = sum(one.name.startswith(f"· less {SHIPPED}") for one in figures)
        assert compared >= 4 * (len(ablation.variants) - 1)
