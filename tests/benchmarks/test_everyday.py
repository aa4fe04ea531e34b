"""The examinations stay unseen by training, and the figures are those that a hand would reckon."""

from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pytest

from benchmarks.everyday import (
    EXAMINATIONS,
    LOOKED_AT,
    choices,
    keyword_score,
    mixture_price,
    order_agreement,
    read_examinations,
)
from router.classifier.bundle import load_bundle
from router.paths import ENCODERS, MODELS
from router.rpc.assembly import build_router
from router.settings import Settings
from training.evaluation.metrics import unit_counts
from training.histories.split import SEEN_FILE, group_of, seen_prompts
from training.requests.request_set import history_annotations, prompt_key, read_requests

EXAM = read_examinations()


def key(text: str) -> str:
    """A hash of the letters and digits: signs and emoji tell nothing apart, and a failure shows no prompt."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return prompt_key("".join(sign for sign in plain if sign.isalnum()))


def test_a_set_has_prompts_of_every_level_in_both_languages() -> None:
    assert set(EXAM.sets) == {path.stem for path in EXAMINATIONS.glob("*.jsonl")} >= {*LOOKED_AT}
    counts = Counter(zip(EXAM.sets, EXAM.languages, EXAM.levels, strict=True))
    for name in set(EXAM.sets):
        for level in range(4):
            assert counts[name, "en", level] >= 15
            assert counts[name, "ja", level] >= 7


def test_no_prompt_stands_there_twice() -> None:
    assert [one for one, count in Counter(map(key, EXAM.texts)).items() if count > 1] == []


def test_no_prompt_is_among_the_annotated_requests() -> None:
    assert {*map(key, EXAM.texts)} & {key(request.prompt) for request in read_requests()} == set()


def test_no_prompt_is_among_the_annotated_prompts_of_histories() -> None:
    assert {prompt_key(text) for text in EXAM.texts} & set(history_annotations()) == set()


@pytest.mark.parametrize("name", ["static", "multilingual"])
def test_no_shipped_bundle_was_trained_on_a_prompt(name: str) -> None:
    directory = MODELS / "bundles" / name
    seed = load_bundle(directory, ENCODERS).manifest.split.seed
    seen = seen_prompts(
        [*map(group_of, EXAM.texts)], (directory / SEEN_FILE).read_bytes(), seed=seed
    )
    assert not seen.any()


@pytest.mark.parametrize(
    ("score", "share"),
    [
        ([0.0, 0.2, 0.5, 0.9], 1.0),
        ([0.9, 0.9, 0.2, 0.0], 0.0),
        ([0.4, 0.4, 0.4, 0.4], 0.5),
        # Of the five pairs of different levels only the last two are in the wrong order.
        ([0.1, 0.3, 0.4, 0.2], 3 / 5),
    ],
)
def test_order_agreement_counts_pairs_of_different_levels(score: list[float], share: float) -> None:
    levels = np.array([0, 0, 1, 3])
    agreement = order_agreement(levels, np.array(score))
    # Levels 0 and 0 are no pair: five pairs are left.
    assert agreement(unit_counts(4)) == pytest.approx([share])


def test_a_prompt_that_is_drawn_twice_counts_twice() -> None:
    agreement = order_agreement(np.array([0, 1, 2]), np.array([0.5, 0.1, 0.9]))
    # Pairs: 0–1 wrong, 0–2 right, 1–2 right; the last prompt is drawn twice.
    assert agreement(np.array([[1.0], [1.0], [2.0]])) == pytest.approx([4 / 5])


@pytest.mark.parametrize(
    ("wanted", "price"),
    [
        (0.5, 1.0),  # always low is more than adequate
        (0.6, 1.0),
        (0.75, 2.5),  # half of the prompts low, half medium
        (0.95, 7.0),  # half medium, half high; low with high would be 8.875
        (0.99, 10.0),  # nothing reaches it: always high
    ],
)
def test_the_cheapest_mixture_of_tiers(wanted: float, price: float) -> None:
    prices = np.array([[1.0], [4.0], [10.0]])
    adequacy = (
        np.array([[0.6], [0.9], [1.0]]) if wanted < 0.99 else np.array([[0.6], [0.9], [0.98]])
    )
    assert mixture_price(prices, adequacy, np.array([wanted])) == pytest.approx([price])


def test_a_tier_that_is_dearer_and_no_better_is_left_out() -> None:
    prices, adequacy = np.array([[1.0], [4.0], [10.0]]), np.array([[0.6], [0.5], [1.0]])
    assert mixture_price(prices, adequacy, np.array([0.8])) == pytest.approx([5.5])


def test_keywords_of_code_and_reasoning_raise_the_score_and_simple_ones_lower_it() -> None:
    assert keyword_score("Prove it") > keyword_score("Tell it")
    assert keyword_score("この関数を実装") > keyword_score("この手紙を書く")
    assert keyword_score("What is this") < keyword_score("Bring us this")


@pytest.mark.parametrize("prompt", ["Thanks, have a nice day!", "Prove that √2 is irrational."])
def test_the_policy_takes_in_its_tier_what_it_takes_at_all(prompt: str) -> None:
    router = build_router(Settings(bundle=MODELS / "bundles" / "static"))
    complexity, chosen, within = choices(router, prompt)
    assert 0 <= complexity <= 1
    assert [one.model.tier for one in within] == list(router.catalog.tiers)
    assert chosen.model.id in [one.model.id for one in within]
