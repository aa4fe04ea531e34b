"""From a fitted estimator to a bundle on disk: the graph, the check against the fit, the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, checker, helper, numpy_helper
from scipy import sparse

from router.classifier.bundle import CLASSIFIER, BundleManifest
from router.classifier.encoder import session
from router.classifier.features.lexical import FEATURES, SCRIPT_BOUNDS
from router.core.errors import BadArtifact
from router.files import replace_directory, sha256_of
from training.fitting.estimator import PooledLogistic
from training.fitting.forests import ensemble
from training.fitting.lengths import Lengths
from training.fitting.neighbours import LEAST_SHARE, PRIOR, Neighbours
from training.fitting.ngrams import BUCKETS, EDGE, FACTORS, MODULUS, counted
from training.fitting.stacking import Calibration
from training.fitting.trees import Trees

__all__ = [
    "TOLERANCE",
    "check_graph",
    "check_target",
    "classifier_graph",
    "label_distribution",
    "write_bundle",
]

OPSET = 17
OPSET_ML = 3
IR_VERSION = 8
"""Old enough for every onnxruntime since 1.14; opset 17 needs 8."""
TOLERANCE = 1e-5
"""Largest difference of a probability between the graph (float32) and the fit (float64)."""
ROUNDING = 1e-4
"""Largest difference of a location of lengths between the two, in the logarithm of tokens."""

_OUTPUTS = ("label_distribution", "p_adequate", "output_tokens")


def label_distribution(p_adequate: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The probability of each label, ``(n, k + 1)`` with ``none`` last, from P(adequate) ``(n, k)``.

    The ordinal reading of an attempt: adequate by arm k means that the label is k or a cheaper one.
    So P(label ≤ k) is the running maximum of P(adequate) along the ladder, and its differences are the
    labels; an arm that is no better than a cheaper one is never the label.
    """
    reached = np.maximum.accumulate(p_adequate, axis=1)
    ends = np.ones((len(reached), 1))
    return np.diff(np.hstack([0 * ends, reached, ends]), axis=1)


