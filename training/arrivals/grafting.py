"""One more arm in the classifier of a bundle: graph surgery with standard operators.

Only the inputs and outputs of the bundle's graph are relied on, whatever lies between them: the outputs go
into a second graph, which adds a column for the arm at its place on the ladder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import checker, compose, numpy_helper, parser

from router.classifier.bundle import CLASSIFIER
from router.classifier.encoder import session
from router.core.errors import BadArtifact
from training.arrivals.arriving import LEAST_P, Belief, logits
from training.arrivals.stretching import Stretch
from training.bundling.export import TOLERANCE, label_distribution

__all__ = ["Graft", "check_grafted", "grafted"]

Floats = npt.NDArray[np.float64]

_TOLD = ("label_distribution", "p_adequate", "output_tokens")
_LENGTH_TOLERANCE = 1e-3

# told: P(adequate) (batch, k); lasted: quantiles of the output length (batch, k, 3), of the bundle as it was.
_TEXT = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
one_more_arm (float[batch,{k}] told, float[batch,{k},3] lasted)
  => (float[batch,{labels}] label_distribution, float[batch,{arms}] p_adequate,
      float[batch,{arms},3] output_tokens)
{{
  p_tier = Gather <axis = 1> (told, tier)
  inside = Clip (p_tier, least, most)
  outside = Sub (one, inside)
  log_inside = Log (inside)
  log_outside = Log (outside)
  z = Sub (log_inside, log_outside)

  far = Sub (z, centre)
  far_squared = Mul (far, far)
  tilted = Mul (far, tilt)
  shifted = Add (z, shift)
  middle = Add (shifted, tilted)

  variance_tilt = Mul (far_squared, tilt_variance)
  variance_both = Mul (far, twice_covariance)
  variance_sum = Add (variance_tilt, variance_both)
  variance = Add (variance_sum, shift_variance)
  scaled = Mul (variance, eighth_of_pi)
  widened = Add (scaled, one)
  divisor = Sqrt (widened)
  logit = Div (middle, divisor)
  p_arm = Sigmoid (logit)
  p_all = Concat <axis = 1> (told, p_arm)
  p_adequate = Gather <axis = 1> (p_all, order)

  across = Unsqueeze (p_adequate, second)
  up_to = Mul (across, lower_triangle)
  reached = ReduceMax <axes = [2], keepdims = 0> (up_to)
  upper = Pad (reached, after, one)
  lower = Pad (reached, before, zero)
  label_distribution = Sub (upper, lower)

  tier_tokens = Gather <axis = 1> (lasted, tier)
  logs = Log (tier_tokens)
  median = Gather <axis = 2> (logs, first)
  distances = Sub (logs, median)
  stretched = Mul (distances, widths)
  moved = Add (median, length_shift)
  log_tokens = Add (moved, stretched)
  positive = Max (log_tokens, zero)
  arm_tokens = Exp (positive)
  tokens_all = Concat <axis = 1> (lasted, arm_tokens)
  output_tokens = Gather <axis = 1> (tokens_all, order)
}}
"""


@dataclass(frozen=True)
class Graft:
    """An arm to be added to ``k`` arms.

    Attributes:
        tier: place of its tier's arm, 0 … k − 1.
        place: its own place among the ``k + 1``.
        belief: what is known of its P(adequate).
        stretch: what is known of its lengths.
    """

    tier: int
    place: int
    belief: Belief
    stretch: Stretch

    def order(self, k: int) -> list[int]:
        """The places of the ``k`` arms and of the new one, which comes last, in the new order."""
        places = list(range(k))
        return [*places[: self.place], k, *places[self.place :]]

    def p_adequate(self, told: Floats) -> Floats:
        """``(n, k + 1)`` from the ``(n, k)`` of the bundle as it was."""
        arm = self.belief.p_adequate(logits(told[:, self.tier]))
        return np.column_stack([told, arm])[:, self.order(told.shape[1])]

    def output_tokens(self, lasted: Floats) -> Floats:
        """``(n, k + 1, 3)`` from the ``(n, k, 3)`` of the bundle as it was."""
        arm = self.stretch.quantiles(lasted[:, self.tier])
        return np.concatenate([lasted, arm[:, None]], axis=1)[:, self.order(lasted.shape[1])]


