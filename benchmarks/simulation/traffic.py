"""The requests of an hour: arrivals and sizes of a trace, and prompts of ours that fit them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from rich.progress import track

from benchmarks.simulation.conditions import FROM_S
from mitsumori import Importance
from router.core.errors import InvalidInput
from router.core.types import Constraints, Message, Prompt
from router.core.types import Importance as Level
from router.routing.router import RouteQuery, Router
from training.requests.request_set import read_requests

__all__ = [
    "HOUR_S",
    "Arrival",
    "Asked",
    "batch_work",
    "read_trace",
    "synthetic_trace",
    "traffic_of",
]

HOUR_S: Final = 3_600.0
_COLUMNS = ("t_s", "input_tokens", "output_tokens")
_IMPORTANCE: Final[Mapping[Importance, float]] = {"low": 0.2, "medium": 0.6, "high": 0.2}
BOUND_SHARE: Final = 0.2
"""Of the requests that state the most that an answer may take."""
MAX_LATENCY_S: Final = 12.0
_TEAMS = ("search", "support", "legal", "data")
_CHARACTERS_PER_TOKEN = 5.3
_CONTEXT = (
    "The committee met on Tuesday and read the minutes of the last meeting. ",
    "Deliveries of the third quarter were late by four days on average. ",
    "The supplier answered that the port had been closed because of a storm. ",
    "Nobody asked for a discount, although the contract would have allowed it. ",
    "The next meeting is planned for the first week of the new month. ",
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of a trace.

    Attributes:
        at_s: seconds since the first, 0..3,600.
        input_tokens: of the prompt, ≥ 1.
        output_tokens: of the visible answer, ≥ 1.
    """

    at_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Asked:
    """A request of the simulation.

    Attributes:
        number: from 0, in the order of arrival.
        arrival: when, and how large.
        messages: what is sent: a context as long as the trace says, and a prompt.
        importance: of the request.
        team: that asks.
        max_latency_s: the most that the answer may take at the 90th percentile; ``None``: any time.
        batch: whether it can wait.
        complexity: by the bundle, 0..1.
        p_adequate: by the bundle: model → P(adequate).
        expected_nanos: by the quotes: model → expected price; it lacks models that cannot answer.
    """

    number: int
    arrival: Arrival
    messages: tuple[tuple[str, str], ...]
    importance: Importance
    team: str
    max_latency_s: float | None
    batch: bool
    complexity: float
    p_adequate: Mapping[str, float]
    expected_nanos: Mapping[str, int]


def read_trace(path: Path, requests: int) -> list[Arrival]:
    """The arrivals of the first hour of a trace, thinned evenly so that its shape stays.

    Args:
        path: Parquet with ``t_s``, ``input_tokens`` and ``output_tokens``.
        requests: how many to keep, ≥ 1; 0: all.

    Raises:
        InvalidInput: the file cannot be read, lacks a column, or has no request in its first hour.
    """
    try:
        table = pq.read_table(path, columns=list(_COLUMNS))
    except (OSError, ValueError) as error:
        why = str(error).partition("\n")[0][:200]
        raise InvalidInput(f"{path}: {why}; name a trace with --trace", field=str(path)) from None
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise InvalidInput(f"{path}: has no column {missing[0]}", field=str(path))
    rows = sorted(zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True))
    hour = [Arrival(at, max(int(i), 1), max(int(o), 1)) for at, i, o in rows if 0 <= at < HOUR_S]
    if not hour:
        raise InvalidInput(f"{path}: has no request in its first hour", field=str(path))
    return _thinned(hour, requests)


def synthetic_trace(requests: int, seed: int) -> list[Arrival]:
    """Arrivals of our own: a busy half in the middle of the hour, bursts, and log-normal sizes.

    Args:
        requests: how many, ≥ 1; 0: 2,000.
        seed: of the draws.
    """
    chance = random.Random(seed)
    made: list[Arrival] = []
    while len(made) < (requests or 2_000):
        at = chance.random() * HOUR_S
        busy = math.sin(math.pi * at / HOUR_S) ** 2
        if chance.random() > 0.3 + 0.7 * busy:
            continue
        for _ in range(1 + int(chance.expovariate(1.5))):  # a burst
            sizes = chance.lognormvariate(6.7, 0.9), chance.lognormvariate(4.9, 0.9)
            made.append(Arrival(min(at, HOUR_S - 1), 10 + int(sizes[0]), 1 + int(sizes[1])))
            at += chance.expovariate(2.0)
    return sorted(made[: requests or 2_000], key=lambda each: each.at_s)