class _Graph:
    """Nodes and constants as they are put together."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, npt.NDArray[np.generic]] = {}

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Keep an array under a name; the name."""
        self.constants[name] = np.asarray(value, dtype=dtype)
        return name

    def put(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add an operator; the name of its output."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def split(self, given: str, sizes: Sequence[int], outputs: Sequence[str]) -> Sequence[str]:
        """Cut columns apart; the names of the parts."""
        lengths = self.constant(f"sizes_of_{given}", sizes, np.int64)
        self.nodes.append(helper.make_node("Split", [given, lengths], list(outputs), axis=1))
        return outputs


def _sum(graph: _Graph, terms: Sequence[str], name: str) -> str:
    """The sum of integers: ``Sum`` itself knows floats only."""
    total = terms[0]
    for place, term in enumerate(terms[1:]):
        total = graph.put("Add", [total, term], f"{name}_{place}")
    return total


def _words(graph: _Graph, table: npt.NDArray[np.float64], inverse: npt.NDArray[np.float32]) -> str:
    """What the n-grams add, ``(1, c)``: :func:`training.fitting.ngrams.hashed` and ``weighted`` as operators.

    Args:
        graph: gets the nodes.
        table: float64 ``(BUCKETS, c)``, exact in half precision.
        inverse: float32 ``(BUCKETS,)``, exact in half precision.
    """
    put, keep = graph.put, graph.constant
    put(
        "Pad",
        ["token_ids", keep("edges", [1, 1], np.int64), keep("edge", EDGE, np.int64)],
        "tokens",
    )
    modulus, buckets = keep("modulus", MODULUS, np.int64), keep("buckets", BUCKETS, np.int64)
    places = []
    for kind, (offsets, factors) in enumerate(FACTORS):
        terms = []
        for place, (offset, factor) in enumerate(zip(offsets, factors, strict=True)):
            # Negative ends count from the end: the last start of an n-gram is that of its last token.
            end = offset - offsets[-1] or np.iinfo(np.int64).max
            name = f"{kind}_{place}"
            bounds = [keep(f"from_{name}", [offset], np.int64), keep(f"to_{name}", [end], np.int64)]
            part = put("Slice", ["tokens", *bounds], f"part_{name}")
            terms.append(
                put("Mul", [part, keep(f"factor_{name}", factor, np.int64)], f"term_{name}")
            )
        total = _sum(graph, terms, f"sum_{kind}")
        small = put("Mod", [total, modulus], f"mod_{kind}")
        places.append(put("Mod", [small, buckets], f"places_{kind}"))
    put("Concat", places, "places", axis=0)
    graph.nodes.append(
        helper.make_node("Unique", ["places"], ["distinct", "", "", "times"], sorted=1)
    )
    put("Cast", ["times"], "counts", to=TensorProto.FLOAT)
    put("Add", [put("Log", ["counts"], "log_counts"), keep("one", 1, np.float32)], "damped")
    columns = np.hstack([table, inverse[:, None].astype(np.float64)])
    keep("words", columns, np.float16)
    put(
        "Cast",
        [put("Gather", ["words", "distinct"], "half_rows", axis=0)],
        "rows",
        to=TensorProto.FLOAT,
    )
    put("Unsqueeze", ["damped", keep("first", [0], np.int64)], "damped_row")
    put("MatMul", ["damped_row", "rows"], "sums")
    last = keep("last", [columns.shape[1] - 1], np.int64)
    far = keep("far", [np.iinfo(np.int64).max], np.int64)
    columns_axis = keep("columns_axis", [1], np.int64)
    zero = keep("from_zero", [0], np.int64)
    values = put("Slice", ["rows", last, far, columns_axis], "inverse")
    squares = put(
        "Mul", [values, put("Unsqueeze", ["damped", columns_axis], "damped_column")], "terms"
    )
    put("ReduceL2", [squares], "length", axes=[0, 1], keepdims=1)
    put("Max", ["length", keep("tiny", 1e-12, np.float32)], "safe_length")
    return put(
        "Div", [put("Slice", ["sums", zero, last, columns_axis], "own"), "safe_length"], "said"
    )


def _trees(graph: _Graph, trees: Trees) -> str:
    """The logits of the forest, ``(batch, k)``: it is asked once per arm."""
    put, keep = graph.put, graph.constant
    # One prompt is asked at a time, so the column of the arm is a constant of one row.
    parts = [
        put("Concat", ["features", keep(f"arm_{arm}", [[arm]], np.float32)], f"form_{arm}", axis=1)
        for arm in range(trees.arms)
    ]
    put("Concat", parts, "form", axis=0)
    put("TreeEnsembleRegressor", ["form"], "grown", domain="ai.onnx.ml", **trees.attributes())
    return put("Transpose", ["grown"], "trees")


def _neighbours(graph: _Graph, near: Neighbours) -> str:
    """The logits of the nearest training prompts, ``(batch, k)``: :meth:`Neighbours.logits`."""
    put, keep = graph.put, graph.constant
    # Both sides unsigned: onnxruntime is 200 times slower where both are signed, and where only one is, its
    # sums overflow on processors without VNNI.
    step, zero = keep("step", near.step, np.float32), keep("zero", 128, np.uint8)
    put("QuantizeLinear", ["embedding", step, zero], "steps")
    known = keep("known", near.vectors.T.astype(np.int16) + 128, np.uint8)
    put("MatMulInteger", ["steps", known, zero, zero], "products")
    count = keep("count", [near.count], np.int64)
    graph.nodes.append(
        helper.make_node("TopK", ["products", count], ["how_near", "nearest"], axis=1)
    )
    outcomes = keep("outcomes", np.hstack([near.good, near.seen]), np.float32)
    put("Gather", [outcomes, "nearest"], "theirs", axis=0)
    put("ReduceSum", ["theirs", keep("them", [1], np.int64)], "in_all", keepdims=0)
    k = len(near.base)
    good, seen = graph.split("in_all", [k, k], ["good", "seen"])
    put("Add", [good, keep("prior_good", PRIOR * near.base[None], np.float32)], "better")
    put("Add", [seen, keep("prior_seen", PRIOR, np.float32)], "more_seen")
    put("Div", ["better", "more_seen"], "share")
    low, high = keep("least", LEAST_SHARE, np.float32), keep("most", 1 - LEAST_SHARE, np.float32)
    put("Clip", ["share", low, high], "inside")
    put("Sub", [keep("whole", 1, np.float32), "inside"], "others")
    return put("Sub", [put("Log", ["inside"], "log_p"), put("Log", ["others"], "log_q")], "near")


def _added(graph: _Graph, logits: str, more: str, share: npt.NDArray[np.float64]) -> str:
    """``logits + share · more``."""
    weight = graph.constant(f"share_of_{more}", share[None], np.float32)
    return graph.put(
        "Add", [logits, graph.put("Mul", [more, weight], f"{more}_part")], f"with_{more}"
    )


def _calibrated(graph: _Graph, logits: str, calibration: Calibration) -> str:
    """The calibrated logits, ``(batch, k)``: :meth:`Calibration.of`."""
    put, keep = graph.put, graph.constant
    if not calibration.bent.any():
        return _shifted(graph, logits, calibration)
    # Where an arm is left as it is, p = n = 1 and c = 0: log q − log(1 − q) is its logit again.
    yes = put("Softplus", [put("Neg", [logits], "against")], "less_yes")
    no = put("Softplus", [logits], "less_no")
    gain = put("Mul", [no, keep("for_no", calibration.negative[None], np.float32)], "of_no")
    loss = put("Mul", [yes, keep("for_yes", calibration.positive[None], np.float32)], "of_yes")
    shift = keep("calibration_shift", calibration.shift[None], np.float32)
    bent = put("Add", [put("Sub", [gain, loss], "bent"), shift], "calibrated")
    return _shifted(graph, bent, calibration)


def _shifted(graph: _Graph, logits: str, calibration: Calibration) -> str:
    """With what the script of the prompt adds: :func:`lexical.scripts_of` as operators."""
    if calibration.by_script is None:
        return logits
    put, keep = graph.put, graph.constant
    chosen = keep("shift_of_no_script", calibration.by_script[-1:], np.float32)
    # The last that holds wins here, the first there.
    for name, bound, place in reversed(SCRIPT_BOUNDS):
        column = keep(f"column_of_{name}", [FEATURES.index(name)], np.int64)
        share = put("Gather", ["features", column], name, axis=1)
        tells = put(
            "Greater", [share, keep(f"bound_of_{name}", bound, np.float32)], f"{name}_tells"
        )
        shift = keep(f"shift_by_{name}", calibration.by_script[place][None], np.float32)
        chosen = put("Where", [tells, shift, chosen], f"shift_down_to_{name}")
    return put("Add", [logits, chosen], "shifted")


def classifier_graph(model: PooledLogistic, lengths: Lengths, dimensions: int) -> bytes:
    """``classifier.onnx``: standard operators only.

    Inputs ``embedding`` float32 ``(batch, dimensions)``, ``features`` float32 ``(batch, f)`` and, where the
    fit reads words, ``token_ids`` int64 ``(tokens,)`` of one prompt, so that the batch is one, as it is
    with trees; outputs ``label_distribution`` ``(batch, k + 1)``, ``p_adequate`` ``(batch, k)`` and
    ``output_tokens`` ``(batch, k, 3)``, all float32.
    """
    inputs, k = model.weights.shape
    graph = _Graph()
    put, keep = graph.put, graph.constant
    floats = np.float32
    where = lengths.locations
    # Logits and locations of all arms in one product.
    weights = np.hstack([model.weights, where.weights])
    bias = np.concatenate([model.bias, where.bias])
    put("Concat", ["embedding", "features"], "x", axis=1)
    put("Gemm", ["x", keep("weights", weights, floats), keep("bias", bias, floats)], "seen_x")
    parts = "seen_x"
    if model.words is not None:
        unheard = np.zeros_like(model.words.table)
        table = np.hstack([model.words.table, unheard if where.words is None else where.words])
        parts = put("Add", [parts, _words(graph, table, model.words.inverse)], "heard")
    logits, _ = graph.split(parts, [k, k], ["linear", "location"])
    if model.trees is not None:
        logits = _added(graph, logits, _trees(graph, model.trees), model.share("trees"))
    if model.neighbours is not None:
        near = _neighbours(graph, model.neighbours)
        logits = _added(graph, logits, near, model.share("neighbours"))
    put("Sigmoid", [_calibrated(graph, logits, model.calibration)], "p_adequate")
    _labels(graph, k)
    _lengths(graph, lengths)
    told = [
        _value("label_distribution", "batch", k + 1),
        _value("p_adequate", "batch", k),
        _value("output_tokens", "batch", k, 3),
    ]
    given = [
        _value("embedding", "batch", dimensions),
        _value("features", "batch", inputs - dimensions),
    ]
    if model.words is not None:
        given.append(helper.make_tensor_value_info("token_ids", TensorProto.INT64, ["tokens"]))
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "mitsumori_classifier",
            given,
            told,
            [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
        ),
        producer_name="mitsumori",
        opset_imports=_opsets(trees=model.trees is not None or bool(lengths.forests)),
        ir_version=IR_VERSION,
    )
    checker.check_model(made)
    return bytes(made.SerializeToString())


