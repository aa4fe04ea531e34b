"""Reads histories larger than memory, encodes prompts on Ray, and measures training on a real history.

Each peak is that of a separate process (VmHWM) and includes Python and its imports.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from benchmarks.report import Figure
from router.classifier.encoder import find_encoder, load_encoder
from router.paths import ENCODERS
from training.encoders.embedding import Encoding, encode_shard, fill_cache, in_threads
from training.encoders.ray_encoder import on_ray

SEED = 20260101
FOLDER = Path("build/scale")
MODELS = [f"model-{number}" for number in range(8)]
ARMS = "dict(low='model-1', medium='model-4', high='model-7')"
PROMPTS = 10_000
REPEATS = 10
"""Attempts of each model at each prompt."""
MORE = 4
"""Factor on the attempts in the long file, and on the prompts in the wide file."""
ENCODED = 512
WORKERS = 2
HISTORY = Path(os.environ.get("HISTORIES", "../shared/data/history")) / "mmlu_pro.parquet"

_NOTHING = "import pandas, training.histories.outcome_table"
_WHOLE = "import pandas, training.histories.outcome_table, sys; pandas.read_parquet(sys.argv[1])"
_STREAMED = f"""
import sys
from decimal import Decimal
from pathlib import Path
from router.core.rates import Rates
from training.histories.outcome_table import Reading, read_table
arms = {ARMS}
prices = dict.fromkeys(arms, Rates(Decimal("0.1"), Decimal("0.4")))
table = read_table([Path(sys.argv[1])], Reading(arms=arms, prices=prices))
assert len(table.outcomes) == int(sys.argv[2]), len(table.outcomes)
assert table.outcomes.complete.all()
"""
_TRAINING = "import runpy; runpy.run_module('training', run_name='__main__')"
_WITH_PEAK = """
try:
    exec(sys_argv_code)
except SystemExit as left:
    if left.code: raise
