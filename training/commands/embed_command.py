"""``python -m training embed``: fill the cache of embeddings that ``fit`` and ``evaluate`` read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from router.classifier.encoder import find_encoder, load_encoder
from router.core.errors import InvalidInput
from router.paths import ENCODERS
from training.commands.options import AsJson, Cache, SkipBadRows
from training.encoders.embedding import CACHE, Encoding, fill_cache
from training.encoders.ray_encoder import on_ray
from training.histories.history import History, read_history

__all__ = ["embed_command"]


def _prompts(histories: Sequence[History]) -> Iterator[str]:
    for history in histories:
        for attempts in history.batches(columns=("prompt", "model")):
            yield from attempts["prompt"].unique()


def _encoding(
    directory: Path, ray: bool, address: str | None, workers: int | None
) -> AbstractContextManager[Encoding | None]:
    if ray or address is not None:
        return on_ray(directory, address=address, workers=workers)
    if workers is not None:
        raise InvalidInput("--workers is for --ray; without --ray, threads encode", field="workers")
    return nullcontext()


def embed_command(
    history: Annotated[list[Path], typer.Option(help="Parquet, JSONL or CSV; repeatable.")],
    encoder: Annotated[str, typer.Option(help="Name of the encoder: static, minilm …")] = "static",
    ray: Annotated[
        bool, typer.Option("--ray", help="Encode on a local Ray cluster of this machine's cores.")
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Encode on a running Ray cluster: HOST:PORT, ray://HOST:PORT or auto."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cores for --ray (default: all).")
    ] = None,
    cache: Cache = CACHE,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Encode every distinct prompt of histories into the cache that fit and evaluate read.

    A run that was killed resumes where it stopped.
    """
    directory = find_encoder(ENCODERS, encoder)
    loaded = load_encoder(directory)
    histories = [read_history(path, skip_bad_rows=skip_bad_rows) for path in history]
    with _encoding(directory, ray, ray_address, workers) as encode:
        started = perf_counter()
        filled = fill_cache(
            loaded,
            _prompts(histories),
            cache=cache,
            total=sum(one.prompts for one in histories),
            encode=encode,
            console=Console(stderr=True),
        )
        seconds = perf_counter() - started
    if as_json:
        summary = {
            "prompts": filled.prompts,
            "found": filled.found,
            "encoded": filled.made,
            "seconds": seconds,
            "cache": str(cache / f"{loaded.manifest.sha256}.sqlite"),
        }
        typer.echo(json.dumps(summary, indent=2))
        return
    rate = f" ({filled.made / seconds:,.0f} per second)" if filled.made else ""
    typer.echo(
        f"{filled.prompts:,} distinct prompts: {filled.found:,} found in {cache}, {filled.made:,} encoded in "
        f"{seconds:.1f} s{rate}"
    )
