"""A classifier with parts that no fit has any more still says what it said.

``four_heads.onnx`` was written while the heads included the nearest training prompts, and beta calibration
and a shift per script came after the stack. ``four_heads.json`` holds the inputs of a prompt in each script
with the P(adequate) that the fit of that time computed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from router.classifier.bundle import Classifier

GOLDEN = Path(__file__).parent / "classifiers"


def test_neighbours_curves_and_shifts_are_served_as_before() -> None:
    prompts = json.loads((GOLDEN / "four_heads.json").read_text(encoding="utf-8"))
    graph = (GOLDEN / "four_heads.onnx").read_bytes()
    classifier = Classifier.load(graph, len(prompts[0]["features"]))
    assert not classifier.reads_tokens
    for prompt in prompts:
        embedding, features = (
            np.array(prompt[name], dtype=np.float32) for name in ("embedding", "features")
        )
        found = classifier.outputs(embedding, features, ())
        assert found.p_adequate == pytest.approx(prompt["p_adequate"], abs=1e-5)
        np.testing.assert_allclose(found.output_tokens, [[10, 20, 30], [15, 30, 60]], rtol=1e-4)
