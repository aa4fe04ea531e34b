"""From a fitted estimator to a bundle on disk: the graph, the check against the fit, the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto, checker, helper, numpy_helper

from router.bundle import BundleManifest
from router.core.errors import BadArtifact
from router.encoding import session
from router.files import sha256_of, written_whole
from training.estimator import PooledLogistic
from training.lengths import Lengths

__all__ = [
    "GRAPH_FILE",
    "TOLERANCE",
    "check_graph",
    "check_target",
    "classifier_graph",
    "label_distribution",
    "write_bundle",
]

GRAPH_FILE = "classifier.onnx"
OPSET = 17
IR_VERSION = 8
"""Old enough for every onnxruntime since 1.14; opset 17 needs 8."""
TOLERANCE = 1e-5
"""Largest difference of a probability between the graph (float32) and the fit (float64)."""

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


def classifier_graph(model: PooledLogistic, lengths: Lengths, dimensions: int) -> bytes:
    """``classifier.onnx``: standard operators only, batch size free.

    Inputs ``embedding`` float32 ``(batch, dimensions)`` and ``features`` float32 ``(batch, f)``; outputs
    ``label_distribution`` ``(batch, k + 1)``, ``p_adequate`` ``(batch, k)`` and ``output_tokens``
    ``(batch, k, 3)``, all float32.
    """
    inputs, k = model.weights.shape
    float_of = np.float32
    constants = {
        "weights": model.weights.astype(float_of),
        "bias": model.bias.astype(float_of),
        "up_to": np.tril(np.ones((k, k), dtype=float_of)),
        "quantiles": lengths.quantiles.astype(float_of)[None],
        "per_arm": np.array(lengths.quantiles.shape, dtype=np.int64),
        "middle": np.array([1], dtype=np.int64),
        "before": np.array([0, 1, 0, 0], dtype=np.int64),
        "after": np.array([0, 0, 0, 1], dtype=np.int64),
        "zero": np.array(0, dtype=float_of),
        "one": np.array(1, dtype=float_of),
    }
    node = helper.make_node
    nodes = [
        node("Concat", ["embedding", "features"], ["x"], axis=1),
        node("Gemm", ["x", "weights", "bias"], ["logits"]),
        node("Sigmoid", ["logits"], ["p_adequate"]),
        # The running maximum: row j of the triangle lets through the arms up to j.
        node("Unsqueeze", ["p_adequate", "middle"], ["across"]),
        node("Mul", ["across", "up_to"], ["candidates"]),
        node("ReduceMax", ["candidates"], ["reached"], axes=[2], keepdims=0),
        node("Pad", ["reached", "after", "one"], ["upper"]),
        node("Pad", ["reached", "before", "zero"], ["lower"]),
        node("Sub", ["upper", "lower"], ["label_distribution"]),
        node("Shape", ["embedding"], ["batch"], start=0, end=1),
        node("Concat", ["batch", "per_arm"], ["lengths_shape"], axis=0),
        node("Expand", ["quantiles", "lengths_shape"], ["output_tokens"]),
    ]

    def value(name: str, *shape: int) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])

    graph = helper.make_graph(
        nodes,
        "mitsumori_classifier",
        [value("embedding", dimensions), value("features", inputs - dimensions)],
        [
            value("label_distribution", k + 1),
            value("p_adequate", k),
            value("output_tokens", *lengths.quantiles.shape),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(
        graph,
        producer_name="mitsumori",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    checker.check_model(made)
    return bytes(made.SerializeToString())


def _run(
    runner: ort.InferenceSession,
    embeddings: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
) -> dict[str, npt.NDArray[np.float32]]:
    values = runner.run(list(_OUTPUTS), {"embedding": embeddings, "features": features})
    return dict(zip(_OUTPUTS, values, strict=True))


def check_graph(
    graph: bytes,
    model: PooledLogistic,
    lengths: Lengths,
    embeddings: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
) -> float:
    """Run the graph on real rows, one and all at a time, against the fitted model.

    Args:
        graph: of :func:`classifier_graph`.
        model: the fit.
        lengths: the fit.
        embeddings: float32 ``(n, d)``, n ≥ 1.
        features: float32 ``(n, f)``.

    Returns:
        The largest absolute difference of a probability.

    Raises:
        BadArtifact: it exceeds :data:`TOLERANCE`, or the lengths differ.
    """
    runner = session(graph)
    adequate = model.p_adequate(np.hstack([embeddings, features]))
    labels = label_distribution(adequate)
    worst = 0.0
    for rows in (slice(None), slice(0, 1)):
        found = _run(runner, embeddings[rows], features[rows])
        worst = max(
            worst,
            float(np.abs(found["p_adequate"] - adequate[rows]).max()),
            float(np.abs(found["label_distribution"] - labels[rows]).max()),
        )
        same = np.allclose(found["output_tokens"], lengths.quantiles, rtol=1e-6)
        if not same or not worst <= TOLERANCE:
            raise BadArtifact(
                f"{GRAPH_FILE} does not compute what was fitted (largest difference {worst:.2g}, "
                f"allowed {TOLERANCE:g}); nothing was written, please report this",
                reason="GRAPH_DIFFERS",
                field=GRAPH_FILE,
            )
    return worst


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
        with written_whole(out) as scratch:
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
