"""The split into training and held-out prompts, by a hash of the prompt.

Prompts that differ only in case, white space or Unicode form are one group, which is never divided. The
side of a group depends only on its text and the seed, so adding rows to a history moves no other prompt.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from router.core.errors import BadArtifact

__all__ = [
    "SEED",
    "SEEN_FILE",
    "folds",
    "group_of",
    "held_out",
    "pack_seen",
    "sample",
    "seen_prompts",
]

SEED = 20260101
SEEN_FILE = "seen_prompts.bin"
"""File of a bundle that holds :func:`pack_seen`."""

_SEEN = np.dtype("<u4")


def group_of(text: str) -> str:
    """The key of a prompt: a hash of its text in NFKC, case folded, white space runs made one space.

    32 hexadecimal digits, so that tables of keys stay small however long the prompts are.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _hash(seed: int, purpose: bytes, group: str, size: int) -> bytes:
    key = seed.to_bytes(8, "little", signed=True)
    return hashlib.blake2b(group.encode(), digest_size=size, key=key, person=purpose).digest()


def _positions(groups: Iterable[str], seed: int, purpose: bytes) -> npt.NDArray[np.float64]:
    """A number in 0..1 for every group, the same for the same group."""
    values = [int.from_bytes(_hash(seed, purpose, group, 8), "little") for group in groups]
    return np.asarray(values, dtype=np.float64) / 2.0**64


def held_out(groups: Iterable[str], *, seed: int, share: float) -> npt.NDArray[np.bool_]:
    """Which prompts are held out: about ``share`` of the groups.

    Args:
        groups: ``n`` keys of :func:`group_of`.
        seed: another seed draws another split.
        share: 0..1.

    Returns:
        bool ``(n,)``.
    """
    return np.asarray(_positions(groups, seed, b"holdout") < share)


def folds(groups: Iterable[str], *, count: int, seed: int) -> npt.NDArray[np.intp]:
    """The fold of every prompt, 0 … count − 1, whole groups together, folds of equal size.

    Groups are ordered by hash and dealt out in turn, so that small data give even folds too.

    Args:
        groups: ``n`` keys of :func:`group_of`.
        count: number of folds.
        seed: of the order of groups.
    """
    keys, inverse = np.unique(
        np.asarray(list(groups), dtype=object).astype(str), return_inverse=True
    )
    rank = np.empty(len(keys), dtype=np.intp)
    rank[np.argsort(_positions(keys, seed, b"folds"), kind="stable")] = np.arange(len(keys))
    return np.asarray(rank[inverse] % count)


def sample(count: int, most: int, seed: int) -> npt.NDArray[np.intp]:
    """Positions of a random sample of at most ``most`` prompts, ascending.

    Args:
        count: number of prompts.
        most: largest size of the sample.
        seed: of the draw.
    """
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _fingerprints(groups: Iterable[str], seed: int) -> npt.NDArray[np.uint32]:
    packed = b"".join(_hash(seed, b"seen", group, 4) for group in groups)
    return np.frombuffer(packed, dtype=_SEEN).astype(np.uint32)


def pack_seen(groups: Iterable[str], *, seed: int) -> bytes:
    """The content of :data:`SEEN_FILE`: the fingerprints of the training prompts.

    Four bytes of a keyed hash for each group, sorted, little-endian uint32. A prompt cannot be read
    from it; with 10,000 prompts a new one is taken for a known one with probability 2e-6.
    """
    return np.unique(_fingerprints(groups, seed)).astype(_SEEN).tobytes()


def seen_prompts(groups: Sequence[str], content: bytes, *, seed: int) -> npt.NDArray[np.bool_]:
    """Which prompts a bundle was trained on.

    Args:
        groups: ``n`` keys of :func:`group_of`.
        content: of the bundle's :data:`SEEN_FILE`.
        seed: of the bundle's split.

    Returns:
        bool ``(n,)``.

    Raises:
        BadArtifact: the content is no list of fingerprints.
    """
    if len(content) % _SEEN.itemsize:
        raise BadArtifact(f"{SEEN_FILE} is damaged; train the bundle again", field=SEEN_FILE)
    return np.isin(_fingerprints(groups, seed), np.frombuffer(content, dtype=_SEEN))
