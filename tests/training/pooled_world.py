"""Two small histories with the models of real ones, so that they are recognised and link to the scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["CHAT", "DIFFICULTY", "EXAMS", "TOPICS", "attempts"]

EXAMS = {
    "Meta-Llama-3_1-8B-Instruct": 0.0,
    "gemini-1.5-flash-002": 0.5,
    "gemini-1.5-pro-002": 0.6,
}
CHAT = {
    "meta-llama/Llama-3.1-8B-Instruct": 0.0,
    "meta-llama/Llama-3.3-70B-Instruct": 0.4,
    "gpt-4o-2024-11-20": 0.6,
    "gpt-5-nano": 0.6,
    "gemini-2.5-pro": 1.0,
}
"""Models and their abilities, in hundreds of points."""
TOPICS = (
    "a proof about prime numbers",
    "a clause in a contract",
    "a joke about cats",
    "a query in SQL",
)
DIFFICULTY = (2.5, 1.5, -1.0, 0.5)


def attempts(
    name: str, models: dict[str, float], prompts: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Flash is good at SQL and bad at contracts, whatever its ability."""
    rng = np.random.default_rng(seed)
    for place in range(prompts):
        topic = place % len(TOPICS)
        for who, ability in models.items():
            z = 3.3 * ability - DIFFICULTY[topic]
            z += {3: 2.0, 1: -2.0}.get(topic, 0.0) * ("flash" in who)
            yield {
                "prompt": f"{name} {place}: write {TOPICS[topic]}, version {place * 7 % 101}",
                "model": who,
                "quality": float(rng.random() < 1 / (1 + np.exp(-z))),
                "judge": "gpt-4.1-2025-04-14" if name == "chat" else "exact",
                "input_tokens": 12,
                "output_tokens": int(rng.integers(50, 400)),
            }
