"""The reference prompts of a bundle: what is written is read again, and damage is one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from router.classifier.bundle import load_bundle
from router.classifier.reference_sample import REFERENCE_FILE, ReferenceSample
from router.core.errors import BadArtifact
from router.paths import DEFAULT_BUNDLE, ENCODERS

SAMPLE = ReferenceSample(
    np.array([[1.25, 0.123456], [0.0, 7.0]], dtype=np.float32),
    np.array([[0.1234564, 0.5], [0.0, 1.0]]),
)


def test_features_keep_five_decimals_and_scores_six() -> None:
    assert json.loads(SAMPLE.to_json()) == {
        "features": [[1.25, 0.12346], [0.0, 7.0]],
        "p_adequate": [[0.123456, 0.5], [0.0, 1.0]],
    }


def test_what_was_read_is_written_again_byte_for_byte() -> None:
    content = SAMPLE.to_json()
    assert ReferenceSample.from_json(content, 2, file="b/reference.json").to_json() == content


def test_the_sample_of_the_shipped_bundle_is_written_again_byte_for_byte() -> None:
    content = (DEFAULT_BUNDLE / REFERENCE_FILE).read_bytes()
    bundle = load_bundle(DEFAULT_BUNDLE, ENCODERS)
    read = ReferenceSample.from_json(content, len(bundle.manifest.arms), file=REFERENCE_FILE)
    assert read.features.shape == (1000, bundle.classifier.features)
    assert read.to_json() == content


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "p_adequate is not a table of 2 arms"),
        (b"[]", "p_adequate is not a table of 2 arms"),
        (b'{"features": [[1]]}', "p_adequate is not a table of 2 arms"),
        (b'{"features": [], "p_adequate": []}', "p_adequate is not a table of 2 arms"),
        (b'{"features": [[1]], "p_adequate": [[0.5]]}', "p_adequate is not a table of 2 arms"),
        (b'{"p_adequate": [[0.5, 0.6]]}', "features is not a table of 1 prompts"),
        (
            b'{"features": [[1], [2]], "p_adequate": [[0, 1]]}',
            "features is not a table of 1 prompts",
        ),
    ],
)
def test_damage_is_one_line_with_the_file_and_the_remedy(content: bytes, problem: str) -> None:
    with pytest.raises(BadArtifact) as told:
        ReferenceSample.from_json(content, 2, file="b/reference.json")
    assert told.value.message.startswith(f"b/reference.json: {problem}; train the bundle again")
    assert "\n" not in told.value.message
