"""One more arm in the graph of the shipped bundle."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest

from router.classifier.bundle import load_bundle
from router.classifier.encoder import session
from router.classifier.features.lexical import FEATURES
from router.classifier.manifest import CLASSIFIER
from router.core.errors import BadArtifact
from router.paths import DEFAULT_BUNDLE, ENCODERS
from training.arrivals.arm_posterior import ArmPosterior
from training.arrivals.graph_extension import ArmExtension, check_extended_graph, extended_graph
from training.arrivals.length_transfer import TIER_LENGTHS, LengthTransfer
from training.encoders.embedding import features_of

TEXTS = [
    "Hello, how are you?",
    "",
    "Prove that there are infinitely many primes.",
    "東京の天気は?" * 40,
]
GRAPH = (DEFAULT_BUNDLE / CLASSIFIER).read_bytes()
POSTERIOR = ArmPosterior(0.4, np.array([-0.7, 0.2]), np.array([[0.05, -0.01], [-0.01, 0.2]]))


def extension(tier: int = 1, place: int = 2) -> ArmExtension:
    return ArmExtension(tier, place, POSTERIOR, LengthTransfer(0.6, np.array([1.0, 1.2, 1.5])))


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any, list[list[int]]]:
    bundle = load_bundle(DEFAULT_BUNDLE, ENCODERS)
    encoder, features = bundle.encoder, features_of(TEXTS)[:, : bundle.classifier.features]
    vectors = np.stack([encoder.embed(text) for text in TEXTS])
    return vectors, features, [encoder.word_ids(text) for text in TEXTS]


def outputs(classifier: bytes, rows: Any) -> list[Any]:
    names = ["label_distribution", "p_adequate", "output_tokens"]
    found = [
        session(classifier).run(
            names,
            {
                "embedding": rows[0][i : i + 1],
                "features": rows[1][i : i + 1],
                "token_ids": np.array(rows[2][i], dtype=np.int64),
            },
        )
        for i in range(len(rows[0]))
    ]
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_the_new_arm_stands_at_its_place_and_moves_no_other(place: int, rows: Any) -> None:
    made = extended_graph(GRAPH, extension(place=place))
    assert check_extended_graph(GRAPH, made, extension(place=place), *rows) <= 1e-5
    labels, adequate, tokens = outputs(made, rows)
    _, before, lasted = outputs(GRAPH, rows)
    assert (labels.shape, adequate.shape, tokens.shape) == ((4, 5), (4, 4), (4, 4, 3))
    np.testing.assert_array_equal(np.delete(adequate, place, axis=1), before)
    np.testing.assert_array_equal(np.delete(tokens, place, axis=1), lasted)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert (tokens[:, place, 0] > lasted[:, 1, 0]).all()


def test_arms_can_be_added_one_after_the_other(rows: Any) -> None:
    once = extended_graph(GRAPH, extension())
    second = ArmExtension(2, 4, POSTERIOR, TIER_LENGTHS)  # its tier is the arm that was added first
    twice = extended_graph(once, second)
    assert check_extended_graph(once, twice, second, *rows) <= 1e-5
    assert outputs(twice, rows)[1].shape == (4, 5)


def test_inputs_and_outputs_keep_their_names_and_operators_are_standard() -> None:
    before, after = (onnx.load_from_string(x) for x in (GRAPH, extended_graph(GRAPH, extension())))
    assert [one.name for one in after.graph.input] == [one.name for one in before.graph.input]
    assert [one.name for one in after.graph.output] == [one.name for one in before.graph.output]
    assert [(one.domain, one.version) for one in after.opset_import] == [
        (one.domain, one.version) for one in before.opset_import
    ]
    assert after.ByteSize() < before.ByteSize() + 20_000


def test_a_graph_that_differs_from_what_was_learnt_is_refused(rows: Any) -> None:
    made = extended_graph(GRAPH, extension())
    surer = dataclasses.replace(POSTERIOR, covariance=POSTERIOR.covariance / 2)
    for other in (
        dataclasses.replace(extension(), posterior=surer),
        dataclasses.replace(extension(), transfer=TIER_LENGTHS),
    ):
        with pytest.raises(BadArtifact, match="does not compute what was learnt"):
            check_extended_graph(GRAPH, made, other, *rows)


def test_a_graph_that_reads_no_words_gets_an_arm_too() -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    plain (float[batch,2] embedding, float[batch,{len(FEATURES)}] features)
      => (float[batch,3] label_distribution, float[batch,2] p_adequate, float[batch,2,3] output_tokens)
      <int64[1] last = {{2}}, float[1,1,3] up = {{0, 1, 2}}>
    {{
      p_adequate = Sigmoid (embedding)
      wide = Unsqueeze (p_adequate, last)
      high = Add (wide, up)
      output_tokens = Exp (high)
      label_distribution = Concat <axis = 1> (p_adequate, p_adequate)
    }}"""
    plain = onnx.parser.parse_model(text).SerializeToString()
    vectors = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    features = np.zeros((5, len(FEATURES)), dtype=np.float32)
    some = extension(tier=0, place=1)
    assert (
        check_extended_graph(plain, extended_graph(plain, some), some, vectors, features, None)
        <= 1e-5
    )