def _opsets(*, trees: bool) -> list[onnx.OperatorSetIdProto]:
    plain = [helper.make_opsetid("", OPSET)]
    return [*plain, helper.make_opsetid("ai.onnx.ml", OPSET_ML)] if trees else plain


def _labels(graph: _Graph, k: int) -> None:
    """``label_distribution`` from ``p_adequate``: differences of the running maximum."""
    put, keep = graph.put, graph.constant
    put("Unsqueeze", ["p_adequate", keep("middle", [1], np.int64)], "across")
    # Row j of the triangle lets through the arms up to j.
    put("Mul", ["across", keep("up_to", np.tril(np.ones((k, k))), np.float32)], "candidates")
    put("ReduceMax", ["candidates"], "reached", axes=[2], keepdims=0)
    after, before = keep("after", [0, 0, 0, 1], np.int64), keep("before", [0, 1, 0, 0], np.int64)
    put("Pad", ["reached", after, keep("certain", 1, np.float32)], "upper")
    put("Pad", ["reached", before, keep("never", 0, np.float32)], "lower")
    put("Sub", ["upper", "lower"], "label_distribution")


def _lengths(graph: _Graph, lengths: Lengths) -> None:
    """``output_tokens`` from ``features`` and ``location``: see :meth:`Lengths.quantiles`."""
    put, keep = graph.put, graph.constant
    k = len(lengths.known)
    if lengths.forests:
        put("Concat", ["features", "location"], "told", axis=1)
        attributes = ensemble(lengths.forests, lengths.base)
        put("TreeEnsembleRegressor", ["told"], "curves", domain="ai.onnx.ml", **attributes)
    else:
        flat = keep("flat", np.zeros((k, 2 * k)), np.float32)
        put("Gemm", ["location", flat, keep("base", lengths.base, np.float32)], "curves")
    middle, upper = graph.split("curves", [k, k], ["middle_of_log", "decile_of_log"])
    low, high = lengths.spread_bounds.T
    put("Sub", [upper, middle], "gap")
    put("Max", ["gap", keep("low", low[None], np.float32)], "at_least")
    put("Min", ["at_least", keep("high", high[None], np.float32)], "spread")
    end = keep("end", [2], np.int64)
    spreads, offsets = put("Unsqueeze", ["spread", end], "spreads"), lengths.offsets[None]
    put("Mul", [spreads, keep("offsets", offsets, np.float32)], "noise")
    put("Add", [put("Unsqueeze", [middle, end], "middles"), "noise"], "log_tokens")
    put("Max", ["log_tokens", keep("nothing", 0, np.float32)], "positive")
    top = keep("top", lengths.top[None, :, None], np.float32)
    put("Exp", [put("Min", ["positive", top], "capped")], "output_tokens")


