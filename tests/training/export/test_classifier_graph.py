"""The graph computes what was fitted, and a bundle is written whole or not at all."""

from __future__ import annotations

import dataclasses
import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.classifier.encoder import session
from router.classifier.manifest import Arm, BundleManifest, EncoderReference, HistorySource, Split
from router.core.errors import BadArtifact
from router.files import sha256_of
from tests.training.worlds import answered
from training.export.bundle_files import write_bundle
from training.export.classifier_graph import (
    check_graph,
    classifier_graph,
    label_distribution,
)
from training.fitting.estimator import Hyperparameters, PooledLogistic, Words, fit_pooled
from training.fitting.lengths import LengthModel, fit_lengths
from training.fitting.locations import Locations
from training.fitting.ngrams import BUCKETS, half_precision, ngram_counts
from training.fitting.stacking import Stack

D, F, K = 5, 3, 3


def model(seed: int = 0, *, words: bool = False) -> PooledLogistic:
    rng = np.random.default_rng(seed)
    return PooledLogistic(
        heads=("vector",),
        weights=rng.normal(size=(D + F, K)),
        bias=rng.normal(size=K),
        words=said(rng) if words else None,
        trees=None,
        dimensions=D,
        chosen=(Hyperparameters(0.01, 4),),
        stack=Stack(np.ones((K, 1)), np.zeros(K)),
        log_loss=({},),
        out_of_fold=np.zeros((0, K)),
    )


def said(rng: Any) -> Words:
    inverse = (1 + 9 * rng.random(BUCKETS)) * (rng.random(BUCKETS) < 0.9)
    inverse = inverse.astype(np.float16).astype(np.float32)
    return Words(half_precision(rng.normal(size=(BUCKETS, K)) * inverse[:, None]), inverse)


KNOWN = np.array([True, False, True])


def constant(p: int) -> LengthModel:
    """Lengths that do not depend on the ``p`` inputs."""
    return LengthModel(
        locations=Locations(np.zeros((p, K)), np.zeros(K)),
        dimensions=D,
        forests=(),
        base=np.array([0.0] * K + [1.0] * K),
        spread_bounds=np.ones((K, 2)),
        offsets=np.log([[10.0, 20, 30], [1, 1, 1], [100, 2000, 30000]]),
        top=np.log([60.0, 1, 60000]),
        known=KNOWN,
    )


CONSTANT = constant(D + F)


