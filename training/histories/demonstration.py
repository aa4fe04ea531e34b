"""A made-up demonstration history, for trying training without a history.

Prompts come from templates of several kinds and languages; each has a hidden difficulty, from which
the attempts of three made-up models follow. Nothing learnt from it says anything about real models,
and every bundle trained on it says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from router.core.rates import Rates
from training.histories.history import History, history_of

__all__ = ["ARMS", "NAME", "PRICES", "demonstration_history"]

NAME = "demonstration"
ARMS: Mapping[str, str] = {"low": "demo-small", "medium": "demo-middle", "high": "demo-large"}
PRICES: Mapping[str, Rates] = {
    "low": Rates(Decimal("0.10"), Decimal("0.40")),
    "medium": Rates(Decimal("0.60"), Decimal("2.40")),
    "high": Rates(Decimal("3.00"), Decimal("15.00")),
}
"""USD per million tokens, as made up as the models."""

PROMPTS = 600
_SKILL = {"demo-small": 0.30, "demo-middle": 0.58, "demo-large": 0.85}
_STEEPNESS = 9.0


@dataclass(frozen=True)
class _Kind:
    """One kind of prompt: its difficulty 0..1 without the slots, and how long answers get in tokens."""

    category: str
    language: str
    difficulty: float
    tokens: int
    templates: tuple[str, ...]


_KINDS = (
    _Kind("small talk", "en", 0.03, 30, (
        "Hello {name}, how are you today?", "Say thank you to {name} in a friendly way.",
        "Wish {name} a happy birthday.")),
    _Kind("facts", "en", 0.18, 45, (
        "What is the capital of {place}?", "How many people live in {place}?",
        "Name {n} rivers in {place}.")),
    _Kind("rewriting", "en", 0.28, 120, (
        "Rewrite this politely for {name}: send me the report on {thing} now.",
        "Summarise in {n} sentences what a customer from {place} would want to know about {thing}.",
        "Translate into English: bonjour {name}, où est la gare de {place} ?")),
    _Kind("code", "en", 0.52, 350, (
        "Write a Python function `{thing}_count(xs)` that returns the {n} most frequent items.\n"
        "```python\ndef {thing}_count(xs):\n    return ...\n```",
        "SELECT name, SUM({thing}) FROM orders GROUP BY name; Why is this query slow with {big} rows?",
        "Fix this: `for i in range({n}): print({thing}[i])` raises IndexError.")),
    _Kind("mathematics", "en", 0.68, 420, (
        "A train to {place} covers {big} km at {n}0 km/h with {n} stops of 4 minutes. When does it "
        "arrive if it leaves at 09:40?",
        "Solve for x: {n}x^2 - {big}x + 7 = 0. Give exact values.",
        "Evaluate $\\int_0^{n} x^2 e^{{-{n}x}} \\, dx$ and show every step.")),
    _Kind("proof", "en", 0.88, 900, (
        "Prove that the sum of the first {big} odd numbers is a square, and that no other exponent "
        "than 2 works. State every lemma.",
        "Show that there are infinitely many primes of the form {n}k + {n} + 1 or explain why not; "
        "derive the theorem you use.",
        "Design a lock-free queue for {thing} with {n} producers and prove that it is linearizable.")),
    _Kind("雑談", "ja", 0.05, 40, (
        "{name}さん、こんにちは。元気ですか？", "{name}さんにお礼を一言で書いてください。")),
    _Kind("知識", "ja", 0.25, 60, (
        "{place}の首都はどこですか？", "{place}の名物を{n}つ教えてください。")),
    _Kind("敬語", "ja", 0.45, 200, (
        "次の文を敬語に直してください：{name}、{thing}の資料を早く送って。",
        "{place}のお客様向けに、{thing}の納期が{n}日遅れるお詫びのメールを書いてください。")),
    _Kind("証明", "ja", 0.85, 850, (
        "{n}以上のすべての整数について、n^2 - n が偶数であることを証明し、理由を段階的に説明してください。",
        "確率 1/{n} の事象を {big} 回試すとき、少なくとも一回起こる確率の近似式を導出してください。")),
)  # fmt: skip

_NAMES = ("Aiko", "Ben", "Chidi", "Dora", "Emre", "Fatima", "Goro", "Hana")
_PLACES = ("Kenya", "Norway", "Peru", "Japan", "Canada", "Vietnam", "Portugal", "Chad", "Kyoto")
_THINGS = ("invoice", "parcel", "token", "ticket", "sensor", "order", "word", "account")


def _prompt(kind: _Kind, rng: np.random.Generator) -> str:
    template = kind.templates[rng.integers(len(kind.templates))]
    return template.format(
        name=_NAMES[rng.integers(len(_NAMES))],
        place=_PLACES[rng.integers(len(_PLACES))],
        thing=_THINGS[rng.integers(len(_THINGS))],
        n=int(rng.integers(2, 10)),
        big=int(rng.integers(100, 1000)),
    )


def _attempts(number: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    kind = _KINDS[rng.integers(len(_KINDS))]
    prompt = _prompt(kind, rng)
    difficulty = float(np.clip(kind.difficulty + rng.normal(0, 0.12), 0, 1))
    rows: list[dict[str, Any]] = []
    for model, skill in _SKILL.items():
        chance = 1 / (1 + np.exp(_STEEPNESS * (difficulty - skill - 0.12)))
        rows.append(
            {
                "prompt_id": f"{NAME}-{number:04d}",
                "prompt": prompt,
                "model": model,
                "quality": float(rng.random() < chance),
                "input_tokens": float(max(len(prompt.encode()) // 4, 1)),
                "output_tokens": float(max(round(kind.tokens * rng.lognormal(0, 0.4)), 1)),
                "language": kind.language,
                "category": kind.category,
                "source": NAME,
            }
        )
    return rows


def demonstration_history(seed: int) -> History:
    """The demonstration history; the same seed gives the same one."""
    rng = np.random.default_rng(seed)
    rows = [row for number in range(PROMPTS) for row in _attempts(number, rng)]
    return history_of(NAME, rows)
