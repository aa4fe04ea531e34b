"""The figures of a source that a fit did not see, on examples that can be counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from router.core.types import Importance, MissCosts
from training.evaluation.unseen_figures import (
    COVERED,
    UnseenPredictions,
    unseen_figures,
    unseen_notes,
    unseen_verdict,
)
from training.histories.outcomes import Outcomes

CHEAP, DEAR = 10_000, 1_000_000
"""Nano-dollars of a call."""


def outcomes(
    quality: list[tuple[float, float]], *, cost: tuple[int, int] = (CHEAP, DEAR)
) -> Outcomes:
    """Prompts with the qualities of the arms low and high; a third arm, medium, tried none of them."""
    n = len(quality)
    low, high = np.array(quality).T
    names = np.array([f"p{i}" for i in range(n)], dtype=object)
    return Outcomes(
        arms=("low", "medium", "high"),
        prompt_ids=names,
        texts=np.array(["x" * (i + 1) for i in range(n)], dtype=object),
        groups=names,
        categories=np.full(n, "", dtype=object),
        languages=np.full(n, "en", dtype=object),
        sources=np.full(n, "left out", dtype=object),
        thresholds=np.full(n, 0.5),
        quality=np.column_stack([low, np.full(n, np.nan), high]),
        cost_nanos=np.tile([cost[0], 0, cost[1]], (n, 1)).astype(np.int64),
        output_tokens=np.column_stack([np.full(n, 90.0), np.full(n, np.nan), np.full(n, 110.0)]),
        models=np.tile(np.array(["small", "", "large"], dtype=object), (n, 1)),
    )


def predictions(p: list[tuple[float, float]], complexity: list[float]) -> UnseenPredictions:
    low, high = np.array(p).T
    return UnseenPredictions(
        p_adequate=np.column_stack([low, (low + high) / 2, high]),
        complexity=np.array(complexity),
        lengths=np.full((len(p), 3), 100.0),
        nearest=np.zeros(len(p)),
    )


HARD_AND_EASY = [(1.0, 1.0), (0.0, 1.0)] * 20
SAID = [(0.9, 0.9), (0.1, 0.9)] * 20


def figures(said: list[tuple[float, float]] = SAID, complexity: float = 1.0) -> dict[str, Any]:
    test = outcomes(HARD_AND_EASY)
    return unseen_figures(test, predictions(said, [complexity] * len(said)), seed=1)


def test_arms_that_tried_nothing_are_left_out() -> None:
    found = figures()
    assert found["models"] == {"low": "small", "high": "large"}
    assert list(found["said"]) == ["low", "high"]
    assert found["prompts"] == 40


def test_what_is_said_stands_beside_what_was_real() -> None:
    found = figures()
    assert found["said"]["low"] == pytest.approx(0.5)
    assert found["real"] == {"low": 0.5, "high": 1.0}
    assert found["worst_ece"] == pytest.approx(0.1)


def test_prompts_that_need_the_strong_arm_come_first() -> None:
    found = figures()
    assert found["apgr"] > 0.7
    assert found["apgr_interval"][0] > 0.5
    assert found["length_apgr"] == pytest.approx(0.5, abs=0.1)


def test_lengths_are_covered_where_an_answer_is_no_longer_than_said() -> None:
    """100 tokens were said; the small model gave 90, the large one 110."""
    assert figures()["coverage_p90"] == 0.5


def test_the_policy_takes_the_strong_arm_where_the_risk_is_worth_its_price() -> None:
    found = figures()["policy"]
    assert found["quality"] == 1.0
    assert found["cost_usd"] == pytest.approx((CHEAP + DEAR) / 2 / 1e9)
    # Half of the prompts at random to the strong arm would cost as much and get 3 of 4 right.
    assert found["constant_quality"] == pytest.approx(0.75)
    assert found["gain"] == pytest.approx(0.25)
    assert found["saved"] == pytest.approx(1 - (CHEAP + DEAR) / 2 / DEAR)
    assert found["lost"] == 0.0


def test_where_little_is_at_stake_the_policy_takes_the_cheap_arm() -> None:
    """The price is .00099 USD higher, the risk of the hard prompts .8 of what is at stake."""
    medium = MissCosts().of(Importance.MEDIUM).nanos
    worth = (DEAR - CHEAP) / 0.8 / medium
    assert figures(complexity=worth * 0.99)["policy"]["quality"] == 0.5
    assert figures(complexity=worth * 1.01)["policy"]["quality"] == 1.0


def test_without_costs_nothing_is_said_of_the_policy() -> None:
    test = outcomes(HARD_AND_EASY, cost=(0, DEAR))
    assert unseen_figures(test, predictions(SAID, [1.0] * 40), seed=1)["policy"] is None


@pytest.mark.parametrize(
    ("share", "named"), [(COVERED[0] - 0.001, True), (COVERED[0], False), (None, False)]
)
def test_a_source_whose_lengths_are_not_covered_is_named(share: float | None, named: bool) -> None:
    notes = unseen_notes({"chat": {"coverage_p90": share}, "exam": {"coverage_p90": 0.99}})
    assert bool(notes) == named
    assert all("chat" in note and "exam" not in note for note in notes)


def test_the_figures_are_said_in_plain_sentences_with_their_goals() -> None:
    good = {
        "apgr_interval": [0.51, 0.7], "said": {"low": 0.5}, "real": {"low": 0.4}, "coverage_p90": 0.9,
        "policy": {"gain": -0.005},
    }  # fmt: skip
    bad = {
        "apgr_interval": [0.4, 0.6], "said": {"low": 0.2}, "real": {"low": 0.5}, "coverage_p90": 0.96,
        "policy": {"gain": -0.0051},
    }  # fmt: skip
    said = unseen_verdict({"one": good, "other": bad, "third": {**bad, "policy": None}})
    assert "better order than by chance on 1 of 3 sources" in said
    assert "0.23 off in the mean and 0.30 at worst" in said
    assert "covers .85 to .95 of the answers on 1 of 3" in said
    assert "at most 0.005 worse than constant choices at equal cost on 1 of 2" in said
