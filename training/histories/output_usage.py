"""The output that an endpoint of OpenAI's kind reports: all of it, and the hidden reasoning in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["detail_of", "reported_output", "whole_number"]


def whole_number(value: object) -> int | None:
    """A whole number, of any sign; ``None`` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def detail_of(usage: Mapping[str, Any], name: str, part: str) -> object:
    """A value of an object within a report of usage; ``None`` where it has none.

    Args:
        usage: the report.
        name: of the object, such as ``completion_tokens_details``.
        part: of the value.
    """
    details = usage.get(name)
    return details.get(part) if isinstance(details, Mapping) else None


def reported_output(usage: Mapping[str, Any]) -> tuple[object, int | None]:
    """The whole output and the hidden reasoning in it, tokens; ``None`` where it is not reported.

    Some endpoints leave hidden reasoning out of the output, and only the total has it.

    Args:
        usage: of a chat completion (``completion_tokens`` …) or of the Responses API (``output_tokens`` …).
    """
    chat = "completion_tokens" in usage
    output_name, input_name = (
        ("completion_tokens", "prompt_tokens") if chat else ("output_tokens", "input_tokens")
    )
    output = usage.get(output_name)
    reasoning = whole_number(detail_of(usage, f"{output_name}_details", "reasoning_tokens"))
    total, given = (whole_number(usage.get(name)) for name in ("total_tokens", input_name))
    made = whole_number(output)
    if total is None or given is None or made is None or min(given, made) < 0:
        return output, reasoning
    beside = total - given - made
    if beside <= 0:
        return output, reasoning
    return made + beside, max(beside, reasoning) if reasoning else beside
