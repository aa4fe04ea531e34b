"""Training on MMLU-Pro (9,587 prompts, three arms) with cached embeddings."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks.report import Figure

HISTORY = Path(os.environ.get("HISTORIES", "../shared/data/history")) / "mmlu_pro.parquet"

_BASELINE = """
import numpy, sys
from sklearn.linear_model import LogisticRegression
rng = numpy.random.default_rng(0)
X, y = rng.standard_normal((7670, 274)), rng.integers(0, 4, 7670)
LogisticRegression(max_iter=200).fit(X, y)
"""
"""The minimum of any training: import scikit-learn and fit one multinomial head of this size."""


def _seconds(command: list[str], cwd: Path | None = None) -> float:
    started = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd
    )
    return time.perf_counter() - started


def measure() -> Iterator[Figure]:
    """Train twice; the first fills the cache of embeddings. Skipped without the history."""
    if not HISTORY.is_file():
        Console(stderr=True).print(f"no {HISTORY}: training is not measured; set HISTORIES=folder")
        return
    with tempfile.TemporaryDirectory() as scratch:
        fit = [
            sys.executable, "-m", "training", "fit", "--history", str(HISTORY),
            "--encoder", "static", "--out", f"{scratch}/bundle", "--cache", f"{scratch}/cache",
            "--tracking-uri", f"sqlite:///{scratch}/mlflow.db",
        ]  # fmt: skip
        first = _seconds(fit)
        again = _seconds(fit)
    yield Figure(
        "baseline: import scikit-learn, fit one head",
        _seconds([sys.executable, "-c", _BASELINE]),
        "s",
    )
    yield Figure("training on mmlu_pro, embeddings not cached (static)", first, "s")
    yield Figure("training on mmlu_pro, embeddings cached", again, "s", 60.0)
