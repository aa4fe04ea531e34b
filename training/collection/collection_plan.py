"""What a collection asks, and the history of what was answered. Both pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.calls.journal import Answered, Failed
from training.calls.paid_calls import Call
from training.collection.prompts import SourcePrompt

__all__ = ["ABOUT", "SOURCE", "attempt_of", "collection_calls", "failure_of", "parse_models"]

SOURCE = "collect"
"""The ``source`` of attempts whose prompt names none."""
ABOUT = ("prompt", "prompt_id", "model")
"""Texts that every call keeps."""
_NANOS = 1_000_000_000


def parse_models(text: str) -> tuple[str, ...]:
    """Distinct model names from ``A,B,C``, in their order."""
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _key(prompt: SourcePrompt, model: str) -> str:
    content = json.dumps([prompt.id, [[one.role, one.text] for one in prompt.messages], model])
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()


def _about(prompt: SourcePrompt, model: str) -> dict[str, Any]:
    about: dict[str, Any] = {"prompt": prompt.text, "prompt_id": prompt.id, "model": model}
    if len(prompt.messages) > 1:
        chat = [{"role": one.role, "content": one.text} for one in prompt.messages]
        about["messages"] = json.dumps(chat, ensure_ascii=False)
    return {**about, "source": SOURCE, **prompt.beside}


def collection_calls(
    prompts: Iterable[SourcePrompt], models: Sequence[str], max_output_tokens: int
) -> list[Call]:
    """The calls of a collection, every model of one prompt before the next prompt.

    So a run that ends early has whole rows of the ladder.

    Args:
        prompts: in the order in which they are asked.
        models: of the ladder.
        max_output_tokens: limit of an answer; a prompt's own one may be lower.
    """
    return [
        Call(
            _key(prompt, model),
            model,
            prompt.messages,
            min(max_output_tokens, prompt.max_output_tokens or max_output_tokens),
            _about(prompt, model),
        )
        for prompt in prompts
        for model in models
    ]


def attempt_of(answer: Answered) -> dict[str, Any]:
    """The row of a history for an answer. Its quality is empty until somebody judges it."""
    return {
        **answer.about,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost_usd": answer.cost / _NANOS,
        "latency_s": round(answer.latency_s, 3),
        "timestamp": answer.timestamp,
        "answer": answer.text,
        "reasoning_tokens": answer.reasoning_tokens,
        "finish_reason": answer.finish or None,
        "usage": "counted" if answer.doubts else "reported",
    }


def failure_of(failed: Failed, booked: int) -> Mapping[str, Any]:
    """The row of a failed attempt, which is kept apart from the history; without the prompt's text.

    Args:
        failed: the last request of its call.
        booked: nano-dollars, of all its requests.
    """
    return {
        "prompt_id": failed.about.get("prompt_id"),
        "model": failed.about.get("model"),
        "kind": failed.kind,
        "detail": failed.detail,
        "tries": failed.tries,
        "input_tokens": failed.input_tokens,
        "output_tokens": failed.output_tokens,
        "may_have_cost_usd": booked / _NANOS,
        "timestamp": failed.timestamp,
    }
