"""The gadgets that were found are sound, and the figures are those that a hand would reckon."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.everyday import LOOKED_AT, read_examinations
from benchmarks.gadgets import AGAINST, by_hand, easy_prompts, read_gadgets, upgrade_figures
from training.gadgets.units import KINDS, PLACES

EXAM = read_examinations()


@pytest.mark.parametrize("bundle", ["static", "multilingual"])
@pytest.mark.parametrize("against", AGAINST)
def test_for_every_bundle_there_is_a_gadget_of_each_kind_in_each_place(
    bundle: str, against: str
) -> None:
    found = read_gadgets(bundle, against)
    assert {(one.kind, one.place) for one in found} == {(k, p) for k in KINDS for p in PLACES}
    assert all(one.text.strip() for one in found)
    assert all(one.on("hi") != "hi" for one in found)


def test_nothing_is_searched_for_against_an_unknown_bundle() -> None:
    assert read_gadgets("unknown", "open") == []


def test_gadgets_are_searched_for_on_other_prompts_than_they_are_measured_on() -> None:
    searched = set(easy_prompts(EXAM, looked_at=True))
    measured = set(easy_prompts(EXAM, looked_at=False))
    assert searched.isdisjoint(measured)
    levels = dict(zip(EXAM.texts, EXAM.levels, strict=True))
    sets = dict(zip(EXAM.texts, EXAM.sets, strict=True))
    assert {levels[text] for text in searched | measured} == {0, 1}
    assert {sets[text] for text in searched} == set(LOOKED_AT)


class Fixed:
    """Tiers by the length of a text: a router that is easily moved, or never."""

    def __init__(self, *, moves: bool) -> None:
        self._moves = moves

    def of(self, text: str) -> int:
        return int(self._moves and len(text) > 10)

    def upgraded(self, prompts: list[str], gadgets: list[object], honest: Fixed) -> object:
        return np.array(
            [
                np.mean([self.of(one.on(text)) > honest.of(text) for one in gadgets])  # type: ignore[attr-defined]
                for text in prompts
            ]
        )


def test_the_share_that_is_left_is_that_of_upgrades_with_and_without_the_guard() -> None:
    prompts = ["a", "b", "a prompt that is longer"]
    open_, guarded = Fixed(moves=True), Fixed(moves=False)
    figures = list(upgrade_figures("x", prompts, by_hand()[:1], open_, guarded))  # type: ignore[arg-type]
    assert [round(one.value, 3) for one in figures] == [0.0, 0.667, 0.0]
    assert [one.holds for one in figures] == [None, None, True]
