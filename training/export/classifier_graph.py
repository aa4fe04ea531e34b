"""``classifier.onnx`` of a fitted estimator, and its check against the fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from scipy import sparse

from router.classifier.bundle import complexity
from router.classifier.encoder import session
from router.classifier.manifest import CLASSIFIER
from router.core.errors import BadArtifact
from training.artifacts.onnx_graph import GraphBuilder, tensor
from training.fitting.demands import Demands
from training.fitting.estimator import PooledLogistic, Words
from training.fitting.forests import tree_ensemble_attributes
from training.fitting.lengths import LengthModel
from training.fitting.ngrams import BUCKETS, EDGE, FACTORS, MODULUS, ngram_counts
from training.fitting.trees import Trees

__all__ = [
    "TOLERANCE",
    "check_graph",
    "classifier_graph",
    "complexities",
    "label_distribution",
]

TOLERANCE = 1e-5
"""Largest difference of a probability between the graph (float32) and the fit (float64)."""
LOCATION_TOLERANCE = 1e-4
"""Largest difference of a location of lengths between the two, in the logarithm of tokens."""
DEMAND_TOLERANCE = 1e-4
"""Largest difference of a demand between the two, beside 1 in 1,000 of it."""

_OUTPUTS = ("label_distribution", "p_adequate", "output_tokens")


def label_distribution(p_adequate: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The probability of each label, ``(n, k + 1)`` with ``none`` last, from P(adequate) ``(n, k)``.

    An attempt is read ordinally: adequate by arm k means that the label is k or a cheaper arm. So
    P(label ≤ k) is the running maximum of P(adequate) along the ladder, and its differences are the
    labels; an arm that is no better than a cheaper one is never the label.
    """
    reached = np.maximum.accumulate(p_adequate, axis=1)
    ends = np.ones((len(reached), 1))
    return np.diff(np.hstack([0 * ends, reached, ends]), axis=1)


