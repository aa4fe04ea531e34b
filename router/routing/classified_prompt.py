"""A prompt as the first stage of the classifier sees it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from router.classifier.bundle import Bundle
from router.classifier.features.asked_length import asked_by
from router.classifier.features.lexical import lexical_features
from router.classifier.task_in_hand import task_in_hand
from router.core.asked_length import AskedLength
from router.core.types import Prompt, Score
from router.telemetry.trace import stage

__all__ = ["ClassifiedPrompt", "classified"]


class ClassifiedPrompt(NamedTuple):
    """What the first stage finds; shared between calls, and never written.

    Attributes:
        features: lexical, float32 ``(len(FEATURES),)``.
        embedding: by the first encoder, float32 ``(dimensions,)``.
        score: of the reading that counts.
        reading: which of the readings of the task in hand that is.
    """

    features: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    score: Score
    reading: int


def classified(bundle: Bundle, prompt: Prompt) -> ClassifiedPrompt:
    """The hardest reading of the task in hand."""
    with stage("features"):
        readings, asked = task_in_hand(prompt).readings, asked_by(prompt)
    found = [_read(bundle, text, asked, place) for place, text in enumerate(readings)]
    return max(found, key=lambda one: one.score.complexity)


def _read(bundle: Bundle, text: str, asked: AskedLength, place: int) -> ClassifiedPrompt:
    with stage("features"):
        features = lexical_features(text)
    with stage("encode"):
        ids = bundle.encoder.word_ids(text)
        embedding = bundle.encoder.embed_ids(bundle.encoder.window(ids))
    with stage("classify"):
        score = bundle.classify(embedding, features, ids, asked)
    # They are remembered, and shared between calls.
    for each in (features, embedding):
        each.setflags(write=False)
    return ClassifiedPrompt(features, embedding, score, place)
