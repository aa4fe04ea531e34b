"""Tables shaped as RouterBench's: one row per prompt, and per model its quality, cost and answer.

A model is a column ``NAME`` (quality 0..1) with ``NAME|total_cost`` (USD) or ``NAME|model_response`` beside
it. ``prompt`` is required; ``eval_name`` becomes the category. RouterBench itself comes as a pickle, which
is not read: a pickle can run code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.histories.history import BadRow
from training.histories.log_import.log_rows import rows_of
from training.histories.log_import.row_adapters import (
    AdaptedRow,
    ExcludedRow,
    LoggedAttempt,
    Options,
    known,
)

__all__ = ["adapted_rows"]

_COST, _ANSWER = "|total_cost", "|model_response"


def _models(row: Mapping[str, Any]) -> list[str]:
    """The models of the table, in the order of its columns."""
    return [name for name in row if f"{name}{_COST}" in row or f"{name}{_ANSWER}" in row]


def _text(prompt: object) -> object:
    """The prompt; RouterBench writes some prompts as a Python list of texts."""
    if isinstance(prompt, str) and prompt[:1] == "[" and prompt[-1:] == "]":
        try:
            parts = ast.literal_eval(prompt)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return prompt
        if isinstance(parts, list) and parts and all(isinstance(piece, str) for piece in parts):
            return "\n\n".join(parts)
    return prompt


def _attempts(
    number: int, row: Mapping[str, Any], models: Sequence[str]
) -> Iterator[LoggedAttempt | ExcludedRow]:
    text = _text(row.get("prompt"))
    for model in models:
        quality, answer = known(row.get(model)), known(row.get(f"{model}{_ANSWER}"))
        if quality is None and answer is None:
            yield ExcludedRow(number, f"no answer of {model}")
            continue
        values: dict[str, Any] = {
            "prompt": text,
            "model": model,
            "quality": float(quality) if isinstance(quality, bool) else quality,
            "cost_usd": known(row.get(f"{model}{_COST}")),
            "category": known(row.get("eval_name")),
            "source": "routerbench",
        }
        names = {"quality": model, "cost_usd": f"{model}{_COST}"}
        yield LoggedAttempt(number, values, str(answer or ""), names)


def adapted_rows(sources: Sequence[str], options: Options) -> Iterator[tuple[str, AdaptedRow]]:
    """Attempts from wide tables.

    Raises:
        InvalidInput: a file cannot be read.
    """
    del options  # the columns name the models
    for source in sources:
        for number, row in rows_of(Path(source)):
            if isinstance(row, BadRow):
                yield source, row
            elif not (models := _models(row)):
                reason = f"is in no column: no NAME{_COST} or NAME{_ANSWER} beside a NAME"
                yield source, BadRow(number, "model", reason)
            else:
                yield from ((source, each) for each in _attempts(number, row, models))
