"""A router as it is written in an afternoon, as a baseline: FastAPI, MiniLM, a logistic regression, SQLite.

One process of uvicorn, HTTP/1.1 with JSON. ``POST /route`` embeds the prompt, takes the model of the level
that the regression finds, prices it by a table, and books the price where two limits allow it, in one
transaction. ``python -m benchmarks.http_router LEDGER`` starts it on a free port, with sentence-transformers
where that is installed; ``--encoder onnxruntime`` takes the same model with 8-bit weights instead.
"""

from __future__ import annotations

import argparse
import importlib.util
import socket
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sklearn.linear_model import LogisticRegression

from benchmarks.everyday import read_examinations
from router.classifier.encoder import find_encoder, load_encoder
from router.paths import ENCODERS
from training.encoders.encoder_export import default_model

ENCODER_KINDS = ("sentence-transformers", "onnxruntime")

_MODELS = {  # by level: name, USD per million input and output tokens, output tokens
    0: ("small", 0.05, 0.40, 200),
    1: ("small", 0.05, 0.40, 400),
    2: ("medium", 0.25, 2.00, 800),
    3: ("large", 1.25, 10.00, 1500),
}
_HARD_USD, _HARD_REQUESTS = 1e9, 10**9
_FITTED_ON = 100
_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE holds (id TEXT PRIMARY KEY, team TEXT, user TEXT, model TEXT, price REAL, made TEXT);
CREATE TABLE spent (scope TEXT, period TEXT, amount REAL, PRIMARY KEY (scope, period));
"""
_BOOK = """
INSERT INTO spent VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET amount = amount + excluded.amount RETURNING amount
"""

Encode = Callable[[str], npt.NDArray[np.float32]]


class Asked(BaseModel):
    """One prompt, and who asks."""

    request_id: str
    team: str
    user: str
    prompt: str


class Routed(BaseModel):
    """The model to call."""

    decision_id: str
    model: str
    probability: float
    price_usd: float
    remaining_usd: float


def available_kind() -> str:
    """The kind of encoder that this environment can run: sentence-transformers where it is installed."""
    found = importlib.util.find_spec("sentence_transformers") is not None
    return ENCODER_KINDS[0] if found else ENCODER_KINDS[1]


def _encoder(kind: str) -> Encode:
    if kind == "onnxruntime":
        return load_encoder(find_encoder(ENCODERS, "minilm")).embed
    import torch  # the [encoder] extra
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)  # faster here than its default: calls already run beside each other
    model = SentenceTransformer(str(default_model()), device="cpu")
    return lambda text: np.asarray(model.encode(text))


class Budget:
    """What teams and users have spent, in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.executescript(_SCHEMA)
        self._lock = threading.Lock()

    def book(self, asked: Asked, model: str, price: float) -> float:
        """Book a price on both limits, or refuse it; returns what the team has left."""
        now = datetime.now(UTC)
        with self._lock, self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            (team,) = connection.execute(_BOOK, (asked.team, f"{now:%Y-%m}", price)).fetchone()
            (user,) = connection.execute(_BOOK, (asked.user, f"{now:%Y-%m-%d}", 1)).fetchone()
            if team > _HARD_USD or user > _HARD_REQUESTS:
                raise HTTPException(429, "budget exhausted")
            row = (asked.request_id, asked.team, asked.user, model, price, now.isoformat())
            connection.execute("INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?)", row)
        return _HARD_USD - float(team)


def make_app(encode: Encode, budget: Budget) -> FastAPI:
    """The application.

    Args:
        encode: text → float32 ``(dimensions,)``.
        budget: books prices.
    """
    examination = read_examinations()
    chosen = np.random.default_rng(1).choice(len(examination.texts), _FITTED_ON, replace=False)
    classifier = LogisticRegression(max_iter=1000).fit(
        np.array([encode(text) for text in examination.texts[chosen]]), examination.levels[chosen]
    )
    app = FastAPI()

    @app.post("/route")
    def route(asked: Asked) -> Routed:
        (probabilities,) = classifier.predict_proba([encode(asked.prompt)])
        level = int(probabilities.argmax())
        model, input_usd, output_usd, output_tokens = _MODELS[level]
        price = (len(asked.prompt) / 4 * input_usd + output_tokens * output_usd) / 1e6
        remaining = budget.book(asked, model, price)
        return Routed(
            decision_id=asked.request_id,
            model=model,
            probability=probabilities[level],
            price_usd=price,
            remaining_usd=remaining,
        )

    return app


def main() -> None:
    """Serve until killed; prints the port."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_router", description=__doc__)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--encoder", choices=ENCODER_KINDS, default=available_kind())
    asked = parser.parse_args()
    app = make_app(_encoder(asked.encoder), Budget(asked.ledger))
    # asyncio sends small answers at once only where a socket says that it is of TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
