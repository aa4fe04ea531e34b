"""OpenAI-style chat logs, JSON lines of any of these shapes, also mixed:

- a call: ``{"request": {"model", "messages"}, "response": {"choices", "usage"}}``, or the request's fields
  beside ``response``;
- the batch API: its output (``custom_id``, ``response.body``), with the input file named too, which
  has the prompts;
- fine-tuning: ``{"messages": […]}`` with the assistant's answer last; ``--model`` names the model.

A ``quality`` (0..1), ``latency_s``, ``cost_usd``, ``category`` or ``judge`` beside them is kept.
"""

from __future__ import annotations

import json
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
    content_text,
    known,
    messages_text,
    moment_text,
)
from training.histories.output_usage import reported_output

__all__ = ["adapted_rows", "answer_of"]

_LINES = frozenset({".jsonl", ".ndjson"})
_BESIDE = ("quality", "latency_s", "cost_usd", "category", "judge", "language")
_OK = 200

Place = tuple[Path, int]
"""File and byte offset of a request, so that the prompts of a batch are not kept in memory."""


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def answer_of(response: Mapping[str, Any]) -> str:
    """The text of an answer: of a chat completion, or of the Responses API; else the response as JSON."""
    texts = [
        content_text(_dict(_dict(choice).get("message")).get("content"))
        for choice in response.get("choices") or ()
    ]
    texts += [content_text(_dict(item).get("content")) for item in response.get("output") or ()]
    return "\n\n".join(filter(None, texts)) or json.dumps(response, sort_keys=True, default=str)


def _prompt(request: Mapping[str, Any]) -> str:
    for name in ("messages", "input", "prompt"):
        if request.get(name):
            return messages_text(request[name])
    return ""


def _attempt(
    number: int,
    row: Mapping[str, Any],
    request: Mapping[str, Any],
    response: Mapping[str, Any],
    options: Options,
) -> LoggedAttempt:
    usage = _dict(response.get("usage"))
    output, reasoning = reported_output(usage)
    model = known(request.get("model")) or known(response.get("model")) or options.model
    moment = response.get("created") or response.get("created_at") or row.get("timestamp")
    values: dict[str, Any] = {
        "prompt": _prompt(request),
        "model": model,
        "input_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
        "output_tokens": output,
        "reasoning_tokens": reasoning,
        "source": "openai",
        "timestamp": moment_text(moment),
        "user": known(request.get("user")),
        **{name: known(row.get(name)) for name in _BESIDE},
    }
    return LoggedAttempt(number, values, answer_of(response), {"prompt": "messages"})


def _tuned(number: int, row: Mapping[str, Any], options: Options) -> LoggedAttempt | BadRow:
    """A line of a fine-tuning file: the last turn is the answer, those before it the prompt."""
    messages = row["messages"]
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "assistant":
        return BadRow(
            number,
            "messages",
            "has no answer: it has no response, and its last turn is not the assistant's",
        )
    model = known(row.get("model")) or options.model
    if model is None:
        return BadRow(number, "model", "is missing; name the model that answered with --model NAME")
    answer = {"choices": [{"message": last}]}
    request = {**row, "messages": messages[:-1], "model": model}
    return _attempt(number, row, request, answer, options)


def _read(place: Place) -> dict[str, Any]:
    path, start = place
    with path.open("rb") as file:
        file.seek(start)
        return _dict(_dict(json.loads(file.readline())).get("body"))


def _requests(sources: Sequence[str]) -> dict[str, Place]:
    """Places of the requests of batch input files, by ``custom_id``."""
    found: dict[str, Place] = {}
    for source in sources:
        path = Path(source)
        if path.suffix.lower() not in _LINES or not path.is_file():
            continue
        with path.open("rb") as lines:
            start = 0
            for line in lines:
                if b'"custom_id"' in line and b'"body"' in line:
                    try:
                        row = _dict(json.loads(line))
                    except (ValueError, RecursionError):
                        row = {}
                    if _is_request(row):
                        found[str(row["custom_id"])] = (path, start)
                start += len(line)
    return found


def _is_request(row: Mapping[str, Any]) -> bool:
    return "custom_id" in row and isinstance(row.get("body"), dict) and "response" not in row


def _of_batch(
    number: int, row: Mapping[str, Any], requests: Mapping[str, Place], options: Options
) -> AdaptedRow:
    response = _dict(row.get("response"))
    if row.get("error") or response.get("status_code", _OK) != _OK:
        return ExcludedRow(number, "the call failed")
    place = requests.get(str(row["custom_id"]))
    request = _dict(row.get("body")) if place is None else _read(place)
    if not request:
        return BadRow(number, "custom_id", "has no request; name the batch's input file too")
    return _attempt(number, row, request, _dict(response.get("body")), options)


def _one(
    number: int, row: Mapping[str, Any], requests: Mapping[str, Place], options: Options
) -> AdaptedRow | None:
    if _is_request(row):
        return None
    if "custom_id" in row:
        return _of_batch(number, row, requests, options)
    if row.get("error"):
        return ExcludedRow(number, "the call failed")
    response = row.get("response")
    if isinstance(response, dict):
        request = _dict(row.get("request")) or _dict(row.get("body")) or row
        body = _dict(response.get("body")) or response
        if response.get("status_code", _OK) != _OK or body.get("error"):
            return ExcludedRow(number, "the call failed")
        return _attempt(number, row, request, body, options)
    if "messages" in row:
        return _tuned(number, row, options)
    return BadRow(number, "row", "has neither request and response nor messages")


def adapted_rows(sources: Sequence[str], options: Options) -> Iterator[tuple[str, AdaptedRow]]:
    """Attempts from files of JSON lines; the lines of a batch's input file are not rows of their own.

    Raises:
        InvalidInput: a file cannot be read.
    """
    requests = _requests(sources)
    for source in sources:
        for number, row in rows_of(Path(source)):
            found = row if isinstance(row, BadRow) else _one(number, row, requests, options)
            if found is not None:
                yield source, found