@functools.cache
def learnt(*, words: bool = False) -> LengthModel:
    """Lengths that depend on everything they can depend on; of the middle arm nothing is known."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(600, D + F)).astype(np.float32)
    ids = rng.integers(0, 40, (600, 8)).tolist()
    logs = 5 + x[:, :1] + np.abs(x[:, -1:]) + rng.normal(size=(600, K)) * 0.3
    if words:
        logs += np.array([7 in one for one in ids])[:, None] * 2.0
    tokens = np.where(KNOWN, np.exp(logs).round() + 1, np.nan)
    counts = ngram_counts(ids) if words else None
    made = fit_lengths(x, answered(tokens), seed=1, dimensions=D, counts=counts)
    assert len(made.forests) == 4
    assert (made.locations.words is not None) == words
    return made


def hearing(words: Words | None) -> LengthModel:
    """The same, with the words read as a fit of P(adequate) reads them: a graph counts them once."""
    assert words is not None
    lengths = learnt(words=True)
    assert lengths.locations.words is not None
    table = lengths.locations.words * (words.inverse > 0)[:, None]
    locations = dataclasses.replace(lengths.locations, words=table, inverse=words.inverse)
    return dataclasses.replace(lengths, locations=locations)


def rows(n: int = 40) -> tuple[Any, Any]:
    rng = np.random.default_rng(9)
    return rng.normal(size=(n, D)).astype(np.float32), rng.normal(size=(n, F)).astype(np.float32)


shapes = st.tuples(st.integers(1, 4), st.integers(2, 5))
probabilities = arrays(np.float64, shapes, elements=st.floats(0, 1))


@given(p=probabilities)
def test_labels_are_the_differences_of_the_running_maximum(p: Any) -> None:
    labels = label_distribution(p)
    np.testing.assert_allclose(labels.sum(axis=1), 1)
    assert (labels >= 0).all()
    np.testing.assert_allclose(labels.cumsum(axis=1)[:, :-1], np.maximum.accumulate(p, axis=1))


def test_an_arm_no_better_than_a_cheaper_one_is_never_the_label() -> None:
    np.testing.assert_allclose(
        label_distribution(np.array([[0.5, 0.4, 0.7]])), [[0.5, 0, 0.2, 0.3]]
    )


def test_the_graph_computes_what_was_fitted() -> None:
    embeddings, features = rows()
    graph = classifier_graph(model(), learnt(), D)
    assert check_graph(graph, model(), learnt(), embeddings, features) <= 1e-5
    names = ["label_distribution", "p_adequate", "output_tokens"]
    found = session(graph).run(names, {"embedding": embeddings, "features": features})
    assert [value.shape for value in found] == [(40, K + 1), (40, K), (40, K, 3)]
    assert (found[2][:, 1] == 1).all()  # an arm of which nothing is known
    assert found[2][:, 0].std() > 50
    assert all(value.dtype == np.float32 for value in found)
    np.testing.assert_allclose(found[0].sum(axis=1), 1, atol=1e-6)


LONG = np.random.default_rng(1).integers(0, 250_000, (36, 300)).tolist()
IDS = [[], [5], [5, 5, 5, 5], [101, 7, 102], *LONG]


def test_the_graph_reads_words_as_the_fit_does() -> None:
    embeddings, features = rows()
    fit = model(words=True)
    lengths = hearing(fit.words)
    graph = classifier_graph(fit, lengths, D)
    assert check_graph(graph, fit, lengths, embeddings, features, IDS) <= 1e-5
    silent = fit.p_adequate(np.hstack([embeddings, features]))
    heard = fit.p_adequate(np.hstack([embeddings, features]), ngram_counts(IDS))
    assert np.abs(silent - heard)[4:].max() > 0.01


def test_words_are_read_where_no_length_depends_on_the_prompt() -> None:
    embeddings, features = rows()
    fit = model(words=True)
    graph = classifier_graph(fit, CONSTANT, D)
    assert check_graph(graph, fit, CONSTANT, embeddings, features, IDS) <= 1e-5


def test_lengths_that_read_no_words_take_no_room_in_the_table() -> None:
    """Nor does that change a bit of what is computed: the same with columns of zeros for them."""
    embeddings, features = rows()
    fit = model(words=True)
    assert fit.words is not None
    inverse = fit.words.inverse
    blank = dataclasses.replace(learnt().locations, words=np.zeros((BUCKETS, K)), inverse=inverse)
    narrow = classifier_graph(fit, learnt(), D)
    wide = classifier_graph(fit, dataclasses.replace(learnt(), locations=blank), D)
    half = np.dtype(np.float16).itemsize
    assert len(wide) - len(narrow) == pytest.approx(BUCKETS * K * half, abs=200)
    for row, ids in enumerate(IDS):
        given = {
            "embedding": embeddings[row : row + 1],
            "features": features[row : row + 1],
            "token_ids": np.asarray(ids, dtype=np.int64),
        }
        for one, other in zip(
            session(narrow).run(None, given), session(wide).run(None, given), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def everything() -> tuple[PooledLogistic, Any, Any, Any]:
    """A fit with all heads, and the prompts that it was fitted on."""
    rng = np.random.default_rng(3)
    n = 700
    features = rng.normal(size=(n, F)).astype(np.float32).round(1)
    vectors = np.vstack([rng.normal(size=D) + np.eye(D)[i % D] * 4 for i in range(n)])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    ids = [rng.integers(0, 50, 12).tolist() for _ in range(n)]
    hard = (features[:, 0] > 0) & (features[:, 1] > 0)
    local = 2.0 * (np.arange(n) % D)[:, None] / D - 1
    logits = local * np.array([1.0, 0.7, 0.5]) - 2.0 * hard[:, None] + np.array([-0.5, 0.5, 1.5])
    adequate = rng.random((n, K)) < 1 / (1 + np.exp(-logits))
    fit = fit_pooled(
        np.hstack([vectors, features]),
        adequate,
        rng.random((n, K)) < 0.8,
        [str(i) for i in range(n)],
        seed=1,
        counts=ngram_counts(ids),
        dimensions=D,
    )
    return fit, vectors, features, ids


def test_the_graph_asks_the_trees_as_the_fit_does() -> None:
    fit, vectors, features, ids = everything()
    assert fit.heads == ("vector", "words", "trees")
    assert fit.share("trees").min() > 0
    lengths = hearing(fit.words)
    graph = classifier_graph(fit, lengths, D)
    assert check_graph(graph, fit, lengths, vectors[:300], features[:300], ids[:300]) <= 1e-5
    # A prompt unlike all others, and one that the encoder knows nothing of.
    strange = np.vstack([np.full(D, 9.0), np.zeros(D)]).astype(np.float32)
    assert check_graph(graph, fit, lengths, strange, features[:2], [[], [4]]) <= 1e-5


def test_the_graph_speaks_with_the_voices_of_tiers_and_above_their_floors() -> None:
    """Forests that several arms share, each with a factor of its own, and features that name a length."""
    shared = learnt()
    forests = [one for one in shared.forests if one.target % K == 0]
    spoken = dataclasses.replace(
        shared,
        forests=tuple(
            dataclasses.replace(one, target=one.target + arm, scale=1.0 + 0.2 * arm)
            for one in forests
            for arm in range(K)
        ),
        spread_bounds=np.tile(shared.spread_bounds[:1], (K, 1)),
        offsets=np.tile([0.0, 1, 2], (K, 1)),
        top=np.full(K, 9.0),
        floors=((0, (5.5, 6.0, 6.5)), (1, (5.0, 6.2, 6.3))),
    )
    embeddings, features = rows()
    graph = classifier_graph(model(), spoken, D)
    assert check_graph(graph, model(), spoken, embeddings, features) <= 1e-5
    least = np.exp(features[:, :2] + [5.5, 5.0]).max(axis=1)
    x = np.hstack([embeddings, features])
    found = dataclasses.replace(spoken, known=np.ones(K, dtype=bool)).of(x)[:, :, 0]
    assert (found >= 0.999 * least[:, None]).all()
    assert (np.isclose(found, least[:, None])).any()


def test_lengths_that_do_not_depend_on_the_prompt_are_the_quantiles_given() -> None:
    embeddings, features = rows(3)
    graph = classifier_graph(model(), CONSTANT, D)
    (found,) = session(graph).run(
        ["output_tokens"], {"embedding": embeddings, "features": features}
    )
    expected = [[10, 20, 30], [1, 1, 1], [100, 2000, 30000]]
    np.testing.assert_allclose(found[2], expected, rtol=1e-4)


def test_the_graph_needs_standard_operators_only() -> None:
    import onnx

    fit = model(words=True)
    made = onnx.load_from_string(classifier_graph(fit, CONSTANT, D))
    assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", 17)]
    grown = everything()[0]
    made = onnx.load_from_string(classifier_graph(grown, hearing(grown.words), D))
    assert {entry.domain for entry in made.opset_import} == {"", "ai.onnx.ml"}


def test_a_graph_that_differs_from_the_fit_is_refused() -> None:
    embeddings, features = rows()
    other = classifier_graph(model(seed=1), CONSTANT, D)
    with pytest.raises(BadArtifact, match="does not compute what was fitted"):
        check_graph(other, model(), CONSTANT, embeddings, features)
    longer = dataclasses.replace(CONSTANT, offsets=CONSTANT.offsets + 0.1)
    with pytest.raises(BadArtifact, match="does not compute what was fitted"):
        check_graph(classifier_graph(model(), longer, D), model(), CONSTANT, embeddings, features)


# --- Writing -----------------------------------------------------------------------------------


def manifest() -> BundleManifest:
    arm = {"models": ["m"], "reference_price": None, "attempts": 1, "adequate_share": 0.5}
    return BundleManifest(
        format_version=1,
        name="test",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        demonstration=True,
        arms=[Arm(name=name, tier=name, has_lengths=True, **arm) for name in ("low", "high")],  # type: ignore[arg-type]
        encoder=EncoderReference(name="static", sha256="0" * 64, dimensions=D),
        features=["f"] * F,
        adequacy_threshold=0.5,
        histories=[HistorySource(name="h", sha256="0" * 64, prompts=1, attempts=1, adequacy_threshold=0.5)],
        training_data_sha256="0" * 64,
        split=Split(seed=1, holdout=0.2),
        languages={"en": 1},
        mlflow_run_id=None,
        metrics={},
        files={},
    )  # fmt: skip


def test_the_manifest_names_and_hashes_every_file(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "b", manifest(), {"a.bin": b"1", "b.md": b"2"})
    assert written.files == {"a.bin": sha256_of(b"1"), "b.md": sha256_of(b"2")}
    read = BundleManifest.model_validate_json((tmp_path / "b" / "manifest.json").read_text())
    assert read == written


def test_an_older_bundle_is_replaced_whole(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", manifest(), {"old.bin": b"1"})
    write_bundle(tmp_path / "b", manifest(), {"new.bin": b"2"})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "manifest.json", "new.bin"]


def test_what_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadArtifact, match="exists and is no bundle"):
        write_bundle(tmp_path, manifest(), {"a.bin": b"1"})
    with pytest.raises(BadArtifact, match="exists and is no bundle"):
        write_bundle(tmp_path / "thesis.txt", manifest(), {"a.bin": b"1"})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_write_that_fails_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", manifest(), {"a.bin": b"old"})
    with pytest.raises(BadArtifact, match="cannot be written"):
        write_bundle(tmp_path / "b", manifest(), {"a.bin": b"new", "no/such/place": b""})
    assert (tmp_path / "b" / "a.bin").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
