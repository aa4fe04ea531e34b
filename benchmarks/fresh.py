"""The time from a clone to the table of the demo, as a newcomer meets it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Figure


def measure() -> Iterator[Figure]:
    """Clone HEAD into an empty directory and run `make demo` there twice."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "mitsumori"
        started = time.perf_counter()
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        subprocess.run(
            ["make", "--silent", "demo", f"PYTHON={sys.executable}"],
            cwd=clone,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        whole = time.perf_counter() - started
        started = time.perf_counter()
        subprocess.run(
            ["make", "--silent", "demo"], cwd=clone, check=True, stdout=subprocess.DEVNULL
        )
        again = time.perf_counter() - started
    yield Figure("baseline: make demo where the environment is there", again, "s")
    yield Figure("make demo from clone to table", whole, "s", 180.0)
