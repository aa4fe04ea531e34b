"""Vectors and lexical features of many prompts; vectors are kept on disk by content.

One SQLite file per encoder, named by its SHA-256, so that another encoder never meets these vectors.
Batches are committed as they come: a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from router.core.errors import MitsumoriError
from router.encoding import Encoder
from router.lexical import FEATURES, lexical_features

__all__ = ["CACHE", "embed_all", "features_of"]

CACHE = Path("build/cache/embeddings")
"""Default directory of the cache, in the working directory."""

BATCH = 256
THREADS = 2
"""onnxruntime releases the interpreter lock, so a second thread uses a second core."""
QUIET = 20_000
"""Static vectors made in about two seconds: for fewer there is no progress bar."""
_LOOKUP = 500


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


@contextmanager
def _opened(directory: Path, encoder: Encoder) -> Iterator[sqlite3.Connection]:
    path = directory / f"{encoder.manifest.sha256}.sqlite"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) "
                "WITHOUT ROWID"
            )
            yield connection
    except (sqlite3.Error, OSError) as error:
        raise MitsumoriError(
            f"the cache of embeddings {path} cannot be used ({error}); delete it, or name another "
            "folder with --cache",
            reason="CACHE_UNUSABLE",
            field="cache",
        ) from None


def _cached(connection: sqlite3.Connection, keys: Sequence[bytes], size: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for start in range(0, len(keys), _LOOKUP):
        part = keys[start : start + _LOOKUP]
        marks = ",".join("?" * len(part))
        query = f"SELECT key, vector FROM vectors WHERE key IN ({marks})"  # noqa: S608 -- only marks
        found.update(connection.execute(query, part))
    return {key: vector for key, vector in found.items() if len(vector) == size}


def embed_all(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    cache: Path | None = CACHE,
    console: Console | None = None,
) -> npt.NDArray[np.float32]:
    """The vectors of many texts, each encoded alone as in serving.

    Args:
        encoder: of training and serving.
        texts: ``n``, repetitions allowed.
        cache: directory; ``None`` keeps nothing.
        console: where a progress bar goes; ``None`` shows none.

    Returns:
        float32 ``(n, dimensions)``.

    Raises:
        MitsumoriError: the cache cannot be read or written.
    """
    size = encoder.manifest.dimensions
    by_key = {_key(text): text for text in texts}
    vectors: dict[bytes, bytes] = {}
    if cache is None:
        vectors.update(_encoded(encoder, by_key, console))
    else:
        with _opened(cache, encoder) as connection:
            vectors.update(_cached(connection, list(by_key), 4 * size))
            missing = {key: text for key, text in by_key.items() if key not in vectors}
            pending: list[tuple[bytes, bytes]] = []
            for key, vector in _encoded(encoder, missing, console):
                vectors[key] = vector
                pending.append((key, vector))
                if len(pending) == BATCH:
                    _store(connection, pending)
                    pending = []
            _store(connection, pending)
    joined = b"".join(vectors[_key(text)] for text in texts)
    return np.frombuffer(joined, dtype=np.float32).reshape(len(texts), size).copy()


def _store(connection: sqlite3.Connection, rows: Sequence[tuple[bytes, bytes]]) -> None:
    connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
    connection.commit()


def _encoded(
    encoder: Encoder, texts: dict[bytes, str], console: Console | None
) -> Iterator[tuple[bytes, bytes]]:
    """Key and vector of each text, in order, as they are made."""
    quick = encoder.manifest.kind == "static" and len(texts) < QUIET
    shown = console is not None and bool(texts) and not quick
    with (
        Progress(console=console, disable=not shown, transient=True) as progress,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        task = progress.add_task(f"encoding with {encoder.manifest.name}", total=len(texts))
        keys = list(texts)
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            for key, vector in zip(
                part, pool.map(encoder.embed, map(texts.get, part)), strict=True
            ):
                yield key, vector.tobytes()
            progress.advance(task, len(part))


def features_of(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The lexical features of many texts, float32 ``(n, len(FEATURES))``."""
    if not len(texts):
        return np.zeros((0, len(FEATURES)), dtype=np.float32)
    return np.stack([lexical_features(text) for text in texts])
