"""A builder of ONNX graphs: operators and constants in, a checked model out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import checker, helper, numpy_helper

__all__ = ["IR_VERSION", "OPSET", "GraphBuilder", "tensor"]

OPSET = 17
IR_VERSION = 8
"""Old enough for every onnxruntime since 1.14; opset 17 needs 8."""
_TREES_DOMAIN, _TREES_OPSET = "ai.onnx.ml", 3


def tensor(name: str, *shape: int | str, dtype: npt.DTypeLike = np.float32) -> onnx.ValueInfoProto:
    """An input or output of a graph.

    Args:
        name: of the tensor.
        shape: lengths, or names of lengths that vary.
        dtype: of its elements.
    """
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, list(shape))


class GraphBuilder:
    """Collects operators and constants; unnamed ones get numbers."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, npt.NDArray[Any]] = {}

    def constant(
        self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32, *, name: str | None = None
    ) -> str:
        """Keep an array.

        Args:
            value: the array.
            dtype: as which it is kept.
            name: of the constant; a name that is taken stands for the new array.

        Returns:
            Its name.
        """
        name = name or f"constant_{len(self._constants)}"
        self._constants[name] = np.asarray(value, dtype=dtype)
        return name

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operator with one output.

        Args:
            kind: the operator, such as ``Gemm``.
            inputs: names of tensors.
            name: of the output.
            **attributes: of the operator; ``domain`` names another set of operators.

        Returns:
            The name of the output.
        """
        (output,) = self.ops(
            kind, inputs, [name or f"{kind.lower()}_{len(self._nodes)}"], **attributes
        )
        return output

    def ops(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> Sequence[str]:
        """Add an operator with several outputs.

        Args:
            kind: the operator, such as ``TopK``.
            inputs: names of tensors.
            outputs: their names; ``""`` leaves one out.
            **attributes: of the operator.

        Returns:
            ``outputs``.
        """
        self._nodes.append(helper.make_node(kind, list(inputs), list(outputs), **attributes))
        return outputs

    def split(self, columns: str, sizes: Sequence[int], outputs: Sequence[str]) -> Sequence[str]:
        """Cut columns apart.

        Args:
            columns: name of a tensor ``(batch, sum of sizes)``.
            sizes: columns of each part.
            outputs: names of the parts.

        Returns:
            ``outputs``.
        """
        lengths = self.constant(sizes, np.int64, name=f"sizes_of_{columns}")
        return self.ops("Split", [columns, lengths], outputs, axis=1)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """The whole as a model, checked.

        Args:
            name: of the graph.
            inputs: of :func:`tensor`.
            outputs: of :func:`tensor`.
        """
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain == _TREES_DOMAIN for node in self._nodes):
            opsets.append(helper.make_opsetid(_TREES_DOMAIN, _TREES_OPSET))
        made = helper.make_model(
            helper.make_graph(
                self._nodes,
                name,
                list(inputs),
                list(outputs),
                [numpy_helper.from_array(array, key) for key, array in self._constants.items()],
            ),
            producer_name="mitsumori",
            opset_imports=opsets,
            ir_version=IR_VERSION,
        )
        checker.check_model(made)
        return made
