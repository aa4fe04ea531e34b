"""The service's own decision log: settled decisions whose prompt was kept as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from router.decision_log.reader import Damaged, LoggedDecision, Unparsed, read_log
from router.ledger.base import HoldState
from training.histories.history import BadRow
from training.histories.log_import.row_adapters import (
    AdaptedRow,
    ExcludedRow,
    LoggedAttempt,
    Options,
)

__all__ = ["adapted_rows", "told_by"]

_TOLD = ("language", "category", "user")
"""Columns of a history that are labels of a decision where the caller gave them."""
_STATES = frozenset(state.value for state in HoldState)
_FAILED = frozenset({"error", "timeout"})
_SET = "set log_prompts to redacted or text, and import later decisions"
_KEPT = {
    "off": ("nothing of the prompt was kept", _SET),
    "hash": ("only a hash of the prompt was kept", _SET),
    "embedding": (
        "only the prompt's vector was kept, and training reads text",
        f"{_SET}; `mitsumori replay` and `python -m training drift` read vectors",
    ),
}


def told_by(labels: Mapping[str, str]) -> dict[str, str]:
    """What the labels of a decision say of its prompt: language, category and user, where they are given."""
    return {name: labels[name] for name in _TOLD if labels.get(name)}


def _attempt(row: int, found: LoggedDecision) -> AdaptedRow:
    record, usage = found.record, found.record.usage
    if found.state not in _STATES:
        return BadRow(row, "state", "is not a state of a decision")
    if found.state != "settled":
        return ExcludedRow(
            row, f"{found.state}, so no usage was reported", "settle the calls that were answered"
        )
    if usage is None or not usage.answered:
        # A failed call says nothing of how well the model answers.
        outcome = usage.outcome if usage and usage.outcome in _FAILED else "unknown outcome"
        return ExcludedRow(row, f"the call failed ({outcome})")
    text = record.classifier_text
    if text is None:
        return ExcludedRow(row, *_KEPT.get(record.prompt_log, _KEPT["off"]))
    chosen = record.chosen.model
    model = usage.model or chosen
    values: dict[str, Any] = {
        "prompt": text,
        "model": model,
        "quality": usage.quality,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        # 0 is what a caller reports who does not know it, too.
        "reasoning_tokens": usage.reasoning_tokens or None,
        "cost_usd": None if found.spent is None else found.spent / 1e9,
        "latency_s": usage.latency_s,
        "source": "decisions",
        "timestamp": found.created.isoformat(),
        # The probability of the router's choice; it does not hold where the caller used another model.
        "propensity": record.propensity if model == chosen and not record.redrawn else None,
        **dict.fromkeys(_TOLD),
        **told_by(found.labels),
    }
    return LoggedAttempt(
        row, values, found.id, {"prompt": "record.prompt", "quality": "usage.quality"}
    )


def adapted_rows(sources: Sequence[str], options: Options) -> Iterator[tuple[str, AdaptedRow]]:
    """Attempts from ledgers, or from files of ``mitsumori decisions --out``.

    Raises:
        InvalidInput, Unavailable: one cannot be read.
    """
    del options  # decisions name their models
    for source in sources:
        for row, found in enumerate(read_log(source), start=1):
            match found:
                case Damaged(column, reason):
                    yield source, BadRow(row, column, reason)
                case Unparsed(reason=reason, remedy=remedy):
                    yield source, ExcludedRow(row, reason, remedy)
                case _:
                    yield source, _attempt(row, found)
