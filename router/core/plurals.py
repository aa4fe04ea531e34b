"""Counts in sentences: 1 row, 2 rows."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count and its noun, such as ``1,200 rows``.

    Args:
        count: 0 or more.
        one: the noun after 1; a verb may follow it.
        many: after any other count; ``None``: ``one`` and an s.
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
