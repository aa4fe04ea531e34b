"""The split: deterministic, by prompt group, and remembered in the bundle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.errors import BadArtifact
from training.histories.split import SEED, folds, group_of, held_out, pack_seen, seen_prompts

texts = st.lists(st.text(max_size=12), min_size=2, max_size=40)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello  World", "hello world\n"),
        ("Ａｂｃ", "abc"),
        ("STRASSE", "straße"),
        ("ﾃｽﾄ", "テスト"),
    ],
)
def test_prompts_that_differ_in_form_only_are_one_group(one: str, other: str) -> None:
    assert group_of(one) == group_of(other)


def test_other_words_are_another_group() -> None:
    assert group_of("What is 2 + 2?") != group_of("What is 2 + 3?")


@given(texts=texts, seed=st.integers(0, 2**31 - 1))
def test_a_group_never_straddles_the_split(texts: list[str], seed: int) -> None:
    groups = [group_of(text) for text in [*texts, *(text.upper() for text in texts)]]
    aside = held_out(groups, seed=seed, share=0.5)
    fold = folds(groups, count=3, seed=seed)
    for group in set(groups):
        rows = [i for i, other in enumerate(groups) if other == group]
        assert len(set(aside[rows])) == 1
        assert len(set(fold[rows])) == 1


@given(texts=texts)
def test_more_rows_move_no_other_prompt(texts: list[str]) -> None:
    groups = [group_of(text) for text in texts]
    first = held_out(groups, seed=SEED, share=0.3)
    np.testing.assert_array_equal(held_out([*groups, "new"], seed=SEED, share=0.3)[:-1], first)


def test_the_share_is_kept_and_the_seed_matters() -> None:
    groups = [str(i) for i in range(5000)]
    one, other = held_out(groups, seed=1, share=0.2), held_out(groups, seed=2, share=0.2)
    assert one.mean() == pytest.approx(0.2, abs=0.02)
    assert (one != other).any()


def test_folds_are_even() -> None:
    fold = folds([str(i) for i in range(103)], count=5, seed=1)
    assert np.bincount(fold).tolist() == [21, 21, 21, 20, 20]


def test_a_bundle_knows_what_it_was_trained_on() -> None:
    groups = [group_of(f"prompt {i}") for i in range(300)]
    content = pack_seen(groups[:200], seed=SEED)
    assert len(content) == 800
    assert seen_prompts(groups, content, seed=SEED).tolist() == [True] * 200 + [False] * 100
    assert not seen_prompts(groups, content, seed=SEED + 1).any()


def test_damaged_fingerprints_are_refused() -> None:
    with pytest.raises(BadArtifact, match="damaged"):
        seen_prompts(["a"], b"12345", seed=1)
