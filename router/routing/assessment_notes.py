"""Reasons that a decision has because of how its prompt was read, beside those of the choice."""

from __future__ import annotations

from router.classifier.encoder import Encoder
from router.classifier.features.lexical import foreign_share
from router.core.types import Reason
from router.routing.classified_prompt import ClassifiedPrompt

__all__ = ["TOKENS_ESTIMATED", "notes_of"]

TOKENS_ESTIMATED = Reason(
    "TOKENS_ESTIMATED",
    "input tokens are an estimate: the model's own tokenizer is not available",
)
_SECOND_OPINION = Reason(
    "SECOND_OPINION",
    "the choice was close, or the first encoder does not read this script: the second stage was used",
)
_GADGET_SUSPECTED = Reason(
    "GADGET_SUSPECTED",
    "the prompt looks composed of foreign parts, as if to look harder: its easiest part was scored",
)


def notes_of(first: ClassifiedPrompt, encoder: Encoder, *, second: bool) -> tuple[Reason, ...]:
    """What there is to say of how a prompt was read.

    Args:
        first: by the first stage.
        encoder: of the stage that decides.
        second: whether that is the second one.
    """
    notes = []
    if second:
        notes.append(_SECOND_OPINION)
    if first.suspected:
        notes.append(_GADGET_SUSPECTED)
    if not encoder.reads_script(first.features):
        share = f"{foreign_share(first.features):.2f}"
        notes.append(
            Reason(
                "LANGUAGE_NOT_COVERED",
                "the encoder does not read this script: the probabilities rest on length and form",
                {"letters_outside_latin_share": share},
            )
        )
    return tuple(notes)
