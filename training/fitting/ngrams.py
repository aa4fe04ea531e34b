"""A bag of token n-grams: which words, pairs and triples of words a prompt holds, as hashed counts.

Token ids and neighbouring pairs and triples are hashed into :data:`BUCKETS` places by integer arithmetic
that the ONNX graph repeats operator by operator (:mod:`training.export.classifier_graph`). A place counts
``1 + log(occurrences)`` times its inverse document frequency, and a row has unit length: TF-IDF (Salton &
Buckley 1988) on hashed features (Weinberger et al. 2009).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

__all__ = [
    "BUCKETS",
    "EDGE",
    "FACTORS",
    "MODULUS",
    "half_precision",
    "inverse_frequency",
    "ngram_counts",
    "ngram_logits",
    "ngram_places",
    "tf_idf",
]

BUCKETS = 2**17
MODULUS = 2**31 - 1
"""A prime: products of ids and factors are taken modulo it before they are folded into the buckets."""
FACTORS = (
    ((0,), (1_640_531_527,)),
    ((0, 1), (1_103_515_245, 1_220_703_125)),
    ((0, 1, 2), (1_220_703_125, 1_664_525, 1_103_515_245)),
)
"""For each kind of n-gram: offsets of its tokens, and the factors they are multiplied with. Triples
are included because on MMLU-Pro they add .014 to the APGR between its two strongest arms."""
EDGE = 0
"""The id put before the first and after the last token, so that n-grams know beginning and end."""
MIN_DOCUMENTS = 2
"""Fewest training prompts with a place for it to get a weight."""


def ngram_places(ids: Sequence[int]) -> npt.NDArray[np.int64]:
    """The places of all n-grams of a text, with repetitions, in 0 … BUCKETS − 1.

    Args:
        ids: ``t`` token ids, 0 ≤ id < 2^30.

    Returns:
        int64 ``(3 t + 3,)``: single tokens, pairs, triples, edges included.
    """
    tokens = np.asarray([EDGE, *ids, EDGE], dtype=np.int64)
    places = []
    for offsets, factors in FACTORS:
        count = len(tokens) - offsets[-1]
        terms = [tokens[o : o + count] * f for o, f in zip(offsets, factors, strict=True)]
        places.append(sum(terms) % MODULUS % BUCKETS)
    return np.concatenate(places)


def ngram_counts(token_ids: Sequence[Sequence[int]]) -> sparse.csr_matrix:
    """Damped counts of ``n`` prompts, float32 ``(n, BUCKETS)``: ``1 + log(occurrences)`` where any."""
    columns, values, ends = [], [], [0]
    for ids in token_ids:
        places, counts = np.unique(ngram_places(ids), return_counts=True)
        columns.append(places.astype(np.int32))
        values.append(1.0 + np.log(counts.astype(np.float32)))
        ends.append(ends[-1] + len(places))
    if not columns:
        return sparse.csr_matrix((0, BUCKETS), dtype=np.float32)
    return sparse.csr_matrix(
        (np.concatenate(values).astype(np.float32), np.concatenate(columns), np.asarray(ends)),
        shape=(len(token_ids), BUCKETS),
    )


def inverse_frequency(counts: sparse.csr_matrix) -> npt.NDArray[np.float32]:
    """Inverse document frequency of each place over the training rows, float32 ``(BUCKETS,)``, ≥ 0.

    ``log((1 + n) / (1 + documents)) + 1``; 0 for places of fewer than :data:`MIN_DOCUMENTS` documents.
    """
    documents = np.bincount(counts.indices, minlength=counts.shape[1])
    values = np.log((1 + counts.shape[0]) / (1 + documents)) + 1
    # As the graph keeps it: in half precision.
    return np.where(documents >= MIN_DOCUMENTS, values, 0.0).astype(np.float16).astype(np.float32)


def half_precision(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights as the graph keeps them, in half precision, so that the fit and the graph are the same."""
    return table.astype(np.float16).astype(np.float64)


def tf_idf(counts: sparse.csr_matrix, inverse: npt.NDArray[np.float32]) -> sparse.csr_matrix:
    """Rows of unit length: counts times inverse frequency; a row that holds nothing known is all 0."""
    weighted = counts.copy()
    weighted.data = weighted.data * inverse[weighted.indices]
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    weighted.data *= np.repeat(scale, np.diff(weighted.indptr)).astype(np.float32)
    return weighted


def ngram_logits(
    counts: sparse.csr_matrix,
    inverse: npt.NDArray[np.float32],
    table: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """What the words of ``n`` prompts add, float64 ``(n, c)``, as the graph computes it.

    Args:
        counts: of :func:`ngram_counts`.
        inverse: float32 ``(BUCKETS,)`` of :func:`inverse_frequency`.
        table: float64 ``(BUCKETS, c)``, weights with the inverse frequency in them.
    """
    safe = np.where(inverse > 0, inverse, 1.0)
    return np.asarray(tf_idf(counts, inverse) @ (table / safe[:, None]))