def complexities(p_adequate: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The complexity of prompts as serving has it, ``(n,)``, from P(adequate) of a tier each ``(n, k)``."""
    tiers = [str(place) for place in range(p_adequate.shape[1])]
    return np.array([complexity(row, tiers) for row in label_distribution(p_adequate)])


def _sum(graph: GraphBuilder, terms: Sequence[str], name: str) -> str:
    """The sum of integers: ``Sum`` itself knows floats only."""
    total = terms[0]
    for place, term in enumerate(terms[1:]):
        total = graph.op("Add", total, term, name=f"{name}_{place}")
    return total


def _words(
    graph: GraphBuilder, table: npt.NDArray[np.float64], inverse: npt.NDArray[np.float32]
) -> str:
    """The contribution of the n-grams, ``(1, c)``: :func:`ngrams.ngram_places` and ``weighted`` as operators.

    Args:
        graph: gets the nodes.
        table: float64 ``(BUCKETS, c)``, exact in half precision.
        inverse: float32 ``(BUCKETS,)``, exact in half precision.
    """
    op, constant = graph.op, graph.constant
    op(
        "Pad",
        "token_ids",
        constant([1, 1], np.int64, name="edges"),
        constant(EDGE, np.int64, name="edge"),
        name="tokens",
    )
    modulus, buckets = (
        constant(MODULUS, np.int64, name="modulus"),
        constant(BUCKETS, np.int64, name="buckets"),
    )
    places = []
    for kind, (offsets, factors) in enumerate(FACTORS):
        terms = []
        for place, (offset, factor) in enumerate(zip(offsets, factors, strict=True)):
            # Negative ends count from the end: the last start of an n-gram is that of its last token.
            end = offset - offsets[-1] or np.iinfo(np.int64).max
            name = f"{kind}_{place}"
            bounds = [
                constant([offset], np.int64, name=f"from_{name}"),
                constant([end], np.int64, name=f"to_{name}"),
            ]
            part = op("Slice", "tokens", *bounds, name=f"part_{name}")
            terms.append(
                op(
                    "Mul",
                    part,
                    constant(factor, np.int64, name=f"factor_{name}"),
                    name=f"term_{name}",
                )
            )
        total = _sum(graph, terms, f"sum_{kind}")
        small = op("Mod", total, modulus, name=f"mod_{kind}")
        places.append(op("Mod", small, buckets, name=f"places_{kind}"))
    op("Concat", *places, name="places", axis=0)
    graph.ops("Unique", ["places"], ["distinct", "", "", "times"], sorted=1)
    op("Cast", "times", name="counts", to=TensorProto.FLOAT)
    op("Add", op("Log", "counts", name="log_counts"), constant(1, name="one"), name="damped")
    columns = np.hstack([table, inverse[:, None].astype(np.float64)])
    constant(columns, np.float16, name="words")
    op(
        "Cast",
        op("Gather", "words", "distinct", name="half_rows", axis=0),
        name="rows",
        to=TensorProto.FLOAT,
    )
    op("Unsqueeze", "damped", constant([0], np.int64, name="first"), name="damped_row")
    op("MatMul", "damped_row", "rows", name="sums")
    last = constant([columns.shape[1] - 1], np.int64, name="last")
    far = constant([np.iinfo(np.int64).max], np.int64, name="far")
    columns_axis = constant([1], np.int64, name="columns_axis")
    zero = constant([0], np.int64, name="from_zero")
    values = op("Slice", "rows", last, far, columns_axis, name="inverse")
    squares = op(
        "Mul", values, op("Unsqueeze", "damped", columns_axis, name="damped_column"), name="terms"
    )
    op("ReduceL2", squares, name="length", axes=[0, 1], keepdims=1)
    op("Max", "length", constant(1e-12, name="tiny"), name="safe_length")
    return op(
        "Div", op("Slice", "sums", zero, last, columns_axis, name="own"), "safe_length", name="said"
    )


def _heard(graph: GraphBuilder, words: Words, locations: npt.NDArray[np.float64] | None) -> str:
    """What the n-grams add to logits and to locations of lengths, ``(1, 2 k)``.

    Args:
        graph: gets the nodes.
        words: the head on n-grams.
        locations: float64 ``(BUCKETS, k)``, exact in half precision; ``None``: 0, and not in the table.
    """
    if locations is not None:
        return _words(graph, np.hstack([words.table, locations]), words.inverse)
    said = _words(graph, words.table, words.inverse)
    ends = graph.constant([0, 0, 0, words.table.shape[1]], np.int64, name="beside_logits")
    return graph.op("Pad", said, ends, name="said_of_logits")


def _trees(graph: GraphBuilder, trees: Trees) -> str:
    """The logits of the forest, ``(batch, k)``: it runs once per arm."""
    op, constant = graph.op, graph.constant
    # The graph scores one prompt at a time, so the column of the arm is a constant of one row.
    parts = [
        op("Concat", "features", constant([[arm]], name=f"arm_{arm}"), name=f"form_{arm}", axis=1)
        for arm in range(trees.arms)
    ]
    op("Concat", *parts, name="form", axis=0)
    op("TreeEnsembleRegressor", "form", name="grown", domain="ai.onnx.ml", **trees.attributes())
    return op("Transpose", "grown", name="trees")


def classifier_graph(
    model: PooledLogistic, lengths: LengthModel, dimensions: int, demands: Demands | None = None
) -> bytes:
    """``classifier.onnx``: standard operators only.

    Inputs ``embedding`` float32 ``(batch, dimensions)``, ``features`` float32 ``(batch, f)`` and, where the
    fit reads words, ``token_ids`` int64 ``(tokens,)`` of one prompt, so that the batch is one, as it is
    with trees; outputs ``label_distribution`` ``(batch, k + 1)``, ``p_adequate`` ``(batch, k)``,
    ``output_tokens`` ``(batch, k, 3)`` and, where there are demands, ``demands`` ``(batch, d)``, all float32.

    Args:
        model: the fitted estimator of P(adequate), ``k`` arms.
        lengths: the fitted model of output lengths, the same arms.
        dimensions: of the encoder's vector.
        demands: of prompts; ``None``: not an output.
    """
    inputs, k = model.weights.shape
    graph = GraphBuilder()
    op, constant = graph.op, graph.constant
    where = lengths.locations
    # Logits and locations of all arms in one product.
    weights = np.hstack([model.weights, where.weights])
    bias = np.concatenate([model.bias, where.bias])
    op("Concat", "embedding", "features", name="x", axis=1)
    op("Gemm", "x", constant(weights, name="weights"), constant(bias, name="bias"), name="seen_x")
    parts = "seen_x"
    if model.words is not None:
        parts = op("Add", parts, _heard(graph, model.words, where.words), name="heard")
    logits, _ = graph.split(parts, [k, k], ["linear", "location"])
    if model.trees is not None:
        share = constant(model.share("trees")[None], name="share_of_trees")
        part = op("Mul", _trees(graph, model.trees), share, name="trees_part")
        logits = op("Add", logits, part, name="with_trees")
    op("Sigmoid", logits, name="p_adequate")
    _label_distribution(graph, k)
    _lengths(graph, lengths)
    read = [
        tensor("embedding", "batch", dimensions),
        tensor("features", "batch", inputs - dimensions),
    ]
    if model.words is not None:
        read.append(tensor("token_ids", "tokens", dtype=np.int64))
    told = [
        tensor("label_distribution", "batch", k + 1),
        tensor("p_adequate", "batch", k),
        tensor("output_tokens", "batch", k, 3),
    ]
    if demands is not None:
        sides = (
            constant(demands.weights, name="demand_weights"),
            constant(demands.bias, name="demand_bias"),
        )
        op("Gemm", "x", *sides, name="demands")
        told.append(tensor("demands", "batch", len(demands.bias)))
    made = graph.model("mitsumori_classifier", read, told)
    return bytes(made.SerializeToString())


def _label_distribution(graph: GraphBuilder, k: int) -> None:
    """Add the output ``label_distribution`` ``(batch, k + 1)``, as :func:`label_distribution` computes it.

    Args:
        graph: has the tensor ``p_adequate`` ``(batch, k)``.
        k: number of arms.
    """
    op, constant = graph.op, graph.constant
    op("Unsqueeze", "p_adequate", constant([1], np.int64, name="middle"), name="across")
    # Row j of the triangle lets through the arms up to j.
    op("Mul", "across", constant(np.tril(np.ones((k, k))), name="up_to"), name="candidates")
    op("ReduceMax", "candidates", name="reached", axes=[2], keepdims=0)
    after, before = (
        constant([0, 0, 0, 1], np.int64, name="after"),
        constant([0, 1, 0, 0], np.int64, name="before"),
    )
    op("Pad", "reached", after, constant(1, name="certain"), name="upper")
    op("Pad", "reached", before, constant(0, name="never"), name="lower")
    op("Sub", "upper", "lower", name="label_distribution")


def _lengths(graph: GraphBuilder, lengths: LengthModel) -> None:
    """``output_tokens`` from ``features`` and ``location``: see :meth:`LengthModel.quantiles`."""
    op, constant = graph.op, graph.constant
    k = len(lengths.known)
    if lengths.forests:
        op("Concat", "features", "location", name="told", axis=1)
        attributes = tree_ensemble_attributes(lengths.forests, lengths.base)
        op("TreeEnsembleRegressor", "told", name="curves", domain="ai.onnx.ml", **attributes)
    else:
        flat = constant(np.zeros((k, 2 * k)), name="flat")
        op("Gemm", "location", flat, constant(lengths.base, name="base"), name="curves")
    middle, upper = graph.split("curves", [k, k], ["middle_of_log", "decile_of_log"])
    low, high = lengths.spread_bounds.T
    op("Sub", upper, middle, name="gap")
    op("Max", "gap", constant(low[None], name="low"), name="at_least")
    op("Min", "at_least", constant(high[None], name="high"), name="spread")
    end = constant([2], np.int64, name="end")
    spreads, offsets = op("Unsqueeze", "spread", end, name="spreads"), lengths.offsets[None]
    op("Mul", spreads, constant(offsets, name="offsets"), name="noise")
    op("Add", op("Unsqueeze", middle, end, name="middles"), "noise", name="log_tokens")
    logs = "log_tokens"
    for place, (column, shifts) in enumerate(lengths.floors):
        at = constant([[column]], np.int64, name=f"floor_column_{place}")
        named = op("Gather", "features", at, name=f"named_length_{place}", axis=1)
        above = constant([[shifts]], name=f"floor_shifts_{place}")
        logs = op(
            "Max", logs, op("Add", named, above, name=f"floor_{place}"), name=f"above_{place}"
        )
    op("Max", logs, constant(0, name="nothing"), name="positive")
    top = constant(lengths.top[None, :, None], name="top")
    op("Exp", op("Min", "positive", top, name="capped"), name="output_tokens")


def check_graph(
    graph: bytes,
    model: PooledLogistic,
    lengths: LengthModel,
    embeddings: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    token_ids: Sequence[Sequence[int]] = (),
    demands: Demands | None = None,
) -> float:
    """Run the graph on real rows, one at a time as serving does, against the fitted model.

    Args:
        graph: of :func:`classifier_graph`.
        model: the fit.
        lengths: the fit.
        embeddings: float32 ``(n, d)``, n ≥ 1.
        features: float32 ``(n, f)``.
        token_ids: of each of the ``n`` prompts, where the fit reads words.
        demands: the fit; ``None``: the graph tells none.

    Returns:
        The largest absolute difference of a probability.

    Raises:
        BadArtifact: it exceeds :data:`TOLERANCE`, a length differs by more than 1 in 1,000 from those
            at the fitted location or :data:`LOCATION_TOLERANCE` beside it, or a demand by more than
            :data:`DEMAND_TOLERANCE`.
    """
    runner = session(graph)
    x = np.hstack([embeddings, features])
    counts = ngram_counts(token_ids) if model.words is not None else None
    adequate, tokens = model.p_adequate(x, counts), _possible(lengths, features, x, counts)
    labels = label_distribution(adequate)
    names = [*_OUTPUTS, *(() if demands is None else ("demands",))]
    worst = 0.0
    for row in range(len(x)):
        given = {"embedding": embeddings[row : row + 1], "features": features[row : row + 1]}
        if counts is not None:
            given["token_ids"] = np.asarray(token_ids[row], dtype=np.int64)
        found = dict(zip(names, runner.run(names, given), strict=True))
        worst = max(
            worst,
            float(np.abs(found["p_adequate"][0] - adequate[row]).max()),
            float(np.abs(found["label_distribution"][0] - labels[row]).max()),
        )
        least, most = tokens[:, row] * [[[1 - 1e-3]], [[1 + 1e-3]]]
        same = bool(((least <= found["output_tokens"]) & (found["output_tokens"] <= most)).all())
        if demands is not None:
            asked = demands.of(x[row : row + 1])
            same &= np.allclose(found["demands"], asked, rtol=1e-3, atol=DEMAND_TOLERANCE)
        if not same or not worst <= TOLERANCE:
            raise BadArtifact(
                f"{CLASSIFIER} does not compute what was fitted (largest difference {worst:.2g}, "
                f"allowed {TOLERANCE:g}); nothing was written, please report this",
                reason="GRAPH_DIFFERS",
                field=CLASSIFIER,
            )
    return worst


def _possible(
    lengths: LengthModel,
    features: npt.NDArray[np.float32],
    x: npt.NDArray[np.float32],
    counts: sparse.csr_matrix | None,
) -> npt.NDArray[np.float64]:
    """Least and greatest quantiles within :data:`LOCATION_TOLERANCE` of the location, ``(2, n, k, 3)``.

    A location on one side of a split in the fit may lie on its other side in the graph.
    """
    location = lengths.locations.of(x, counts)
    beside = [
        lengths.quantiles(features, location + np.float32(step))
        for step in (-LOCATION_TOLERANCE, 0, LOCATION_TOLERANCE)
    ]
    return np.stack([np.min(beside, axis=0), np.max(beside, axis=0)])
