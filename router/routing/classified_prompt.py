"""What the first stage of a bundle says of a prompt: of which of its readings, and of which part of that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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
        suspected_parts: places, among the parts of the reading, of those that the guard found to look
            like prompts with a gadget; empty: none does.
    """

    features: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    score: Score
    reading: int
    task: int | None
    suspected_parts: tuple[int, ...] = ()

    @property
    def suspected(self) -> bool:
        """Whether the guard found that it looks like one with a gadget."""
        return bool(self.suspected_parts)


def classified(bundle: Bundle, prompt: Prompt, guard: GadgetGuard | None) -> ClassifiedPrompt:
    """The hardest reading of the task in hand; of one that the guard suspects, the easiest sentence.

    A task and its changes are several messages, and so composed by nature: the guard looks at each alone.

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

    def read(text: str) -> ClassifiedPrompt:
        return _read(bundle, TaskInHand(hand.form, ((text,),)), asked, 0)

    parts = hand.parts[hardest.reading]
    suspected: tuple[int, ...] = (0,)
    if len(parts) > 1:
        alone = [read(part) for part in parts]
        suspected = tuple(
            place
            for place, one in enumerate(alone)
            if guard.suspects(one.score.complexity, one.features)
        )
        if not suspected:
            return hardest
    score = _guarded(hardest.score, parts, suspected, lambda text: read(text).score)
    return hardest._replace(score=score, suspected_parts=suspected)


def second_opinion(bundle: Bundle, prompt: Prompt, first: ClassifiedPrompt) -> Score:
    """What the second stage says of a prompt: of one that the guard suspects, of its easiest sentence.

    Args:
        bundle: of two stages.
        prompt: to read.
        first: what the first stage says of it.

    Raises:
        ValueError: the bundle has one stage.
    """
    hand, asked = task_in_hand(prompt), asked_by(prompt)
    score = bundle.score_second_stage(hand.readings[first.reading], first.features, asked)
    if not first.suspected:
        return score

    def read(text: str) -> Score:
        return bundle.score_second_stage(text, lexical_features(text), asked)

    return _guarded(score, hand.parts[first.reading], first.suspected_parts, read)


def _guarded(
    whole: Score, parts: Sequence[str], suspected: Collection[int], read: Callable[[str], Score]
) -> Score:
    """The score of the hardest part, at most the whole's; of a suspected part the easiest sentence counts.

    Args:
        whole: of all parts as one text; its lengths are kept, since the whole is answered.
        parts: of the reading, at least one.
        suspected: places of those that look like prompts with a gadget.
        read: scores a text.
    """

    def counted(place: int, part: str) -> Score:
        own = whole if len(parts) == 1 else read(part)
        sentences = outer_sentences(part) if place in suspected else ()
        return min([own, *map(read, sentences)], key=_complexity)

    hardest = max((counted(*each) for each in enumerate(parts)), key=_complexity)
    return replace(min(whole, hardest, key=_complexity), lengths=whole.lengths)


def _complexity(score: Score) -> float:
    return score.complexity


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