def _value(name: str, *shape: object) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def check_graph(
    graph: bytes,
    model: PooledLogistic,
    lengths: Lengths,
    embeddings: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    token_ids: Sequence[Sequence[int]] = (),
) -> float:
    """Run the graph on real rows, one at a time as serving does, against the fitted model.

    Args:
        graph: of :func:`classifier_graph`.
        model: the fit.
        lengths: the fit.
        embeddings: float32 ``(n, d)``, n ≥ 1.
        features: float32 ``(n, f)``.
        token_ids: of each of the ``n`` prompts, where the fit reads words.

    Returns:
        The largest absolute difference of a probability.

    Raises:
        BadArtifact: it exceeds :data:`TOLERANCE`, or a length differs by more than 1 in 1,000 from those
            at the fitted location or :data:`ROUNDING` beside it.
    """
    runner = session(graph)
    x = np.hstack([embeddings, features])
    counts = counted(token_ids) if model.words is not None else None
    adequate, tokens = model.p_adequate(x, counts), _possible(lengths, features, x, counts)
    labels = label_distribution(adequate)
    worst = 0.0
    for row in range(len(x)):
        given = {"embedding": embeddings[row : row + 1], "features": features[row : row + 1]}
        if counts is not None:
            given["token_ids"] = np.asarray(token_ids[row], dtype=np.int64)
        found = dict(zip(_OUTPUTS, runner.run(list(_OUTPUTS), given), strict=True))
        worst = max(
            worst,
            float(np.abs(found["p_adequate"][0] - adequate[row]).max()),
            float(np.abs(found["label_distribution"][0] - labels[row]).max()),
        )
        least, most = tokens[:, row] * [[[1 - 1e-3]], [[1 + 1e-3]]]
        same = bool(((least <= found["output_tokens"]) & (found["output_tokens"] <= most)).all())
        if not same or not worst <= TOLERANCE:
            raise BadArtifact(
                f"{CLASSIFIER} does not compute what was fitted (largest difference {worst:.2g}, "
                f"allowed {TOLERANCE:g}); nothing was written, please report this",
                reason="GRAPH_DIFFERS",
                field=CLASSIFIER,
            )
    return worst


