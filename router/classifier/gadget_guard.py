"""The guard against gadgets: texts that are put beside a prompt to make it look harder than it is.

A small forest reads the lexical features that every prompt has anyway, and tells prompts that look composed
of foreign parts. Of such a prompt the classifier also reads the first and the last sentence alone, one of
which mostly is what is really asked, and the easiest reading counts. Honest prompts are seldom suspected.

``models/guard/`` holds ``guard.onnx`` (lexical features in, log-odds out) and ``guard.json``. What the guard
is worth is measured by ``python -m benchmarks gadgets``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from router.classifier.encoder import session
from router.classifier.features.lexical import FEATURES
from router.core.errors import BadArtifact
from router.files import MAX_TEXT_BYTES, read_bounded, read_checked
from router.paths import MODELS

__all__ = [
    "EXTREME",
    "GRAPH",
    "GUARD",
    "LEAST",
    "MANIFEST",
    "PRIOR",
    "GadgetGuard",
    "load_guard",
    "outer_sentences",
]

GUARD = MODELS / "guard"
"""The guard that ships."""
MANIFEST, GRAPH = "guard.json", "guard.onnx"
FORMAT_VERSION = 1
LEAST = 0.12
"""Complexity below which nothing is suspected: such a prompt goes to the lowest tier as it is."""
EXTREME, PRIOR = 0.9, 1.5
"""Complexity from which a prompt is suspected sooner, and by how much log-odds: few honest prompts look so
hard, and most of those with gadgets do. Chosen on examinations a to d."""
_WINDOW = 2_000
"""Characters of each end of a text in which a sentence is looked for."""
_REMEDY = "restore models/guard from the release, or make it again with `python -m training guard`"
_END = re.compile(r"\n+|(?<=[.!?])\s+|(?<=[。！？])(?=.)")


@dataclass(frozen=True, slots=True)
class GadgetGuard:
    """Tells prompts with a gadget. Thread-safe.

    Attributes:
        session: its forest.
        features: how many lexical features it reads, the first ones.
        threshold: log-odds above which a prompt is suspected.
    """

    session: ort.InferenceSession
    features: int
    threshold: float

    def log_odds(self, features: npt.NDArray[np.float32]) -> float:
        """How much more likely a text with these features has a gadget than not, as learnt; finite.

        Args:
            features: lexical, float32 ``(len(FEATURES),)``.
        """
        (told,) = self.session.run(None, {"features": features[None, : self.features]})
        return float(told[0, 0])

    def suspects(self, complexity: float, features: npt.NDArray[np.float32]) -> bool:
        """Whether a prompt looks as if it had a gadget.

        Args:
            complexity: of the whole prompt, 0..1.
            features: of the whole prompt, float32 ``(len(FEATURES),)``.
        """
        if complexity < LEAST:
            return False
        prior = PRIOR if complexity >= EXTREME else 0.0
        return self.log_odds(features) + prior > self.threshold


def outer_sentences(text: str) -> tuple[str, ...]:
    """The first and the last sentence or line of a text; none where it has one only.

    In a long text they are looked for in the first and the last characters alone.
    """
    text = text.strip()
    first = _END.search(text, 0, _WINDOW)
    if first is None:
        return ()
    begin = max(len(text) - _WINDOW, first.end())
    last = begin
    for found in _END.finditer(text, begin):
        last = found.end()
    return text[: first.start()], text[last:]


def load_guard(directory: Path = GUARD) -> GadgetGuard:
    """Load a guard. Its hash is checked before the graph is parsed.

    Raises:
        BadArtifact: a file is missing, altered, or of another format.
    """
    path = directory / MANIFEST
    values = _read(path)
    if values.get("format_version") != FORMAT_VERSION:
        raise BadArtifact(
            f"{path}, format_version: this release reads format {FORMAT_VERSION}; {_REMEDY}",
            reason="FORMAT_UNKNOWN",
            field="format_version",
        )
    count, threshold, digest = (values.get(name) for name in ("features", "threshold", "sha256"))
    if type(count) is not int or not 0 < count <= len(FEATURES):
        raise _damaged(path, "features", f"must be a whole number from 1 to {len(FEATURES)}")
    if not isinstance(threshold, float) or not math.isfinite(threshold):
        raise _damaged(path, "threshold", "must be a finite number")
    if not isinstance(digest, str):
        raise _damaged(path, "sha256", "must be a text")
    graph = read_checked(directory, {GRAPH: digest}, remedy=_REMEDY)[GRAPH]
    return GadgetGuard(session(graph), count, threshold)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(read_bounded(path, MAX_TEXT_BYTES))
    except FileNotFoundError:
        raise BadArtifact(
            f"{path} is missing; {_REMEDY}", reason="FILE_MISSING", field=str(path)
        ) from None
    except (OSError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise _damaged(path, "file", "must be a JSON object")
    return values


def _damaged(path: Path, field: str, why: str) -> BadArtifact:
    return BadArtifact(f"{path}, {field}: {why}; {_REMEDY}", field=field)
