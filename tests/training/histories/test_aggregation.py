"""Folding attempts into prompts: means do not depend on batches, and what is first is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from training.histories.aggregation import Means, aggregate_attempts
from training.histories.history import history_of
from training.histories.ladders import Ladder, parse_prices
from training.histories.outcome_table import ReadOptions, tabulate

values = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6))
attempts = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), values), min_size=1, max_size=40
)


@settings(max_examples=100)
@given(rows=attempts, cut=st.integers(1, 40))
def test_means_are_those_of_all_values_however_they_are_cut(
    rows: list[tuple[int, int, float]], cut: int
) -> None:
    frame = pd.DataFrame(rows, columns=["prompt", "arm", "value"])
    expected = np.full((4, 2), np.nan)
    for (prompt, arm), mean in frame.groupby(["prompt", "arm"])["value"].mean().items():
        expected[prompt, arm] = mean
    means = Means(2)
    for start in range(0, len(frame), cut):
        part = frame[start : start + cut]
        means.add(*(part[name].to_numpy() for name in ("prompt", "arm", "value")))
    np.testing.assert_array_equal(means.of(4), expected)


def test_a_prompt_with_thousands_of_attempts_is_one_row() -> None:
    means = Means(1)
    cells = np.zeros(20_000, dtype=np.intp)
    for _ in range(2):
        means.add(cells, cells, np.full(20_000, 0.1))
    np.testing.assert_array_equal(means.of(1), [[0.1]])


def test_prompts_come_in_the_order_of_their_first_attempt_with_what_was_told_first() -> None:
    rows = [
        {"prompt": "b", "model": "small", "quality": 1.0},
        {"prompt": "a", "model": "large", "category": "maths"},
        {"prompt": "b", "model": "large", "quality": 0.0, "category": "law", "language": "en"},
        {"prompt": "b", "model": "large", "quality": 1.0, "category": "other"},
    ]
    frame = history_of("made", rows).attempts
    for cut in (1, 4):
        batches = [frame[start : start + cut].reset_index(drop=True) for start in range(0, 4, cut)]
        found = aggregate_attempts(batches, {"small": 0, "large": 1}, 2)
        assert found.texts.tolist() == ["b", "a"]
        assert found.categories.tolist() == ["law", "maths"]
        assert found.languages.tolist() == ["en", ""]
        np.testing.assert_array_equal(found.present, [[True, True], [False, True]])
        np.testing.assert_array_equal(found.quality, [[1.0, 0.5], [np.nan, np.nan]])
        assert found.propensity is None


def test_nothing_gathers_to_nothing() -> None:
    found = aggregate_attempts([], {"small": 0, "large": 1}, 2)
    assert found.quality.shape == (0, 2)
    assert found.texts.shape == (0,)


def test_lengths_are_of_the_visible_answer_and_what_is_billed_is_the_whole_output() -> None:
    rows = [
        {"prompt": "a", "model": "thinker", "output_tokens": 1_500, "reasoning_tokens": 1_200},
        {"prompt": "a", "model": "thinker", "output_tokens": 700, "reasoning_tokens": 600},
        {"prompt": "b", "model": "thinker", "output_tokens": 80, "reasoning_tokens": 80},
        {"prompt": "c", "model": "thinker", "output_tokens": 90},
        {"prompt": "d", "model": "thinker", "reasoning_tokens": 5},
    ]
    found = aggregate_attempts([history_of("made", rows).attempts], {"thinker": 0}, 1)
    np.testing.assert_array_equal(found.answer_tokens[:, 0], [200, 0, 90, np.nan])
    np.testing.assert_array_equal(found.output_tokens[:, 0], [1_100, 80, 90, np.nan])


def test_an_attempt_without_a_cost_costs_its_hidden_reasoning_too() -> None:
    made = {"prompt": "a", "input_tokens": 10, "output_tokens": 1_000, "reasoning_tokens": 900}
    history = history_of("made", [{**made, "model": name, "quality": 1.0} for name in ("m", "n")])
    ladder = Ladder({"low": "m", "high": "n"}, 0.5, None, "")
    prices = parse_prices(["low=1,10", "high=2,20"])
    outcomes, _, _ = tabulate(history, ladder, ["low", "high"], ReadOptions(prices=prices))
    assert outcomes.output_tokens.tolist() == [[100, 100]]
    assert outcomes.cost_nanos.tolist() == [[10_010_000, 20_020_000]]
