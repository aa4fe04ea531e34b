"""LiteLLM's spend logs: the table LiteLLM_SpendLogs, exported as JSON, CSV or Parquet.

The columns read are ``model``, ``messages`` (or those in ``proxy_server_request``), ``response``, ``spend``,
``prompt_tokens``, ``completion_tokens``, ``startTime``, ``endTime``, ``status``, ``call_type``,
``cache_hit``, ``end_user`` or ``user``, and ``quality`` in ``metadata``, if any. Hidden reasoning is in the
usage of ``response`` or of ``metadata``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from training.histories.history import BadRow
from training.histories.log_import.log_rows import rows_of
from training.histories.log_import.openai import answer_of
from training.histories.log_import.row_adapters import (
    AdaptedRow,
    ExcludedRow,
    LoggedAttempt,
    Options,
    first_given,
    known,
    messages_text,
    moment_text,
)
from training.histories.output_usage import reported_output

__all__ = ["adapted_rows"]

_CUT = "litellm_truncated"
"""LiteLLM writes this into the middle of a text that it truncates."""
_WORD = re.compile(r"[a-z_]{1,40}")
"""A call type as LiteLLM writes it; anything else may be a prompt in a shifted column, and is not shown."""
_CHATS = ("completion", "responses", "anthropic_messages", "generate_content")
_STORE = "set general_settings.store_prompts_in_spend_logs: true in LiteLLM's config"
_NAMES = {
    "prompt": "messages",
    "cost_usd": "spend",
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "timestamp": "startTime",
    "quality": "metadata.quality",
}


def _latency(row: Mapping[str, Any]) -> float | None:
    """Seconds from start to end; ``None`` where one is missing, or the end is before the start."""
    moments = []
    for name in ("startTime", "endTime"):
        try:
            moments.append(datetime.fromisoformat(moment_text(row.get(name)) or ""))
        except ValueError:
            return None
    seconds = (moments[1] - moments[0]).total_seconds()
    return seconds if seconds >= 0 else None


def _quality(row: Mapping[str, Any]) -> Any:
    metadata = first_given(row, "metadata")
    if not isinstance(metadata, dict):
        return None
    given = metadata.get("spend_logs_metadata")
    return metadata.get("quality", given.get("quality") if isinstance(given, dict) else None)


def _output(row: Mapping[str, Any]) -> dict[str, Any]:
    """All output tokens, and the hidden reasoning in them where the reply or the metadata tells it."""
    response, metadata = first_given(row, "response"), first_given(row, "metadata")
    for kept, name in ((response, "usage"), (metadata, "usage_object")):
        usage = kept.get(name) if isinstance(kept, dict) else None
        if isinstance(usage, dict) and (found := reported_output(usage))[1] is not None:
            return {"output_tokens": found[0], "reasoning_tokens": found[1]}
    return {"output_tokens": known(row.get("completion_tokens"))}


def _failed(row: Mapping[str, Any]) -> bool:
    metadata = first_given(row, "metadata")
    status = row.get("status") or (metadata.get("status") if isinstance(metadata, dict) else None)
    return status == "failure"


def _messages(row: Mapping[str, Any]) -> Any:
    asked = first_given(row, "proxy_server_request")
    inner = first_given(asked, "messages", "input") if isinstance(asked, dict) else None
    return first_given(row, "messages") or inner


def _attempt(number: int, row: Mapping[str, Any], options: Options) -> AdaptedRow:
    kind = str(row.get("call_type") or "completion")
    if not any(chat in kind for chat in _CHATS):
        return ExcludedRow(number, f"no chat ({kind})" if _WORD.fullmatch(kind) else "no chat")
    if _failed(row):
        return ExcludedRow(number, "the call failed")
    messages = _messages(row)
    if messages is None:
        return ExcludedRow(number, "LiteLLM kept no prompt", _STORE)
    text = messages_text(messages)
    if _CUT in text:
        return ExcludedRow(
            number,
            "LiteLLM kept only a part of the prompt",
            "raise MAX_STRING_LENGTH_PROMPT_IN_DB in LiteLLM's environment",
        )
    response = first_given(row, "response")
    # A cached answer is the model's; its price and speed are the cache's.
    cached = str(row.get("cache_hit", "")).lower() == "true"
    values: dict[str, Any] = {
        "prompt": text,
        "model": known(row.get("model")) or known(row.get("model_group")) or options.model,
        "quality": _quality(row),
        "input_tokens": known(row.get("prompt_tokens")),
        **_output(row),
        "cost_usd": None if cached else known(row.get("spend")),
        "latency_s": None if cached else _latency(row),
        "source": "litellm",
        "timestamp": moment_text(row.get("startTime")),
        "user": known(row.get("end_user")) or known(row.get("user")),
    }
    answer = answer_of(response) if isinstance(response, dict) else json.dumps(response)
    return LoggedAttempt(number, values, answer, _NAMES)


def adapted_rows(sources: Sequence[str], options: Options) -> Iterator[tuple[str, AdaptedRow]]:
    """Attempts from exports of LiteLLM_SpendLogs.

    Raises:
        InvalidInput: a file cannot be read.
    """
    for source in sources:
        for number, row in rows_of(Path(source)):
            if isinstance(row, BadRow):
                yield source, row
            elif "model" not in row and "messages" not in row:
                yield (
                    source,
                    BadRow(number, "model", "is missing: this is not a row of LiteLLM_SpendLogs"),
                )
            else:
                yield source, _attempt(number, row, options)