def batch_work(arrivals: Sequence[Arrival], share: float, seed: int) -> list[Arrival]:
    """Work that can wait and comes within one minute, of the sizes of the hour's requests.

    Args:
        arrivals: of the hour.
        share: how many, as a share of the hour's requests.
        seed: of the draws.
    """
    chance = random.Random(seed)
    sizes = chance.choices(list(arrivals), k=round(share * len(arrivals)))
    return [replace(each, at_s=FROM_S + chance.uniform(0, 60)) for each in sizes]


def _thinned(arrivals: list[Arrival], requests: int) -> list[Arrival]:
    if not requests or requests >= len(arrivals):
        return arrivals
    kept = np.linspace(0, len(arrivals) - 1, requests).round().astype(int)
    return [arrivals[at] for at in kept]


def traffic_of(
    arrivals: Sequence[Arrival], batch: Sequence[Arrival], router: Router, seed: int
) -> list[Asked]:
    """The requests of a trace, with prompts of ours: of those drawn, longer answers get the prompts of which
    the bundle predicts longer ones.

    Args:
        arrivals: of callers who wait.
        batch: of work that can wait.
        router: whose bundle reads the prompts.
        seed: of all draws.
    """
    chance = random.Random(seed)
    together = [(each, False) for each in arrivals] + [(each, True) for each in batch]
    together.sort(key=lambda pair: pair[0].at_s)
    drawn = chance.choices([each.prompt for each in read_requests()], k=len(together))
    lengths = {
        text: _predicted_length(router, text)
        for text in track(sorted(set(drawn)), description="reading prompts", transient=True)
    }
    drawn.sort(key=lengths.__getitem__)
    by_answer = sorted(range(len(together)), key=lambda at: together[at][0].output_tokens)
    texts = dict(zip(by_answer, drawn, strict=True))
    asked = []
    for number, (arrival, waits) in enumerate(
        track(together, description="reading requests", transient=True)
    ):
        messages = (
            ("system", _context(arrival.input_tokens, texts[number])),
            ("user", texts[number]),
        )
        importance = chance.choices(list(_IMPORTANCE), list(_IMPORTANCE.values()))[0]
        bound = chance.random() < BOUND_SHARE and not waits
        team = chance.choice(_TEAMS)
        read = _read(router, messages)
        asked.append(
            Asked(
                number,
                arrival,
                messages,
                importance,
                team,
                MAX_LATENCY_S if bound else None,
                waits,
                *read,
            )
        )
    return asked


def _query(messages: Sequence[tuple[str, str]]) -> RouteQuery:
    prompt = Prompt(tuple(Message(role, text) for role, text in messages))
    return RouteQuery("", {}, prompt, Constraints(), None, Level.MEDIUM, "", 0)


def _predicted_length(router: Router, text: str) -> float:
    lengths = router.assess(_query([("user", text)])).score.lengths
    return sum(each.p50 for each in lengths.values())


def _read(
    router: Router, messages: Sequence[tuple[str, str]]
) -> tuple[float, dict[str, float], dict[str, int]]:
    """The complexity, and by model P(adequate) and the expected price."""
    assessed = router.assess(_query(messages))
    able = {c.model.id: c.p_adequate for c in assessed.candidates if c.p_adequate is not None}
    prices = {
        c.model.id: c.quote.price.expected for c in assessed.candidates if c.quote is not None
    }
    return assessed.score.complexity, able, prices


def _context(tokens: int, text: str) -> str:
    """A text that makes a prompt about as long as a number of tokens."""
    characters = int(tokens * _CHARACTERS_PER_TOKEN) - len(text)
    block = "".join(_CONTEXT)
    whole = block * (1 + max(characters, 0) // len(block))
    return "Answer with what you know and with these notes. " + whole[: max(characters, 0)]
