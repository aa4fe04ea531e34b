"""The bag of token n-grams."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.fitting.ngrams import BUCKETS, inverse_frequency, ngram_counts, ngram_places, tf_idf

IDS = st.lists(st.integers(0, 250_000), max_size=40)


@given(IDS)
def test_every_token_pair_and_triple_has_a_place(ids: list[int]) -> None:
    places = ngram_places(ids)
    assert len(places) == 3 * len(ids) + 3  # the edges are tokens too
    assert ((places >= 0) & (places < BUCKETS)).all()


def test_order_matters_to_pairs_and_not_to_single_tokens() -> None:
    one, other = ngram_places([3, 4, 5]), ngram_places([5, 4, 3])
    assert sorted(one[:5]) == sorted(other[:5])  # with the edges
    assert sorted(one[5:]) != sorted(other[5:])


def test_repetitions_count_less_and_less() -> None:
    counts = ngram_counts([[9, 9, 9, 9]])
    assert counts.max() == np.float32(1 + np.log(4))


def test_what_one_prompt_alone_holds_says_nothing_and_rare_words_weigh_more() -> None:
    counts = ngram_counts([[1, 50], [1, 50], [1, 60], [1, 70]])
    inverse = inverse_frequency(counts)
    common, rarer, once = (inverse[ngram_places([token])[1]] for token in (1, 50, 60))
    assert once == 0
    assert 0 < common < rarer


@given(st.lists(IDS, min_size=1, max_size=6))
def test_rows_have_unit_length_or_are_empty(prompts: list[list[int]]) -> None:
    counts = ngram_counts(prompts)
    rows = tf_idf(counts, np.ones(BUCKETS, dtype=np.float32))
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    assert not tf_idf(counts, np.zeros(BUCKETS, dtype=np.float32)).data.any()
