"""A search finds what a scorer falls for, and says the same again with the same seed."""

from __future__ import annotations

import random

from training.gadgets.search import Effort, search
from training.gadgets.units import (
    KINDS,
    PHRASES,
    Gadget,
    composed,
    pools,
    split_by_language,
)
from training.requests.request_set import read_requests

BLANK = Gadget("", "prefix", "\n\n", "words")
WORDS = ["theorem", "manifold", "tea", "dog"]


def falls_for_theorems(text: str) -> float:
    return min(text.count("theorem") / 4, 1.0)


def test_a_gadget_goes_before_or_after_a_prompt() -> None:
    assert Gadget("hard", "prefix", "\n\n", "words").on("easy") == "hard\n\neasy"
    assert Gadget("hard", "suffix", " ", "words").on("easy") == "easy hard"


def test_a_search_finds_the_unit_that_a_scorer_falls_for() -> None:
    found = search(falls_for_theorems, ["hi", "bye"], WORDS, BLANK, seed=1)
    assert falls_for_theorems(found.on("hi")) == 1.0
    assert set(found.text.split()) <= set(WORDS)
    assert search(falls_for_theorems, ["hi", "bye"], WORDS, BLANK, seed=1) == found


def test_a_search_stays_within_its_effort() -> None:
    asked: list[str] = []

    def count(text: str) -> float:
        asked.append(text)
        return falls_for_theorems(text)

    effort = Effort(most=2, steps=5, tries=3, batch=2)
    found = search(count, ["a", "b", "c"], WORDS, BLANK, seed=1, effort=effort)
    assert len(found.text.split()) <= 2
    assert len(asked) <= effort.steps * (effort.tries + 1) * effort.batch


def test_where_nothing_moves_the_scorer_there_is_no_gadget() -> None:
    assert search(lambda _: 0.5, ["hi"], WORDS, BLANK, seed=1).text == ""


def test_units_are_words_and_sentences_of_hard_requests_and_phrases() -> None:
    requests = read_requests()
    units = pools(requests)
    assert set(units) == set(KINDS)
    hard = "\n".join(request.prompt for request in requests if request.level >= 2.5)
    assert all(unit in hard for unit in units["words"][::500])
    assert all(20 <= len(unit) <= 160 for unit in units["sentences"])
    assert units["phrases"] == PHRASES
    parted = split_by_language(units)
    assert "東" not in "".join(parted[False]["words"])
    for kind in KINDS:
        assert len(parted[True][kind]) + len(parted[False][kind]) == len(units[kind])


def test_a_composed_prompt_begins_or_ends_with_the_prompt() -> None:
    units = pools(read_requests())
    parted, rng = split_by_language(units), random.Random(1)
    made = [composed("what time is it", units, parted, rng) for _ in range(50)]
    assert all(
        text.startswith("what time is it") or text.endswith("what time is it") for text in made
    )
    assert len(set(made)) == 50
