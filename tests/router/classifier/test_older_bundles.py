"""A bundle reads the features that it was fitted on: new features are only ever appended."""

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from router.classifier.bundle import load_bundle
from router.classifier.features.lexical import FEATURES, lexical_features
from router.classifier.manifest import CLASSIFIER
from router.core.errors import BadArtifact
from router.files import sha256_of
from router.paths import DEFAULT_BUNDLE, ENCODERS

FEWER = FEATURES.index("largest_number")
"""How many features the older bundle reads."""
GREETING = "Good morning!"


def altered(folder: Path, features: list[str], graph: bytes | None = None) -> Path:
    """The default bundle with other features in its manifest, and another graph."""
    made = folder / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, made)
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["features"] = features
    if graph is not None:
        (made / CLASSIFIER).write_bytes(graph)
        manifest["files"][CLASSIFIER] = sha256_of(graph)
    (made / "manifest.json").write_text(json.dumps(manifest))
    return made


def of_fewer_features() -> bytes:
    """The graph of the default bundle, which takes the first features only; the others are a greeting's."""
    graph = onnx.load(DEFAULT_BUNDLE / CLASSIFIER)
    (given,) = [one for one in graph.graph.input if one.name == "features"]
    count = given.type.tensor_type.shape.dim[1].dim_value
    given.type.tensor_type.shape.dim[1].dim_value = FEWER
    for node in graph.graph.node:
        node.input[:] = ["all_features" if name == "features" else name for name in node.input]
    rest = lexical_features(GREETING)[None, FEWER:count]
    graph.graph.initializer.append(onnx.numpy_helper.from_array(rest, "rest"))
    joined: Any = helper.make_node("Concat", ["features", "rest"], ["all_features"], axis=1)
    graph.graph.node.insert(0, joined)
    return bytes(graph.SerializeToString())


def test_a_bundle_of_fewer_features_scores(tmp_path: Path) -> None:
    bundle = load_bundle(altered(tmp_path, list(FEATURES[:FEWER]), of_fewer_features()), ENCODERS)
    today = load_bundle(DEFAULT_BUNDLE, ENCODERS)
    before, now = bundle.score(GREETING).p_adequate, today.score(GREETING).p_adequate
    assert before == pytest.approx(now, abs=1e-6)
    counting = "Why did the 300 defeat 20000 in 1884?"
    assert bundle.score(counting).p_adequate != today.score(counting).p_adequate


@pytest.mark.parametrize(
    "features",
    [
        [*FEATURES, "of_tomorrow"],
        [FEATURES[1], FEATURES[0], *FEATURES[2:]],
        list(FEATURES[1:]),
    ],
)
def test_features_that_this_release_does_not_have_are_refused(
    tmp_path: Path, features: list[str]
) -> None:
    with pytest.raises(BadArtifact, match="train the bundle again") as caught:
        load_bundle(altered(tmp_path, features), ENCODERS)
    assert caught.value.reason == "FEATURES_DIFFER"