def _possible(
    lengths: Lengths,
    features: npt.NDArray[np.float32],
    x: npt.NDArray[np.float32],
    counts: sparse.csr_matrix | None,
) -> npt.NDArray[np.float64]:
    """Least and greatest quantiles within :data:`ROUNDING` of the location, ``(2, n, k, 3)``.

    A location on one side of a split in the fit may lie on its other side in the graph.
    """
    location = lengths.locations.of(x, counts)
    beside = [
        lengths.quantiles(features, location + np.float32(step))
        for step in (-ROUNDING, 0, ROUNDING)
    ]
    return np.stack([np.min(beside, axis=0), np.max(beside, axis=0)])


def write_bundle(out: Path, manifest: BundleManifest, files: Mapping[str, bytes]) -> BundleManifest:
    """Write a bundle whole or not at all.

    Args:
        out: its directory; an older bundle there is replaced, anything else is refused.
        manifest: complete but for ``files``.
        files: name → content of everything beside the manifest.

    Returns:
        The manifest as written, with the hash of every file.

    Raises:
        BadArtifact: ``out`` is a file or a directory of something else, or cannot be written.
    """
    check_target(out)
    hashes = {name: sha256_of(content) for name, content in files.items()}
    complete = manifest.model_copy(update={"files": hashes})
    try:
        with replace_directory(out) as scratch:
            for name, content in files.items():
                (scratch / name).write_bytes(content)
            text = complete.model_dump_json(indent=2) + "\n"
            (scratch / "manifest.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadArtifact(
            f"the bundle cannot be written to {out} ({error.strerror}); name another --out",
            reason="OUT_UNWRITABLE",
            field="out",
        ) from None
    return complete


def check_target(out: Path) -> None:
    """Refuse to replace what is no bundle.

    Raises:
        BadArtifact: ``out`` exists and is neither empty nor a bundle.
    """
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / "manifest.json").is_file()):
        raise BadArtifact(
            f"{out} exists and is no bundle; name another --out, or remove it",
            reason="OUT_OCCUPIED",
            field="out",
        )
