"""Freed memory goes back to the operating system, also where small blocks stay between the large ones."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# The first block is as large as the weights of a model. Without bounds, glibc takes it as a sign to keep
# every smaller one in its heap, where the small blocks that stay hold the gaps fast.
_SCRIPT = """
from pathlib import Path
from router.allocator import bound_allocator, release_freed

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20

{bounds}
weights = b"w" * (16 << 20)
del weights
before = resident()
large, small = [], []
for _ in range(16):
    large.append(b"x" * (4 << 20))
    small.append(b"y" * 1_000)
held = resident()
large.clear()
{release}
print(held - before, resident() - before)
"""

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="bounds of glibc")


def _measured(*, bounds: str = "", release: str = "") -> tuple[float, float]:
    """MiB that blocks of 64 MiB took, and how many of them were still resident after they were freed."""
    found = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(bounds=bounds, release=release)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    held, left = map(float, found.stdout.split())
    return held, left


@on_glibc
def test_large_blocks_go_back_as_soon_as_they_are_freed() -> None:
    held, left = _measured(bounds="bound_allocator()")
    assert held > 60
    assert left < 4


@on_glibc
def test_what_lies_between_blocks_in_use_goes_back_on_request() -> None:
    held, left = _measured(release="release_freed()")
    assert held > 60
    assert left < 4
