"""The inputs of a bundle for many prompts: words, vectors and lexical features; vectors are cached on disk.

One SQLite file per encoder, named by its SHA-256, so that vectors of different encoders are never mixed.
Prompts are encoded in shards, and every shard is committed at once, so a killed run resumes where it
stopped. An :data:`Encoding` encodes the shards: threads here, or a cluster
(:mod:`training.encoders.ray_encoder`). Each text is encoded alone, as in serving, so both give the same
bytes.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from router.classifier.encoder import Encoder
from router.classifier.features.lexical import FEATURES, lexical_features
from router.core.errors import MitsumoriError

__all__ = [
    "CACHE",
    "CacheFill",
    "EncodedPrompts",
    "Encoding",
    "Shard",
    "embed_all",
    "encode_prompts",
    "encode_shard",
    "features_of",
    "fill_cache",
    "in_threads",
]

CACHE = Path("build/cache/embeddings")
"""Default directory of the cache, in the working directory."""

SHARD = 128
"""Texts that are encoded and committed together: about a second of a transformer."""
THREADS = 2
"""onnxruntime releases the interpreter lock, so a second thread uses a second core."""
QUIET = 20_000
"""Static vectors made in about two seconds: for fewer there is no progress bar."""
_LOOKUP = 500

Shard = Mapping[bytes, str]
"""Texts by key."""
WordIds = Mapping[bytes, list[int]]
"""Token ids, as :meth:`Encoder.word_ids` gives them, by key."""
Vectors = npt.NDArray[np.float32]
Encoding = Callable[[Iterable[Shard]], Iterator[tuple[Shard, Vectors]]]
"""Encodes shards: each comes back with its vectors, float32 ``(texts, dimensions)``, in any order.

Takes shards only as fast as it encodes them, so that few are in memory however many there are.
"""


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


# --- Encoding ----------------------------------------------------------------------------------


@contextmanager
def _named(encoder: Encoder, key: bytes) -> Iterator[None]:
    """Name the prompt that the encoder fails on by its hash."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 -- onnxruntime and tokenizers raise types of their own
        raise MitsumoriError(
            f"the encoder {encoder.manifest.name} cannot encode the prompt whose SHA-256 begins with "
            f"{key.hex()[:16]} ({type(error).__name__}); leave that prompt out of the history",
            reason="ENCODING_FAILED",
            field="prompt",
        ) from None


def _word_ids(encoder: Encoder, text: str) -> list[int]:
    with _named(encoder, _key(text)):
        return encoder.word_ids(text)


def _encoded(encoder: Encoder, word_ids: WordIds, item: tuple[bytes, str]) -> Vectors:
    key, text = item
    with _named(encoder, key):
        ids = word_ids.get(key)
        return encoder.embed(text) if ids is None else encoder.embed_ids(encoder.window(ids))


def encode_shard(encoder: Encoder, shard: Shard) -> Vectors:
    """The vectors of a shard, float32 ``(texts, dimensions)``, one text after the other.

    Raises:
        MitsumoriError: a text cannot be encoded; names it by its hash.
    """
    return np.stack([_encoded(encoder, {}, item) for item in shard.items()])


def in_threads(encoder: Encoder, word_ids: WordIds | None = None) -> Encoding:
    """Encode in this process, the texts of a shard side by side.

    Args:
        encoder: of training and serving.
        word_ids: of texts that are tokenised already, by the keys of their shards.
    """

    def encode(shards: Iterable[Shard]) -> Iterator[tuple[Shard, Vectors]]:
        with ThreadPoolExecutor(THREADS) as pool:
            for shard in shards:
                yield (
                    shard,
                    np.stack(
                        [*pool.map(partial(_encoded, encoder, word_ids or {}), shard.items())]
                    ),
                )

    return encode


# --- The cache ---------------------------------------------------------------------------------


def _unusable(path: Path, error: Exception) -> MitsumoriError:
    return MitsumoriError(
        f"the cache of embeddings {path} cannot be used ({error}); delete it, or name another "
        "folder with --cache",
        reason="CACHE_UNUSABLE",
        field="cache",
    )


@contextmanager
def _opened(directory: Path | None, encoder: Encoder) -> Iterator[sqlite3.Connection]:
    """The cache of an encoder; ``None``: one in memory that is gone with the context."""
    path = directory / f"{encoder.manifest.sha256}.sqlite" if directory else Path(":memory:")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) "
                "WITHOUT ROWID"
            )
            yield connection
    except sqlite3.Error as error:
        raise _unusable(path, error) from None


def _cached(
    connection: sqlite3.Connection, what: str, keys: Sequence[bytes], size: int
) -> list[tuple[Any, ...]]:
    """Columns of the vectors of ``size`` bytes among ``keys``; others count as absent."""
    marks = ",".join("?" * len(keys))
    query = f"SELECT {what} FROM vectors WHERE length(vector) = ? AND key IN ({marks})"  # noqa: S608 -- only marks
    return connection.execute(query, (size, *keys)).fetchall()


def _store(connection: sqlite3.Connection, shard: Shard, vectors: Vectors) -> None:
    rows = zip(shard, (vector.tobytes() for vector in vectors), strict=True)
    connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
    connection.commit()


