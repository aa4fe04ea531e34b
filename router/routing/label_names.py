"""Names of labels that look misspelt: a limit on team does not see a request that carries taem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache

from router.core.types import Reason
from router.ledger.base import Ledger

__all__ = ["LabelNames"]

_CHOICE_LABELS = frozenset({"model", "provider", "tier"})
"""Labels that the decision sets itself."""
_MIN_SIMILARITY = 0.75
"""Least difflib ratio of two similar names: two letters swapped in a word of four give it."""
_DECISIONS = 200
"""How many of the newest decisions are read."""
_COMMON_SHARE, _COMMON_MIN = 0.1, 3
"""A name is in common use if this share of the newest decisions carry it, and at least this many."""


@dataclass
class LabelNames:
    """The label names that limits and settings use, and those in common use. Thread-safe.

    Attributes:
        configured: names that settings use, such as those of ``correct_by`` and ``retention``.
        referenced: ``configured``, and the names in the scopes of limits.
        common: names that many of the newest decisions carry.
    """

    configured: frozenset[str] = frozenset()
    referenced: frozenset[str] = field(init=False)
    common: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        self.referenced = self.configured

    def refresh(self, ledger: Ledger) -> None:
        """Read the names of the limits and of the newest decisions.

        Raises:
            Unavailable: the store cannot be read; the names known before stay.
        """
        limits = {name for limit in ledger.limits() for name in limit.scope}
        newest = ledger.decisions(count=_DECISIONS, newest_first=True)
        carried = Counter(name for decision in newest for name in decision.labels)
        enough = max(_COMMON_SHARE * len(newest), _COMMON_MIN)
        self.referenced = (self.configured | limits) - _CHOICE_LABELS
        self.common = (
            frozenset(n for n, count in carried.items() if count >= enough) - _CHOICE_LABELS
        )

    def notes(self, labels: Mapping[str, str]) -> tuple[Reason, ...]:
        """A note for every label whose name looks like a misspelt known one.

        A name that a limit or a setting uses is correct. A name in common use is correct too, unless it
        is similar to a name that limits or settings use. A known name that the labels contain as well is
        never suggested.
        """
        referenced, common = self.referenced, self.common
        notes = []
        for name in labels:
            if name in referenced or name in _CHOICE_LABELS:
                continue
            known = (referenced if name in common else referenced | common).difference(labels)
            near = _nearest(name, known)
            if near is not None:
                text = f"no limit or setting uses the label {name}; did you mean {near}?"
                notes.append(Reason("UNKNOWN_LABEL", text, {"label": name, "known_label": near}))
        return tuple(notes)


@lru_cache(maxsize=1024)  # callers send the same few names again and again
def _nearest(name: str, known: frozenset[str]) -> str | None:
    near = get_close_matches(name, sorted(known), n=1, cutoff=_MIN_SIMILARITY)
    return near[0] if near else None
