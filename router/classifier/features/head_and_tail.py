"""The head and the tail of a long text, so that the time to read it is bounded."""

from __future__ import annotations

__all__ = ["head_and_tail"]


def head_and_tail(text: str, length: int) -> str:
    """The text itself up to twice ``length`` characters, else its first and last ``length`` on two lines."""
    return text if len(text) <= 2 * length else text[:length] + "\n" + text[-length:]
