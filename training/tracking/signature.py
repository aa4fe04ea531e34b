"""What ``classifier.onnx`` takes and gives, as MLflow describes models: a signature and an example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from router.classifier.features.lexical import lexical_features
from router.classifier.manifest import CLASSIFIER

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

__all__ = ["example_inputs", "signature_of", "write_model_description"]

EXAMPLE = "input_example.json"
EXAMPLE_TEXT = "Example. This is no prompt of anybody."
"""Whose lexical features the example has; its vector is constant."""
_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


def _session(directory: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        (directory / CLASSIFIER).read_bytes(), providers=["CPUExecutionProvider"]
    )


def signature_of(directory: Path) -> ModelSignature:
    """The inputs and outputs of a bundle's classifier; sizes that vary are -1."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(values: list[Any]) -> Schema:
        return Schema(
            [
                TensorSpec(
                    np.dtype(_TYPES[one.type]),
                    tuple(size if isinstance(size, int) else -1 for size in one.shape),
                    one.name,
                )
                for one in values
            ]
        )

    session = _session(directory)
    return ModelSignature(schema(session.get_inputs()), schema(session.get_outputs()))


def example_inputs(directory: Path) -> dict[str, npt.NDArray[Any]]:
    """Inputs that a bundle's classifier takes, made up: one row of each, by name."""
    made: dict[str, npt.NDArray[Any]] = {}
    for one in _session(directory).get_inputs():
        width = one.shape[-1]
        if one.name == "features":
            made[one.name] = lexical_features(EXAMPLE_TEXT)[None, :width]
        elif _TYPES[one.type] is np.int64:
            made[one.name] = np.arange(1, 9, dtype=np.int64)
        else:
            made[one.name] = np.full((1, width), width**-0.5, dtype=np.float32)
    return made


def write_model_description(
    directory: Path, target: Path, run_id: str, about: dict[str, Any]
) -> bool:
    """Write ``MLmodel`` and ``input_example.json``, by which MLflow's pages show a bundle as a model.

    Args:
        directory: of the bundle.
        target: folder for the two files.
        run_id: of the run that logs the bundle.
        about: what MLflow keeps of the bundle, as its flavour ``mitsumori``.

    Returns:
        Whether the files were written: not where the directory holds no graph that can be read.
    """
    from mlflow.models import Model

    try:
        example = {name: value.tolist() for name, value in example_inputs(directory).items()}
        signature = signature_of(directory)
    except Exception:  # noqa: BLE001 -- onnxruntime raises its own types for what is no graph
        return False
    (target / EXAMPLE).write_text(json.dumps({"inputs": example}) + "\n", encoding="utf-8")
    Model(
        artifact_path="bundle",
        run_id=run_id,
        signature=signature,
        flavors={"mitsumori": about},
        saved_input_example_info={
            "artifact_path": EXAMPLE,
            "type": "ndarray",
            "format": "tf-serving",
        },
    ).save(str(target / "MLmodel"))
    return True
