"""Small rows that the processes of a service share through the store: what one learns, the others take over.

A row is known by its kind and its key. Of two rows with the same kind and key the newer one stays, by
``changed`` and, where that is equal, by ``value``; so all stores and processes agree, in whatever order they
see the rows. Rows are few and short, and end: no text of a prompt and no label but a tenant belongs in them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "MAX_PAGE",
    "MAX_PUBLISHED",
    "MAX_ROWS",
    "SharedChanges",
    "SharedRow",
]

MAX_ROWS = 10_000
"""Rows of one kind that a store keeps; of more, those that were written longest ago go."""
MAX_PUBLISHED = 1_000
"""Rows that are published at once, at most."""
MAX_PAGE = 5_000
"""Rows that are read at once, at most."""


@dataclass(frozen=True, slots=True)
class SharedRow:
    """One thing that processes share.

    Attributes:
        kind: what it is about, such as ``breakers``: 1 to 100 characters.
        key: which of this kind: 1 to 1,000 characters.
        value: in a form of the kind's own, usually JSON: at most 8,000 characters.
        changed: when, microseconds since 1970; who changes a row that is known gives it a later time than it
            had, whatever the clock says.
        keep_s: seconds until the store may forget it, > 0 and at most 366 days.
    """

    kind: str
    key: str
    value: str
    changed: int
    keep_s: float

    @property
    def age(self) -> tuple[int, str]:
        """Of two rows with the same kind and key, the one where this is greater stays."""
        return self.changed, self.value


@dataclass(frozen=True, slots=True)
class SharedChanges:
    """What has been written to the store.

    Attributes:
        rows: in the order in which they were written; at most :data:`MAX_PAGE`.
        until: for the next question.
    """

    rows: tuple[SharedRow, ...]
    until: int
