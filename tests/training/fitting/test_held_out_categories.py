"""Categories held out: a router that only knows where prompts come from is found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.training.worlds import objects, world
from training.fitting.estimator import fit_pooled
from training.fitting.held_out_categories import category_folds, held_out_categories


def measured(rows: Any) -> Any:
    known = rows.outcomes
    x = np.hstack([rows.embeddings, rows.features])
    model = fit_pooled(
        x,
        known.adequate,
        known.judged,
        known.groups.tolist(),
        seed=1,
        dimensions=rows.embeddings.shape[1],
    )
    return held_out_categories(model, known, x, seed=1, counts=None)


def test_every_pair_has_a_figure_and_its_interval() -> None:
    rows, _ = world(1200)
    found = measured(rows)
    assert len(found) == 3
    for figures in found.values():
        low, high = figures["held_out_category_apgr_interval"]
        assert low < figures["held_out_category_apgr"] < high


def test_a_history_of_one_category_has_none() -> None:
    rows, _ = world(700)
    same = objects("all" for _ in range(len(rows)))
    assert measured(replace(rows, outcomes=replace(rows.outcomes, categories=same))) == {}


def test_categories_stay_together_and_are_dealt_evenly() -> None:
    names = objects(f"category {place % 12}" for place in range(600))
    fold = category_folds(names, 3)
    assert fold is not None
    assert len({(name, number) for name, number in zip(names, fold, strict=True)}) == 12
    assert np.bincount(fold).min() >= 100
    assert category_folds(objects(["one", "one"]), 3) is None
