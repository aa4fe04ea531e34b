"""One more arm in the classifier of a bundle: graph surgery with standard operators.

Only the inputs and outputs of the bundle's graph matter. Its outputs feed a second graph, which adds a
column for the arm at its place on the ladder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import checker, compose

from router.classifier.encoder import session
from router.classifier.manifest import CLASSIFIER
from router.core.errors import BadArtifact
from training.arrivals.arm_posterior import LEAST_P, ArmPosterior, logits
from training.arrivals.length_transfer import LengthTransfer
from training.artifacts.onnx_graph import GraphBuilder, tensor
from training.export.classifier_graph import TOLERANCE, add_label_distribution, label_distribution
from training.fitting.lengths import LEVELS

__all__ = ["ArmExtension", "check_extended_graph", "extended_graph"]

Floats = npt.NDArray[np.float64]

_OUTPUTS = ("label_distribution", "p_adequate", "output_tokens")
_LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ArmExtension:
    """An arm to be added to ``k`` arms.

    Attributes:
        tier: place of its tier's arm, 0 … k − 1.
        place: its own place among the ``k + 1``.
        posterior: of its P(adequate).
        transfer: from its tier's lengths to its own.
    """

    tier: int
    place: int
    posterior: ArmPosterior
    transfer: LengthTransfer

    def order(self, k: int) -> list[int]:
        """The places of the ``k`` arms and of the new one, which comes last, in the new order."""
        places = list(range(k))
        return [*places[: self.place], k, *places[self.place :]]

    def p_adequate(self, base: Floats) -> Floats:
        """P(adequate) ``(n, k + 1)`` from the ``(n, k)`` of the base bundle."""
        arm = self.posterior.p_adequate(logits(base[:, self.tier]))
        return np.column_stack([base, arm])[:, self.order(base.shape[1])]

    def output_tokens(self, base: Floats) -> Floats:
        """Length quantiles ``(n, k + 1, 3)`` from the ``(n, k, 3)`` of the base bundle."""
        arm = self.transfer.quantiles(base[:, self.tier])
        return np.concatenate([base, arm[:, None]], axis=1)[:, self.order(base.shape[1])]


def _extension(extension: ArmExtension, k: int, opset: int, ir_version: int) -> onnx.ModelProto:
    """A graph from the outputs for ``k`` arms, ``base_…``, to those for ``k + 1``."""
    graph = GraphBuilder()
    op, constant = graph.op, graph.constant
    tier = constant([extension.tier], np.int64)
    order = constant(extension.order(k), np.int64)
    one = constant(1)

    posterior = extension.posterior
    p_tier = op("Gather", "base_p_adequate", tier, axis=1)
    inside = op("Clip", p_tier, constant(LEAST_P), constant(1 - LEAST_P))
    z = op("Sub", op("Log", inside), op("Log", op("Sub", one, inside)))
    distance = op("Sub", z, constant(posterior.centre))
    tilted = op("Mul", distance, constant(posterior.mean[1]))
    mean = op("Add", op("Add", z, constant(posterior.mean[0])), tilted)
    variance_tilt = op("Mul", op("Mul", distance, distance), constant(posterior.covariance[1, 1]))
    variance_both = op("Mul", distance, constant(2 * posterior.covariance[0, 1]))
    variance = op("Add", variance_tilt, variance_both)
    variance = op("Add", variance, constant(posterior.covariance[0, 0]))
    widened = op("Add", op("Mul", variance, constant(np.pi / 8)), one)
    p_arm = op("Sigmoid", op("Div", mean, op("Sqrt", widened)))
    p_all = op("Concat", "base_p_adequate", p_arm, axis=1)
    op("Gather", p_all, order, name="p_adequate", axis=1)
    add_label_distribution(graph, k + 1)

    logs = op("Log", op("Gather", "base_output_tokens", tier, axis=1))
    median = op("Gather", logs, constant([0], np.int64), axis=2)
    stretched = op("Mul", op("Sub", logs, median), constant(extension.transfer.widths))
    log_tokens = op("Add", op("Add", median, constant(extension.transfer.shift)), stretched)
    arm_tokens = op("Exp", op("Max", log_tokens, constant(0)))
    tokens_all = op("Concat", "base_output_tokens", arm_tokens, axis=1)
    op("Gather", tokens_all, order, name="output_tokens", axis=1)
    return graph.model(
        "one_more_arm",
        [
            tensor("base_p_adequate", "batch", k),
            tensor("base_output_tokens", "batch", k, len(LEVELS)),
        ],
        [
            tensor("label_distribution", "batch", k + 2),
            tensor("p_adequate", "batch", k + 1),
            tensor("output_tokens", "batch", k + 1, len(LEVELS)),
        ],
        opset=opset,
        ir_version=ir_version,
    )


def extended_graph(classifier: bytes, extension: ArmExtension) -> bytes:
    """``classifier.onnx`` with one more arm.

    Args:
        classifier: of a bundle with ``k`` arms.
        extension: the arm.

    Returns:
        A graph with the same inputs, and outputs for ``k + 1`` arms.
    """
    before = onnx.load_from_string(classifier)
    shapes = {
        one.name: [side.dim_value for side in one.type.tensor_type.shape.dim]
        for one in before.graph.output
    }
    k = shapes["p_adequate"][1]
    opset = next(one.version for one in before.opset_import if not one.domain)
    added = _extension(extension, k, opset, before.ir_version)
    # Names inside the base graph get a prefix; its inputs keep their names.
    parent = compose.add_prefix(before, "before_", rename_inputs=False)
    merged = compose.merge_models(
        parent,
        added,
        io_map=[
            ("before_p_adequate", "base_p_adequate"),
            ("before_output_tokens", "base_output_tokens"),
        ],
        outputs=list(_OUTPUTS),
        producer_name=before.producer_name,
    )
    # The merge annotates shapes, inputs included; the next extension would rename them.
    del merged.graph.value_info[:]
    # The merge lists the same operators once for each half.
    del merged.opset_import[:]
    merged.opset_import.extend(before.opset_import)
    checker.check_model(merged)
    return bytes(merged.SerializeToString())


def check_extended_graph(
    before: bytes,
    after: bytes,
    extension: ArmExtension,
    embeddings: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    token_ids: Sequence[Sequence[int]] | None,
) -> float:
    """Run both graphs on real rows, one at a time as serving does, against numpy.

    Args:
        before: the graph with ``k`` arms.
        after: the graph with ``k + 1``.
        extension: the arm.
        embeddings: float32 ``(n, d)``, n ≥ 1.
        features: float32 ``(n, f)``.
        token_ids: of each of the ``n`` prompts; ``None`` where the graph reads no words.

    Returns:
        The largest absolute difference of a probability.

    Raises:
        BadArtifact: it exceeds :data:`classifier_graph.TOLERANCE`, or a length differs by more
            than 1 in 1,000.
    """
    old, new = session(before), session(after)
    worst = 0.0
    for row in range(len(embeddings)):
        given = {"embedding": embeddings[row : row + 1], "features": features[row : row + 1]}
        if token_ids is not None:
            given["token_ids"] = np.asarray(token_ids[row], dtype=np.int64)
        base_p, base_tokens = (x.astype(np.float64) for x in old.run(list(_OUTPUTS[1:]), given))
        labels, adequate, tokens = new.run(list(_OUTPUTS), given)
        expected = extension.p_adequate(base_p)
        worst = max(
            worst,
            float(np.abs(adequate - expected).max()),
            float(np.abs(labels - label_distribution(expected)).max()),
        )
        same = np.allclose(tokens, extension.output_tokens(base_tokens), rtol=_LENGTH_TOLERANCE)
        if not same or not worst <= TOLERANCE:
            raise BadArtifact(
                f"{CLASSIFIER} with the new arm does not compute what was learnt (largest difference "
                f"{worst:.2g}, allowed {TOLERANCE:g}); nothing was written, please report this",
                reason="GRAPH_DIFFERS",
                field=CLASSIFIER,
            )
    return worst
