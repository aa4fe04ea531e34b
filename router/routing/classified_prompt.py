"""What the first stage of a bundle says of a prompt: of which of its readings, and of which part of that."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from router.classifier.bundle import Bundle
from router.classifier.features.asked_length import asked_by
from router.classifier.features.lexical import lexical_features
from router.classifier.gadget_guard import GadgetGuard, outer_sentences
from router.classifier.task_in_hand import TaskInHand, task_in_hand
from router.core.asked_length import AskedLength
from router.core.types import Prompt, Score
from router.telemetry.trace import stage

__all__ = ["ClassifiedPrompt", "classified", "second_opinion"]


class ClassifiedPrompt(NamedTuple):
    """A prompt as the first stage sees it.

    Attributes:
        features: lexical, of the whole reading, float32 ``(len(FEATURES),)``.
        embedding: of the whole reading, float32 ``(dimensions,)``.
        score: of the part that counts; its lengths are those of the whole reading.
        reading: which of the readings of the task in hand it is.
        task: a hash of the request that the last message makes; ``None``: it goes on with an earlier one.
        suspected: whether the guard found that it looks like one with a gadget.
    """

    features: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    score: Score
    reading: int
    task: int | None
    suspected: bool = False


def classified(bundle: Bundle, prompt: Prompt, guard: GadgetGuard | None) -> ClassifiedPrompt:
    """The hardest reading of the task in hand; of one that the guard suspects, the easiest part.

    Args:
        bundle: whose first stage reads.
        prompt: to read.
        guard: against gadgets; ``None``: there is none.
    """
    with stage("features"):
        hand, asked = task_in_hand(prompt), asked_by(prompt)
    found = [_read(bundle, hand, asked, place) for place in range(len(hand.readings))]
    hardest = max(found, key=lambda one: one.score.complexity)
    if guard is None or not guard.suspects(hardest.score.complexity, hardest.features):
        return hardest
    parts = outer_sentences(hand.readings[hardest.reading])
    whole = [replace(hand, readings=(part,)) for part in parts]
    scores = [hardest.score, *(_read(bundle, part, asked, 0).score for part in whole)]
    return hardest._replace(score=_easiest(scores), suspected=True)


def second_opinion(bundle: Bundle, prompt: Prompt, first: ClassifiedPrompt) -> Score:
    """What the second stage says of a prompt: of one that the guard suspects, of its easiest part.

    Args:
        bundle: of two stages.
        prompt: to read.
        first: what the first stage says of it.

    Raises:
        ValueError: the bundle has one stage.
    """
    text, asked = task_in_hand(prompt).readings[first.reading], asked_by(prompt)
    score = bundle.score_second_stage(text, first.features, asked)
    if not first.suspected:
        return score
    others = [
        bundle.score_second_stage(part, lexical_features(part), asked)
        for part in outer_sentences(text)
    ]
    return _easiest([score, *others])


def _easiest(scores: list[Score]) -> Score:
    """The score with the least complexity, with the lengths of the first one: the whole is answered."""
    return replace(min(scores, key=lambda one: one.complexity), lengths=scores[0].lengths)


def _read(bundle: Bundle, hand: TaskInHand, asked: AskedLength, place: int) -> ClassifiedPrompt:
    text = hand.readings[place]
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
    return ClassifiedPrompt(features, embedding, score, place, hand.request(place))
