"""Families of histories: those that have prompts or names in common.

The two judges of one set of answers are a family, or a set of prompts and its translation: what is learnt
from one of them is no news of another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["first_of_family"]


def first_of_family(names: Sequence[str], groups: Sequence[Collection[str]]) -> list[int]:
    """The place of the first history of the family of each history.

    Args:
        names: of the histories.
        groups: of each, the keys :func:`split.group_of` of its prompts.
    """
    keys = [frozenset(one) for one in groups]
    first = list(range(len(names)))
    for later in range(len(names)):
        for earlier in range(later):
            short, long = sorted((names[later], names[earlier]), key=len)
            if long.startswith(short) or keys[later] & keys[earlier]:
                one, other = sorted((first[later], first[earlier]))
                first = [one if at == other else at for at in first]
    return first
