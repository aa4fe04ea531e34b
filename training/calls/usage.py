"""What a call used: the endpoint's report where it can be believed, our own count where it cannot.

A report is not believed where it is absent, not a whole number, negative, above what the call allows, or
clearly below our count of the visible text. Every doubt is kept, so that it can be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.core.types import TokenCount
from training.histories.output_usage import detail_of, reported_output, whole_number

__all__ = ["STOP_TOKENS", "TEMPLATE_TOKENS", "CallBounds", "Usage", "usage_of"]

TEMPLATE_TOKENS = 256
"""Input tokens that a model's chat template may add to what was sent: a date, a role, a default instruction.
Templates of open models add about 40."""

STOP_TOKENS = 2
"""Output tokens beyond the limit that an endpoint may count: the one that ends an answer, and its kind."""

_EXACT_SHARE = (2, 3)
_INEXACT_SHARE = (1, 2)
"""Least share of our count that a report must reach. Tokenizers of other families make more tokens than
``o200k_base`` of most texts and down to four fifths of some; a name may stand for another model; and a report
that is a little low costs nobody anything. Half of the visible text is no accident."""
_INPUT_SHARE = (1, 8)
"""The same for input, of which endpoints may leave out the chat format and what they have in their cache."""


@dataclass(frozen=True, slots=True)
class CallBounds:
    """What a call can use at most.

    Attributes:
        input: tokens of what is sent, counted for its model; ``worst`` includes :data:`TEMPLATE_TOKENS`.
        limit: output tokens, hidden reasoning included, that the call is sent with, ≥ 1.
    """

    input: TokenCount
    limit: int

    @property
    def output_worst(self) -> int:
        """Output tokens that may be billed at most."""
        return self.limit + STOP_TOKENS


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, and what of them was believed.

    Attributes:
        input_tokens: reported, else counted.
        output_tokens: reported, hidden reasoning included; else those of the visible text, counted.
        reasoning_tokens: reported part of ``output_tokens``; ``None`` where nothing was reported.
        cached_input_tokens: reported part of ``input_tokens``, 0 where nothing was reported.
        billed_input: what the provider may bill at most: as reported, else the bound of the call.
        billed_output: likewise.
        doubts: why a report was not believed, such as ``output tokens not reported``; empty: it was.
        over_limit: the visible text itself is longer than the call allows: the limit was ignored.
    """

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int | None
    cached_input_tokens: int
    billed_input: int
    billed_output: int
    doubts: tuple[str, ...]
    over_limit: bool


def _believed(
    name: str, value: object, least: int, most: int, beneath: str
) -> tuple[int | None, tuple[str, ...]]:
    if value is None:
        return None, (f"{name} tokens not reported",)
    found = whole_number(value)
    if found is None:
        return None, (f"{name} tokens not a whole number",)
    if found < 0:
        return None, (f"{name} tokens negative",)
    if found > most:
        return None, (f"{name} tokens above what the call allows",)
    if found < least:
        return None, (f"{name} tokens below those of {beneath}",)
    return found, ()


def _share(count: TokenCount, share: tuple[int, int]) -> int:
    return count.tokens * share[0] // share[1]


def _least(count: TokenCount) -> int:
    return _share(count, _EXACT_SHARE if count.exact else _INEXACT_SHARE)


def _part(value: object, whole: int | None) -> int | None:
    """A reported part of a believed number; ``None`` where it cannot be one."""
    found = whole_number(value)
    return found if found is not None and whole is not None and 0 <= found <= whole else None


def usage_of(reported: object, visible: TokenCount, bounds: CallBounds) -> Usage:
    """Decide what a call used.

    Args:
        reported: the object ``usage`` of the reply, whatever it holds; ``None``: there was none.
        visible: the text of the answer, counted for its model.
        bounds: of the call.
    """
    given: Mapping[str, Any] = reported if isinstance(reported, Mapping) else {}
    counted = bounds.input
    read, doubts = _believed(
        "input",
        given.get("prompt_tokens"),
        _share(counted, _INPUT_SHARE),
        counted.worst,
        "the prompt",
    )
    whole, reasoning = reported_output(given)
    made, more = _believed(
        "output", whole, _least(visible), bounds.output_worst, "the visible answer"
    )
    cached = _part(detail_of(given, "prompt_tokens_details", "cached_tokens"), read)
    over = made is None and _least(visible) > bounds.output_worst
    unbelieved = visible.tokens if over else bounds.output_worst
    return Usage(
        input_tokens=counted.tokens if read is None else read,
        output_tokens=visible.tokens if made is None else made,
        reasoning_tokens=_part(reasoning, made),
        cached_input_tokens=cached or 0,
        billed_input=counted.worst if read is None else read,
        billed_output=unbelieved if made is None else made,
        doubts=doubts + more,
        over_limit=over,
    )
