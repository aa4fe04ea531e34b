"""A small made-up world of outcomes whose truth is known, for the tests of evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.evaluation.baselines import EncodedOutcomes
from training.evaluation.evaluation_report import evaluate
from training.evaluation.predictions import Predictions
from training.histories.outcomes import Outcomes


def objects(values: object) -> np.ndarray:
    return np.array(list(values), dtype=object)  # type: ignore[call-overload]


def world(
    n: int = 600, seed: int = 0, *, censored: bool = False, costs: bool = True
) -> tuple[EncodedOutcomes, np.ndarray]:
    """``n`` prompts of a difficulty that shows in the embedding, and the true P(adequate)."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=n)
    logits = np.array([-0.5, 0.8, 2.0]) - np.array([2.0, 1.2, 0.3]) * difficulty[:, None]
    truth = 1 / (1 + np.exp(-logits))
    quality = (rng.random((n, 3)) < truth).astype(float)
    tokens = rng.lognormal(5, 0.5, (n, 3)).round() + 1
    cost = (tokens * np.array([100, 400, 5000])).astype(np.int64)
    if censored:
        kept = rng.integers(3, size=n)
        gone = np.arange(3) != kept[:, None]
        quality[gone], tokens[gone], cost[gone] = np.nan, np.nan, 0
    length = np.clip(20 * np.exp(0.3 * difficulty + rng.normal(size=n)), 1, 2000).astype(int)
    embeddings = rng.normal(size=(n, 8)).astype(np.float32)
    embeddings[:, 0] = 2 * difficulty
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    outcomes = Outcomes(
        arms=("low", "medium", "high"),
        prompt_ids=objects(f"p{i}" for i in range(n)),
        texts=objects("x" * size for size in length),
        groups=objects(f"g{i // 2}" for i in range(n)),
        categories=objects(rng.choice(["maths", "law", ""], n)),
        languages=objects(np.where(np.arange(n) % 3 == 0, "ja", "en")),
        sources=objects(["made up"] * n),
        thresholds=np.full(n, 0.5),
        quality=quality,
        cost_nanos=cost if costs else np.zeros_like(cost),
        output_tokens=tokens,
    )
    features = np.stack([np.log1p(length), difficulty], axis=1).astype(np.float32)
    return EncodedOutcomes(outcomes, embeddings, features), truth


def report_on(rows: EncodedOutcomes, p_adequate: np.ndarray, **options: Any) -> dict[str, Any]:
    """The report on a router of one stage; no lengths, and baselines of the rows themselves, unless told."""
    wanted = {"train": None, "lengths": None, "seed": 0} | options
    predictions = Predictions(p_adequate)
    return evaluate(rows.outcomes, predictions, rows.embeddings, rows.features, **wanted)


def answered(tokens: Any) -> Outcomes:
    """A table of prompts of which only the lengths of the answers are known, tokens ``(n, 2 or more)``."""
    n, k = np.shape(tokens)
    names, nothing = objects(f"p{i}" for i in range(n)), objects([""] * n)
    arms = tuple(f"arm {place}" for place in range(k))
    return Outcomes(
        arms, names, nothing, names, nothing, nothing, nothing, np.full(n, 0.5),
        np.full((n, k), np.nan), np.zeros((n, k), dtype=np.int64), np.asarray(tokens, dtype=float),
    )  # fmt: skip
