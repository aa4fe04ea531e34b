"""The number that decides what is left to chance: a keyed hash of the decision's id."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

__all__ = ["Chance"]

_BITS = 53
"""Of a draw, as many as a float holds."""


@dataclass(frozen=True)
class Chance:
    """Draws a number for a decision: the same id gets the same one, and nobody without the key foresees it.

    Attributes:
        key: secret, at most 64 bytes; by default made at random for this process.
    """

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def draw(self, decision_id: str) -> float:
        """The number of a decision, uniform in 0 ≤ draw < 1."""
        digest = hashlib.blake2b(
            decision_id.encode(), key=self.key, digest_size=8, person=b"exploration"
        ).digest()
        return float((int.from_bytes(digest) >> (64 - _BITS)) / (1 << _BITS))
