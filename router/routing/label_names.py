"""Names of labels that look misspelt: a limit on team does not see a request that carries taem."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache

from router.core.limits import ANY, CHOICE_LABELS
from router.core.types import Reason
from router.ledger.base import Ledger

__all__ = ["LabelNames"]

_TENANT = "tenant"
"""Labels that the decision sets itself."""
_MIN_SIMILARITY = 0.75
"""Least difflib ratio of two similar names: two letters swapped in a word of four give it."""
_DECISIONS = 200
"""How many of the newest decisions are read."""
_COMMON_SHARE, _COMMON_MIN = 0.1, 3
"""A name is in common use if this share of the newest decisions carry it, and at least this many."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Names that limits use, and those that many of the newest decisions carry."""

    limits: frozenset[str] = frozenset()
    common: frozenset[str] = frozenset()


@dataclass
class LabelNames:
    """The label names that limits and settings use, and those in common use. Thread-safe.

    A request of a tenant is compared with the names of its own limits and decisions, and with those of limits
    of every tenant: how another tenant names its labels is its secret. One without a tenant is compared with
    all names.

    Attributes:
        configured: names that settings use, such as those of ``correct_by`` and ``retention``.
    """

    configured: frozenset[str] = frozenset()
    _everyones: _Known = field(init=False, default=_Known())
    _all: _Known = field(init=False, default=_Known())
    _of_tenant: Mapping[str, _Known] = field(init=False, default_factory=dict)

    def refresh(self, ledger: Ledger) -> None:
        """Read the names of the limits and of the newest decisions.

        Raises:
            Unavailable: the store cannot be read; the names known before stay.
        """
        limits = [limit.scope for limit in ledger.limits()]
        newest = [each.labels for each in ledger.decisions(count=_DECISIONS, newest_first=True)]
        limits_of, newest_of = _by_tenant(limits), _by_tenant(newest)
        everyones, by_tenant = _known(limits_of.pop(ANY, []), []), dict[str, _Known]()
        newest_of.pop(ANY, None)
        for tenant in limits_of.keys() | newest_of.keys():
            own = _known(limits_of.get(tenant, []), newest_of.get(tenant, []))
            by_tenant[tenant] = _Known(own.limits | everyones.limits, own.common)
        self._all, self._everyones, self._of_tenant = _known(limits, newest), everyones, by_tenant

    def notes(self, labels: Mapping[str, str]) -> tuple[Reason, ...]:
        """A note for every label whose name looks like a misspelt known one.

        A name that a limit or a setting uses is correct. A name in common use is correct too, unless it
        is similar to a name that limits or settings use. A known name that the labels contain as well is
        never suggested.
        """
        tenant = labels.get(_TENANT, ANY)
        found = self._all if tenant == ANY else self._of_tenant.get(tenant, self._everyones)
        referenced, common = (found.limits | self.configured) - CHOICE_LABELS, found.common
        notes = []
        for name in labels:
            if name in referenced or name in CHOICE_LABELS:
                continue
            known = (referenced if name in common else referenced | common).difference(labels)
            near = _nearest(name, known)
            if near is not None:
                text = f"no limit or setting uses the label {name}; did you mean {near}?"
                notes.append(Reason("UNKNOWN_LABEL", text, {"label": name, "known_label": near}))
        return tuple(notes)


def _by_tenant(
    listed: Sequence[Mapping[str, str]],
) -> defaultdict[str, list[Mapping[str, str]]]:
    found = defaultdict[str, list[Mapping[str, str]]](list)
    for labels in listed:
        found[labels.get(_TENANT, ANY)].append(labels)
    return found


def _known(limits: Sequence[Mapping[str, str]], decisions: Sequence[Mapping[str, str]]) -> _Known:
    carried = Counter(name for labels in decisions for name in labels)
    enough = max(_COMMON_SHARE * len(decisions), _COMMON_MIN)
    common = frozenset(name for name, count in carried.items() if count >= enough)
    return _Known(frozenset(name for scope in limits for name in scope), common - CHOICE_LABELS)


@lru_cache(maxsize=1024)  # callers send the same few names again and again
def _nearest(name: str, known: frozenset[str]) -> str | None:
    near = get_close_matches(name, sorted(known), n=1, cutoff=_MIN_SIMILARITY)
    return near[0] if near else None
