"""The resources that a bundle needs: time, disk, memory, and the cost of its own time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from router.classifier.bundle import Bundle
from router.classifier.encoder import find_encoder
from router.classifier.manifest import read_manifest
from training.evaluation.bundle_predictions import served_score

__all__ = ["CORE_HOUR_USD", "encode_ms", "footprint", "net_of_router"]

TIMED_PROMPTS = 300
WARM_UP = 5
LENGTH_BUCKETS = ((0, 256), (256, 1024), (1024, None))
"""Characters, from … up to …: the buckets in which the time to encode is given."""

CORE_HOUR_USD = 0.05
"""What an hour of one core costs, in USD: about the list price of a virtual core on demand."""

_MS_PER_HOUR = 3_600_000
_TIMEOUT_S = 120
# Memory is measured in a separate process, because training fills the memory of this one.
_PROBE = """
import resource, sys
from pathlib import Path
from router.classifier.bundle import load_bundle
load_bundle(Path(sys.argv[1]), Path(sys.argv[2])).score_all_stages("How much memory does this take?")
try:
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")))
except OSError:  # macOS, where ru_maxrss is in bytes
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _milliseconds(values: npt.NDArray[np.float64]) -> dict[str, float | int]:
    return {
        "p50": float(np.percentile(values, 50)) if len(values) else float("nan"),
        "p99": float(np.percentile(values, 99)) if len(values) else float("nan"),
        "mean": float(np.mean(values)) if len(values) else float("nan"),
        "n": len(values),
    }


def encode_ms(bundle: Bundle, texts: npt.NDArray[np.object_], seed: int) -> dict[str, Any]:
    """Milliseconds to encode and classify one prompt, as serving does: one at a time, one core.

    Args:
        bundle: loaded.
        texts: ``n`` prompts, of which :data:`TIMED_PROMPTS` are drawn.
        seed: of the draw.

    Returns:
        ``p50``, ``p99``, ``mean`` and ``n``, and the same under ``by_characters`` for each bucket.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(texts))[:TIMED_PROMPTS]
    for text in texts[chosen[:WARM_UP]]:
        served_score(bundle, text)
    times = np.empty(len(chosen))
    for place, text in enumerate(
        track(texts[chosen], "timing", console=Console(stderr=True), transient=True)
    ):
        start = time.perf_counter()
        served_score(bundle, text)
        times[place] = (time.perf_counter() - start) * 1e3
    characters = np.array([len(text) for text in texts[chosen]])
    buckets = {}
    for low, high in LENGTH_BUCKETS:
        inside = (characters >= low) & (characters < (high or np.inf))
        buckets[f"{low}-{high - 1}" if high else f"{low}+"] = _milliseconds(times[inside])
    return {**_milliseconds(times), "by_characters": buckets}


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _resident(bundle: Path, encoders: Path) -> int | None:
    try:
        answer = subprocess.run(  # noqa: S603 -- our own interpreter and program
            [sys.executable, "-c", _PROBE, str(bundle), str(encoders)],
            capture_output=True, text=True, timeout=_TIMEOUT_S, check=True,
        )  # fmt: skip
        return int(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def footprint(bundle: Path, encoders: Path) -> dict[str, int | None]:
    """Bytes that a bundle takes.

    Args:
        bundle: its directory.
        encoders: folder of encoders.

    Returns:
        ``bundle`` and ``encoder`` on disk, ``resident`` in memory of a process that has loaded both and
        scored one prompt (``None`` where that cannot be measured).

    Raises:
        BadArtifact: the bundle or its encoder is not there.
    """
    manifest, _ = read_manifest(bundle)
    return {
        "bundle": _bytes_in(bundle),
        "encoder": sum(
            _bytes_in(find_encoder(encoders, one.name, one.sha256)) for one in manifest.encoders
        ),
        "resident": _resident(bundle, encoders),
    }


def net_of_router(report: Mapping[str, Any], core_hour_usd: float) -> dict[str, Any]:
    """Savings after the router's own time is paid for.

    Args:
        report: with ``arms``, ``cost_at_quality`` and ``encode_ms``.
        core_hour_usd: what an hour of one core costs.

    Returns:
        ``core_hour_usd``; ``usd_per_prompt``, of the router alone; ``saving``: share of the strongest
        arm's quality → saving as a share of always using that arm, with its 95 % interval, ``None``
        where the cost is not known.
    """
    own = report["encode_ms"]["mean"] / _MS_PER_HOUR * core_hour_usd
    strongest = list(report["arms"].values())[-1]["mean_cost_usd"]
    saving: dict[str, Any] = {}
    for share, cost in report["cost_at_quality"].items():
        saving[share] = None
        bounds = report["cost_at_quality_interval"][share]
        if cost is not None and strongest and bounds is not None and None not in bounds:
            part = own / strongest
            saving[share] = {
                "saving": 1 - cost - part,
                "interval": [1 - bounds[1] - part, 1 - bounds[0] - part],
            }
    return {"core_hour_usd": core_hour_usd, "usd_per_prompt": own, "saving": saving}