import re
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1], file=open(peak_file, "w"))
"""


class Run(NamedTuple):
    """The cost of a process, its imports included.

    Attributes:
        seconds: wall time.
        cpu: processor time, seconds.
        peak: resident memory at the peak, MiB.
    """

    seconds: float
    cpu: float
    peak: float


def _run(code: str, *arguments: str) -> Run:
    with tempfile.NamedTemporaryFile("r") as peak:
        whole = f"sys_argv_code, peak_file = {code!r}, {peak.name!r}\n{_WITH_PEAK}"
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-c", whole, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return Run(time.perf_counter() - started, cpu, int(peak.read()) / 1024)


# --- Generated prompts -------------------------------------------------------------------------


def texts(count: int) -> list[str]:
    """Distinct random prompts of realistic length: median 400 and mean 530 characters.

    MMLU-Pro has 470 and 641, RouteLLM 271 and 448.
    """
    rng = np.random.default_rng(SEED)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(rng.choice(letters[:20], size)) for size in rng.integers(2, 9, 4_000)]
    lengths = np.clip(rng.lognormal(np.log(400), 0.75, count), 20, 8_000) / 6
    return [
        f"{number}. {' '.join(words[place] for place in rng.integers(0, len(words), int(length)))}?"
        for number, length in enumerate(lengths)
    ]


def _repeated(values: list[str], codes: npt.NDArray[np.int32]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values)).cast(pa.string())


def _history(name: str, prompts: list[str], repeats: int) -> Path:
    """Write a Parquet history in which every model attempts every prompt.

    Args:
        name: of the file, without suffix.
        prompts: distinct texts.
        repeats: attempts of each model at each prompt.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.parquet"
    rng = np.random.default_rng(SEED)
    block = 10_000
    schema = pa.schema(
        {
            "prompt": pa.string(),
            "model": pa.string(),
            "quality": pa.float64(),
            "input_tokens": pa.int64(),
            "output_tokens": pa.int64(),
            "latency_s": pa.float64(),
        }
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for _ in track(range(repeats), f"writing {path}", transient=True):
            for start in range(0, len(prompts), block):
                part = prompts[start : start + block]
                codes, models = np.divmod(rng.permutation(len(part) * len(MODELS)), len(MODELS))
                made = [
                    _repeated(part, codes.astype(np.int32)),
                    _repeated(MODELS, models.astype(np.int32)),
                    pa.array(rng.random(len(codes))),
                    pa.array(rng.integers(50, 500, len(codes))),
                    pa.array(rng.integers(10, 900, len(codes))),
                    pa.array(rng.random(len(codes))),
                ]
                file.write_table(pa.table(made, schema=schema))
    return path


@contextmanager
def _written(name: str, prompts: list[str], repeats: int) -> Iterator[Path]:
    path = _history(name, prompts, repeats)
    try:
        yield path
    finally:
        path.unlink()


# --- Measurements ------------------------------------------------------------------------------


def _reading() -> Iterator[Figure]:
    """Peaks for a short file, a long one with more attempts, and a wide one with more prompts."""
    prompts = texts(MORE * PROMPTS)
    shapes = {
        "short": (prompts[:PROMPTS], REPEATS),
        "long": (prompts[:PROMPTS], MORE * REPEATS),
        "wide": (prompts, REPEATS),
    }
    yield Figure("python and its imports", _run(_NOTHING).peak, "MiB")
    whole: dict[str, float] = {}
    streamed: dict[str, float] = {}
    for name, (texts_there, repeats) in shapes.items():
        attempts = len(texts_there) * len(MODELS) * repeats
        with _written(name, texts_there, repeats) as path:
            what = f"{attempts:,} attempts at {len(texts_there):,} prompts"
            run = _run(_WHOLE, str(path))
            whole[name] = run.peak
            yield Figure(f"baseline: {what} read whole by pandas, unchecked", run.peak, "MiB")
            yield Figure("– processor time", run.cpu, "s")
            run = _run(_STREAMED, str(path), str(len(texts_there)))
            streamed[name] = run.peak
            yield Figure(f"{what} streamed, checked, tabulated", run.peak, "MiB")
            yield Figure("– processor time", run.cpu, "s")
    yield Figure(
        f"peak over the baseline's, {MORE} times the attempts",
        streamed["long"] / whole["long"], "×", 0.25,
    )  # fmt: skip
    yield Figure(
        f"baseline: growth of the peak with {MORE} times the attempts",
        whole["long"] / whole["short"], "×",
    )  # fmt: skip
    yield Figure(
        f"growth of the peak with {MORE} times the attempts at the same prompts",
        streamed["long"] / streamed["short"], "×", 1.1,
    )  # fmt: skip
    yield Figure(
        "bytes per distinct prompt, text included",
        (streamed["wide"] - streamed["short"]) * 2**20 / ((MORE - 1) * PROMPTS), "B",
    )  # fmt: skip


def _one_thread(encoder_directory: Path) -> Encoding:
    encoder = load_encoder(encoder_directory)
    return lambda shards: ((shard, encode_shard(encoder, shard)) for shard in shards)


def _rate(prompts: list[str], directory: Path, encode: Encoding) -> float:
    """Prompts per second, into a fresh cache."""
    encoder = load_encoder(directory)
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        fill_cache(encoder, prompts, cache=Path(cache), total=len(prompts), encode=encode)
        return len(prompts) / (time.perf_counter() - started)


def _encoding() -> Iterator[Figure]:
    directory = find_encoder(ENCODERS, "minilm")
    prompts = texts(ENCODED)
    # By default Ray lowers the priority of its workers; here all ways need the same priority.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 -- how Ray spells it
    started = time.perf_counter()
    with on_ray(directory, workers=WORKERS) as on_workers:
        # The first tasks start the workers and load the encoder in each.
        _rate(prompts[: 4 * WORKERS * 128], directory, on_workers)
        ready = time.perf_counter() - started
        ways: dict[str, Callable[[], float]] = {
            "one thread": lambda: _rate(prompts, directory, _one_thread(directory)),
            "threads": lambda: _rate(prompts, directory, in_threads(load_encoder(directory))),
            "Ray": lambda: _rate(prompts, directory, on_workers),
        }
        # In turn, so that other load on the machine affects all ways alike.
        rounds = [{name: rate() for name, rate in ways.items()} for _ in range(3)]
    rates = {name: statistics.median(one[name] for one in rounds) for name in ways}
    ratio = statistics.median(one["Ray"] / one["one thread"] for one in rounds)
    yield Figure("baseline: minilm in one process, one thread", rates["one thread"], "prompts/s")
    yield Figure("minilm in one process, two threads", rates["threads"], "prompts/s")
    yield Figure(f"minilm on Ray, {WORKERS} workers", rates["Ray"], "prompts/s")
    yield Figure(f"– over one thread ({os.cpu_count()} cores here)", ratio, "×", 1.5, ">=")
    yield Figure("a local cluster started, its workers warm", ready, "s")
    yield Figure(
        f"a million such prompts on {WORKERS} workers, extrapolated", 1e6 / rates["Ray"] / 3600, "h"
    )


def _training() -> Iterator[Figure]:
    """Fit (with evaluation and export), then evaluate, on a real history with cached vectors."""
    if not HISTORY.is_file():
        Console(stderr=True).print(f"no {HISTORY}: training is not measured; set HISTORIES=folder")
        return
    attempts = pq.read_metadata(HISTORY).num_rows
    with tempfile.TemporaryDirectory() as scratch:
        read = ("--history", str(HISTORY), "--cache", f"{scratch}/cache")
        _run(_TRAINING, "embed", *read)
        out = ("--out", f"{scratch}/bundle", "--no-mlflow")
        fit = _run(_TRAINING, "fit", *read, *out)
        report = ("--bundle", f"{scratch}/bundle", "--json", f"{scratch}/report.json")
        evaluate = _run(_TRAINING, "evaluate", *read, *report)
    what = f"{attempts:,} attempts (mmlu_pro), cached embeddings: fit, evaluate, export"
    yield Figure(what, fit.seconds + evaluate.seconds, "s", 300)
    yield Figure("– processor time", fit.cpu + evaluate.cpu, "s")
    yield Figure("– peak", max(fit.peak, evaluate.peak), "MiB", 4096)


def measure() -> Iterator[Figure]:
    """Read generated histories, encode generated prompts, and train on a real history if it is present."""
    yield from _reading()
    yield from _encoding()
    yield from _training()
