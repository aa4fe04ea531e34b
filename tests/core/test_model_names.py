"""One model is one model, however a history spells it."""

from __future__ import annotations

import pytest

from router.core.model_names import canonical_name


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"),
        ("Meta-Llama-3_1-8B-Instruct", "llama-3.1-8b-instruct"),
        ("llama-3.1-8b-instruct", "llama-3.1-8b-instruct"),
        ("meta-llama_Meta-Llama-3-8B-Instruct", "llama-meta-llama-3-8b-instruct"),
        ("llama-2-7b-chat-hf", "llama-2-7b-chat-hf"),
        ("gpt-5-nano-2025-08-07", "gpt-5-nano"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-11-20", "gpt-4o-2024-11-20"),
        ("gpt4_1106_preview", "gpt-4-1106-preview"),
        ("gemini/gemini-2.5-pro", "gemini-2.5-pro"),
        ("gemini-2.5-pro-exp-03-25", "gemini-2.5-pro"),
        ("gemini-1.5-pro-002", "gemini-1.5-pro-002"),
        ("qwen-2.5-7b-instruct", "qwen2.5-7b-instruct"),
        ("claude-3.7-sonnet(thinking)", "claude-3.7-sonnet(thinking)"),
    ],
)
def test_names_of_histories(name: str, known: str) -> None:
    assert canonical_name(name) == known
    assert canonical_name(known) == known
