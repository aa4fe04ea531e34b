"""Graphs put together operator by operator compute what they say, and are checked."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from router.classifier.encoder import session
from training.artifacts.onnx_graph import IR_VERSION, OPSET, GraphBuilder, tensor


def doubled() -> onnx.ModelProto:
    """``y = 2 · (x + 1)``, and its first column alone."""
    graph = GraphBuilder()
    more = graph.op("Add", "x", graph.constant(1))
    graph.op("Mul", more, graph.constant(2, name="two"), name="y")
    graph.split("y", [1, 2], ["first", "rest"])
    return graph.model(
        "doubled", [tensor("x", "batch", 3)], [tensor("y", "batch", 3), tensor("first", "batch", 1)]
    )


def test_a_graph_computes_what_its_operators_say() -> None:
    x = np.array([[0, 1, 2]], dtype=np.float32)
    y, first = session(doubled().SerializeToString()).run(["y", "first"], {"x": x})
    np.testing.assert_array_equal(y, [[2, 4, 6]])
    np.testing.assert_array_equal(first, [[2]])


def test_names_that_are_not_given_are_numbers() -> None:
    made = doubled()
    assert [one.name for one in made.graph.initializer] == ["constant_0", "two", "sizes_of_y"]
    assert [one.output[0] for one in made.graph.node] == ["add_0", "y", "first"]


def test_the_versions_are_those_that_old_runtimes_read() -> None:
    made = doubled()
    assert made.ir_version == IR_VERSION == 8
    assert [(one.domain, one.version) for one in made.opset_import] == [("", OPSET)]
    assert OPSET == 17


def test_a_graph_that_is_not_one_is_refused() -> None:
    graph = GraphBuilder()
    graph.op("Add", "x", "nowhere", name="y")
    with pytest.raises(onnx.checker.ValidationError):
        graph.model("broken", [tensor("x", 1)], [tensor("y", 1)])
