"""What a prompt was found to be, for a caller who sends it again: scores and token counts, without the text.

A prompt is known by a hash. The tenant is part of the key, so that no tenant can tell from the time of an
answer what another one has asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from router.core.bounded_cache import BoundedCache
from router.core.types import Prompt

__all__ = ["PromptKey", "PromptMemory", "key_of"]

T = TypeVar("T")
_MAX_BYTES = 8 << 20


class PromptKey(NamedTuple):
    """A prompt of a tenant: the tenant's label, and a hash of every role and text."""

    tenant: str
    digest: bytes


def key_of(tenant: str, prompt: Prompt) -> PromptKey:
    """The key of a prompt.

    Args:
        tenant: label of the tenant; empty where the request has none.
        prompt: of the request.
    """
    found = hashlib.sha256()
    for message in prompt.messages:
        text = message.text.encode("utf-8", "surrogatepass")
        # The length, so that no text can be taken for two messages.
        found.update(f"{message.role} {len(text)} ".encode())
        found.update(text)
    return PromptKey(tenant, found.digest())


class PromptMemory:
    """Remembers what was computed of prompts, up to a number of bytes. Thread-safe.

    Args:
        max_bytes: of all that is remembered, roughly, > 0.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._known = BoundedCache[tuple[PromptKey, str], Any](max_bytes)

    @property
    def nbytes(self) -> int:
        """What is remembered now, bytes, roughly."""
        return self._known.nbytes

    def get(self, key: PromptKey, version: str, compute: Callable[[], T], nbytes: int) -> T:
        """A value of a prompt: remembered, or computed now.

        Args:
            key: of the prompt.
            version: what is computed, and by which bundle or catalog.
            compute: computes the value, which nobody may change.
            nbytes: of the value, roughly.
        """
        place = key, version
        found: T | None = self._known.get(place)
        if found is None:
            found = compute()
            size = nbytes + len(key.digest) + len(key.tenant) + len(version)
            self._known.put(place, found, size)
        return found
