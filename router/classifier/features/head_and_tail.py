"""The two ends of a long text: a bound on the time that reading it takes."""

from __future__ import annotations

__all__ = ["both_ends"]


def both_ends(text: str, reach: int) -> str:
    """A text; of one longer than both ends its first and its last ``reach`` characters, in two lines."""
    return text if len(text) <= 2 * reach else text[:reach] + "\n" + text[-reach:]