class _Missing:
    """The shards of texts that the cache lacks, each text once; counts as it goes.

    Keeps the hashes of the texts that it has seen, never the texts.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        size: int,
        texts: Iterable[str],
        advance: Callable[[int], None],
    ) -> None:
        self._connection, self._size = connection, size
        self._texts, self._advance = texts, advance
        self._seen: set[bytes] = set()
        self.found = 0

    @property
    def prompts(self) -> int:
        return len(self._seen)

    def __iter__(self) -> Iterator[Shard]:
        held: dict[bytes, str] = {}
        for asked in self._asked():
            known = {key for (key,) in _cached(self._connection, "key", [*asked], self._size)}
            self.found += len(known)
            self._advance(len(known))
            for key, text in asked.items():
                if key not in known:
                    held[key] = text
                if len(held) == SHARD:
                    yield held
                    held = {}
        if held:
            yield held

    def _asked(self) -> Iterator[dict[bytes, str]]:
        asked: dict[bytes, str] = {}
        for text in self._texts:
            key = _key(text)
            if key in self._seen:
                continue
            self._seen.add(key)
            asked[key] = text
            if len(asked) == _LOOKUP:
                yield asked
                asked = {}
        if asked:
            yield asked


@dataclass(frozen=True)
class CacheFill:
    """Result of filling a cache: ``prompts`` distinct texts, of which ``found`` were there before."""

    prompts: int
    found: int

    @property
    def made(self) -> int:
        """How many were encoded."""
        return self.prompts - self.found


def _fill(
    connection: sqlite3.Connection,
    encoder: Encoder,
    texts: Iterable[str],
    total: int,
    encode: Encoding,
    console: Console | None,
) -> CacheFill:
    quick = encoder.manifest.kind == "static" and total < QUIET
    with Progress(console=console, disable=console is None or quick, transient=True) as progress:
        task = progress.add_task(f"encoding with {encoder.manifest.name}", total=total)
        advance = partial(progress.advance, task)
        missing = _Missing(connection, 4 * encoder.manifest.dimensions, texts, advance)
        for shard, vectors in encode(missing):
            _store(connection, shard, vectors)
            advance(len(shard))
    return CacheFill(missing.prompts, missing.found)


def fill_cache(
    encoder: Encoder,
    texts: Iterable[str],
    *,
    cache: Path,
    total: int,
    encode: Encoding | None = None,
    console: Console | None = None,
) -> CacheFill:
    """Put the vectors of many texts into the cache; those that are cached already are not encoded again.

    Args:
        encoder: of training and serving.
        texts: any number, repetitions allowed; they are never all in memory.
        cache: directory.
        total: how many distinct texts there are, about; for the progress bar only.
        encode: encodes the shards; ``None``: threads of this process.
        console: where a progress bar goes; ``None`` shows none.

    Raises:
        MitsumoriError: the cache cannot be read or written, or a text cannot be encoded. Vectors that were
            encoded before stay in the cache.
    """
    with _opened(cache, encoder) as connection:
        return _fill(connection, encoder, texts, total, encode or in_threads(encoder), console)


def embed_all(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    cache: Path | None = CACHE,
    console: Console | None = None,
    word_ids: Sequence[list[int]] | None = None,
) -> Vectors:
    """The vectors of many texts, each encoded alone as in serving.

    Args:
        encoder: of training and serving.
        texts: ``n``, repetitions allowed.
        cache: directory; ``None`` keeps nothing.
        console: where a progress bar goes; ``None`` shows none.
        word_ids: token ids of each text, where it is tokenised already.

    Returns:
        float32 ``(n, dimensions)``.

    Raises:
        MitsumoriError: the cache cannot be read or written, or a text cannot be encoded.
    """
    tokenised = {} if word_ids is None else dict(zip(map(_key, texts), word_ids, strict=True))
    vectors = np.empty((len(texts), encoder.manifest.dimensions), dtype=np.float32)
    with _opened(cache, encoder) as connection:
        _fill(connection, encoder, texts, len(texts), in_threads(encoder, tokenised), console)
        for start in range(0, len(texts), _LOOKUP):
            keys = [_key(text) for text in texts[start : start + _LOOKUP]]
            size = vectors.itemsize * vectors.shape[1]
            known = dict(_cached(connection, "key, vector", keys, size))
            for place, key in enumerate(keys, start):
                vectors[place] = np.frombuffer(known[key], dtype=np.float32)
    return vectors


def features_of(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The lexical features of many texts, float32 ``(n, len(FEATURES))``."""
    if not len(texts):
        return np.zeros((0, len(FEATURES)), dtype=np.float32)
    return np.stack([lexical_features(text) for text in texts])


@dataclass(frozen=True)
class EncodedPrompts:
    """The inputs of a bundle for ``n`` prompts.

    Attributes:
        texts: the prompts.
        word_ids: token ids of each, as :meth:`Encoder.word_ids` gives them.
        vectors: float32 ``(n, d)``, unit rows.
        features: float32 ``(n, f)``, lexical.
    """

    texts: Sequence[str]
    word_ids: Sequence[list[int]]
    vectors: Vectors
    features: npt.NDArray[np.float32]


def encode_prompts(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    cache: Path | None = CACHE,
    console: Console | None = None,
    features: npt.NDArray[np.float32] | None = None,
) -> EncodedPrompts:
    """Tokenise each text once, and encode it.

    Args:
        encoder: of training and serving.
        texts: ``n``, repetitions allowed.
        cache: directory of cached vectors; ``None`` keeps nothing.
        console: where a progress bar goes; ``None`` shows none.
        features: float32 ``(n, f)``, where the caller has them already.

    Raises:
        MitsumoriError: the cache cannot be read or written, or a text cannot be encoded.
    """
    ids = [_word_ids(encoder, text) for text in texts]
    vectors = embed_all(encoder, texts, cache=cache, console=console, word_ids=ids)
    return EncodedPrompts(texts, ids, vectors, features_of(texts) if features is None else features)
