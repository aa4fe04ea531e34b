"""What the C allocator keeps of memory that was freed. glibc keeps much of it; others need no help."""

from __future__ import annotations

import ctypes
from contextlib import suppress

__all__ = ["bound_allocator", "release_freed"]

# Parameters of mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

_LARGE_BYTES = 1 << 20
"""A block from here on has pages of its own, which go back when it is freed. By itself, glibc raises the
bound to the largest block freed so far: the weights of a model, after which they stay in the heap."""
_FREE_BYTES = 8 << 20
"""What a heap may keep at its end. To set one bound ends the choice of the other, which would be 128 KiB."""
_ARENAS = 2
"""Heaps, which threads share. By itself, glibc makes up to eight for each core, each with gaps of its own."""


def bound_allocator() -> None:
    """Bound what the allocator keeps for later, for the rest of the process: call it before threads start."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _FREE_BYTES)
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def release_freed() -> None:
    """Give freed memory back to the operating system. Takes milliseconds: for what happens rarely."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
