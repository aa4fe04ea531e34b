"""The truth of the simulation, which the server does not know: quality, lengths and speeds.

It differs from what the bundle and the catalog say by a stated amount. Every draw is keyed by what it is for,
so that the same request has the same luck under each variant.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from benchmarks.simulation.traffic import Asked
from router.core.types import Model

__all__ = ["Truth"]

_MODEL_SHIFT: Final = 0.3
_REQUEST_SHIFT: Final = 0.5
"""Standard deviations of what is added to the log odds of P(adequate), by model and by request."""
_SPEED_SHIFT: Final = 0.35
"""Standard deviation of the logarithm of a model's real speed over that of the catalog."""
_ANSWER_NOISE: Final = 0.25
_DEVIATIONS = (0.0, 1.2815515655446004, 2.3263478740408408)
"""The median, the 90th and the 99th percentile of the normal distribution."""


@dataclass(frozen=True)
class Truth:
    """What is true of models and requests.

    Attributes:
        models: id → model.
        seed: of all draws.
    """

    models: Mapping[str, Model]
    seed: int
    _speeds: dict[str, tuple[float, float]] = field(default_factory=dict)

    def draw(self, *key: object) -> random.Random:
        """A source of randomness that is the same for the same key."""
        text = "/".join(map(str, (self.seed, *key)))
        return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))

    def p_adequate(self, asked: Asked, model: str) -> float:
        """The true P(adequate), 0..1.

        Args:
            asked: the request.
            model: id of the model that answers.
        """
        p = min(max(asked.p_adequate[model], 1e-6), 1 - 1e-6)
        logit = math.log(p / (1 - p))
        logit += self.draw("model", model).gauss(0, _MODEL_SHIFT)
        logit += self.draw("request", asked.number).gauss(0, _REQUEST_SHIFT)
        return 1 / (1 + math.exp(-logit))

    def is_adequate(self, asked: Asked, model: str) -> bool:
        """Whether the answer is adequate.

        Args:
            asked: the request.
            model: id of the model that answers.
        """
        return self.draw("outcome", asked.number).random() < self.p_adequate(asked, model)

    def output_tokens(self, asked: Asked, model: str) -> tuple[int, int]:
        """The length of the whole answer, and the hidden reasoning in it.

        Args:
            asked: the request; the trace says how long the visible answer is.
            model: id of the model that answers.
        """
        chance = self.draw("length", asked.number, model)
        visible = asked.arrival.output_tokens * math.exp(chance.gauss(0, _ANSWER_NOISE))
        allowance, hidden = self.models[model].reasoning, 0.0
        if allowance is not None:
            points = [math.log(each) for each in (allowance.p50, allowance.p90, allowance.p99)]
            # Below the median as above it, and never beyond the catalog's 99th percentile.
            above = (
                float(np.interp(abs(draw := chance.gauss(0, 1)), _DEVIATIONS, points)) - points[0]
            )
            hidden = math.exp(points[0] + math.copysign(above, draw))
        most = self.models[model].max_output_tokens
        reasoning = min(int(hidden), most - 1)
        return min(1 + int(visible) + reasoning, most), reasoning

    def seconds(self, asked: Asked, model: str, tokens: int, load: float) -> tuple[float, float]:
        """Until the first token and until the whole answer.

        Args:
            asked: the request.
            model: id of the model that answers.
            tokens: of the whole answer.
            load: calls in flight as a share of what the provider serves at full speed, ≥ 0.
        """
        if model not in self._speeds:
            chance = self.draw("speed", model)
            self._speeds[model] = (
                math.exp(chance.gauss(0, _SPEED_SHIFT)),
                math.exp(chance.gauss(0, _SPEED_SHIFT)),
            )
        speed, (first_shift, rate_shift) = self.models[model].speed, self._speeds[model]
        chance = self.draw("latency", asked.number, model)
        crowded = 1 + load**2
        first = speed.first_token_s * first_shift * crowded * math.exp(chance.gauss(0, 0.3))
        rate = speed.output_tokens_per_s * rate_shift / crowded * math.exp(chance.gauss(0, 0.2))
        return first, first + tokens / rate

    def gap(self, traffic: Sequence[Asked]) -> float:
        """The mean distance between what the bundle predicts and the truth, over requests and models."""
        return float(
            np.mean(
                [
                    abs(self.p_adequate(each, model) - p)
                    for each in traffic
                    for model, p in each.p_adequate.items()
                ]
            )
        )
