"""``python -m training encoder``: export encoders to ONNX from published weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from router.classifier.encoder import EncoderManifest
from router.paths import ENCODERS
from training.encoders.encoder_export import MULTILINGUAL, export_encoder, export_multilingual

__all__ = ["encoder_command"]


def _slug(model: str | Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", Path(model).name.lower()).strip("-") or "encoder"


def encoder_command(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Directory or name of a sentence-transformers model; `multilingual`: the Universal "
            "Sentence Encoder from its package (default: all encoders that ship)."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the transformer encoder.")] = None,
    static_name: Annotated[str | None, typer.Option(help="Name of the static encoder.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of encoders.")] = ENCODERS,
    max_tokens: Annotated[int, typer.Option(help="Tokens kept of a text, head and tail.")] = 128,
    dimensions: Annotated[int, typer.Option(help="Length of the static vectors.")] = 256,
    prefix: Annotated[str, typer.Option(help="Text put before every text, as E5 needs.")] = "",
    language: Annotated[list[str] | None, typer.Option(help="Language code; repeatable.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX licence of the weights.")] = None,
    no_static: Annotated[
        bool, typer.Option("--no-static", help="Export the transformer only.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Export encoders to ONNX: a transformer and the static table distilled from it, multilingual."""
    written = []
    if model != MULTILINGUAL:
        transformer = name or ("minilm" if model is None else _slug(model))
        static = static_name or ("static" if model is None else f"{transformer}-static")
        written += export_encoder(
            model,
            out,
            name=transformer,
            static_name=None if no_static else static,
            max_tokens=max_tokens,
            static_dimensions=dimensions,
            text_prefix=prefix,
            languages=language or (),
            licence=licence,
        )
    if model == MULTILINGUAL:
        written.append(export_multilingual(out, name=name or model, max_tokens=max_tokens))
    elif model is None:
        written.append(export_multilingual(out, max_tokens=max_tokens))
    rows = [_described(path) for path in written]
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table("encoder", "kind", "dimensions", "MB", "directory")
    table.columns[-1].overflow = "fold"
    for row in rows:
        table.add_row(*(str(value) for key, value in row.items() if key != "sha256"))
    Console().print(table)


def _described(directory: Path) -> dict[str, str | int | float]:
    manifest = EncoderManifest.model_validate_json(
        (directory / "encoder.json").read_text(encoding="utf-8")
    )
    return {
        "encoder": manifest.name,
        "kind": manifest.kind,
        "dimensions": manifest.dimensions,
        "megabytes": round((directory / "model.onnx").stat().st_size / 1e6, 1),
        "sha256": manifest.sha256,
        "directory": str(directory),
    }
