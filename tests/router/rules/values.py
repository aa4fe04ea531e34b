"""A request that is usual in everything, as conditions see it."""

from __future__ import annotations

from typing import Any

USUAL: dict[str, Any] = {
    "importance": "medium", "complexity": 0.5, "level": "medium", "tasks": [], "language": "latin",
    "scope": {}, "input_tokens": 100, "max_output_tokens": 0, "turns": 1, "capabilities": [],
    "names_models": False, "goal": "default", "batch": False, "hour": 12, "weekday": 3,
}  # fmt: skip
