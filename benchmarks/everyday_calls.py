"""Calls of the benchmarks, no two of which are the same: everyday prompts, each with a number."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from benchmarks.bare_server import CLASSIFY
from benchmarks.everyday import read_examinations
from benchmarks.http2_client import Call
from benchmarks.overload import ROUTE
from mitsumori.v1 import router_pb2

__all__ = ["TIMEOUT_S", "Prompts"]

TIMEOUT_S = 20.0
"""The deadline of every call."""


@dataclass
class Prompts:
    """Everyday prompts, no two of which are the same, by a seed."""

    seed: int = 15
    made: int = 0

    def __post_init__(self) -> None:
        self._chance, self._texts = random.Random(self.seed), list(read_examinations().texts)

    def text(self) -> str:
        """Another one."""
        self.made += 1
        return f"{self._chance.choice(self._texts)} ({self.made})"

    def route(self, at_s: float = 0.0) -> Call:
        """A Route call that applies to both limits."""
        asked = router_pb2.RouteRequest(request_id=f"{self._chance.getrandbits(64):016x}")
        asked.prompt.text = self.text()
        asked.request_id += f"-{self.made}"
        asked.scope.update(team="search", user=f"u-{self.made % 50}")
        return Call(at_s, ROUTE, asked.SerializeToString(), TIMEOUT_S)

    def classify(self) -> Call:
        """The same for a server that only classifies."""
        return Call(0.0, CLASSIFY, self.text().encode(), TIMEOUT_S)

    def posted(self) -> bytes:
        """The same for the HTTP router."""
        asked = {"team": "search", "prompt": self.text()}
        asked |= {"user": f"u-{self.made % 50}", "request_id": str(self.made)}
        return json.dumps(asked, ensure_ascii=False).encode()