def _constants(graft: Graft, k: int) -> Mapping[str, npt.NDArray[Any]]:
    belief = graft.belief
    floats: Mapping[str, npt.ArrayLike] = {
        "zero": 0,
        "one": 1,
        "least": LEAST_P,
        "most": 1 - LEAST_P,
        "centre": belief.centre,
        "shift": belief.mean[0],
        "tilt": belief.mean[1],
        "shift_variance": belief.covariance[0, 0],
        "tilt_variance": belief.covariance[1, 1],
        "twice_covariance": 2 * belief.covariance[0, 1],
        "eighth_of_pi": np.pi / 8,
        # Row j of the triangle lets through the arms up to j.
        "lower_triangle": np.tril(np.ones((k + 1, k + 1))),
        "length_shift": graft.stretch.shift,
        "widths": graft.stretch.widths,
    }
    integers: Mapping[str, Sequence[int]] = {
        "tier": [graft.tier],
        "order": graft.order(k),
        "first": [0],
        "second": [1],
        "before": [0, 1, 0, 0],
        "after": [0, 0, 0, 1],
    }
    return {name: np.asarray(value, np.float32) for name, value in floats.items()} | {
        name: np.asarray(value, np.int64) for name, value in integers.items()
    }


def grafted(classifier: bytes, graft: Graft) -> bytes:
    """``classifier.onnx`` with one more arm.

    Args:
        classifier: of a bundle with ``k`` arms.
        graft: the arm.

    Returns:
        A graph with the same inputs, and outputs for ``k + 1`` arms.
    """
    before = onnx.load_from_string(classifier)
    shapes = {
        one.name: [side.dim_value for side in one.type.tensor_type.shape.dim]
        for one in before.graph.output
    }
    k = shapes["p_adequate"][1]
    text = _TEXT.format(
        k=k,
        arms=k + 1,
        labels=k + 2,
        ir_version=before.ir_version,
        opset=next(one.version for one in before.opset_import if not one.domain),
    )
    added = parser.parse_model(text)
    added.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in _constants(graft, k).items()
    )
    # Its own names make room; what it is asked for keeps its name.
    parent = compose.add_prefix(before, "before_", rename_inputs=False)
    merged = compose.merge_models(
        parent,
        added,
        io_map=[("before_p_adequate", "told"), ("before_output_tokens", "lasted")],
        outputs=list(_TOLD),
        producer_name=before.producer_name,
    )
    # Shapes that the merge noted for everything, inputs included, would be renamed by the next graft.
    del merged.graph.value_info[:]
    # The merge lists the same operators once for each half.
    del merged.opset_import[:]
    merged.opset_import.extend(before.opset_import)
    checker.check_model(merged)
    return bytes(merged.SerializeToString())


def check_grafted(
    before: bytes,
    after: bytes,
    graft: Graft,
    embeddings: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    token_ids: Sequence[Sequence[int]] | None,
) -> float:
    """Run both graphs on real rows, one at a time as serving does, against numpy.

    Args:
        before: the graph with ``k`` arms.
        after: the graph with ``k + 1``.
        graft: the arm.
        embeddings: float32 ``(n, d)``, n ≥ 1.
        features: float32 ``(n, f)``.
        token_ids: of each of the ``n`` prompts; ``None`` where the graph reads no words.

    Returns:
        The largest absolute difference of a probability.

    Raises:
        BadArtifact: it exceeds :data:`training.bundling.export.TOLERANCE`, or a length differs by more
            than 1 in 1,000.
    """
    old, new = session(before), session(after)
    worst = 0.0
    for row in range(len(embeddings)):
        given = {"embedding": embeddings[row : row + 1], "features": features[row : row + 1]}
        if token_ids is not None:
            given["token_ids"] = np.asarray(token_ids[row], dtype=np.int64)
        told, lasted = (x.astype(np.float64) for x in old.run(list(_TOLD[1:]), given))
        labels, adequate, tokens = new.run(list(_TOLD), given)
        expected = graft.p_adequate(told)
        worst = max(
            worst,
            float(np.abs(adequate - expected).max()),
            float(np.abs(labels - label_distribution(expected)).max()),
        )
        same = np.allclose(tokens, graft.output_tokens(lasted), rtol=_LENGTH_TOLERANCE)
        if not same or not worst <= TOLERANCE:
            raise BadArtifact(
                f"{CLASSIFIER} with the new arm does not compute what was learnt (largest difference "
                f"{worst:.2g}, allowed {TOLERANCE:g}); nothing was written, please report this",
                reason="GRAPH_DIFFERS",
                field=CLASSIFIER,
            )
    return worst
