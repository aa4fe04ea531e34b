"""The files of an encoder: assembled in memory, written whole, and selected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

from router.classifier.encoder import FORMAT_VERSION, Encoder, EncoderManifest, session
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError
from router.files import replace_directory, replace_text, sha256_of

__all__ = ["assemble_encoder", "selected_encoders", "write_encoders"]


def _specials(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids of the special tokens that the tokenizer puts before and after a text."""
    plain = tokenizer.encode("text", add_special_tokens=False).ids
    whole = tokenizer.encode("text", add_special_tokens=True).ids
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    raise InvalidInput(
        "the tokenizer of this model changes the text where it adds special tokens; "
        "this model cannot be exported",
        field="model",
    )


def _clean_tokenizer(text: str) -> Tokenizer:
    """A tokenizer without the truncation and padding that its last user left in it."""
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def assemble_encoder(
    *,
    name: str,
    kind: Literal["transformer", "convolution", "static"],
    graph: bytes,
    tokenizer: str,
    licence_text: str,
    dimensions: int,
    **description: Any,
) -> tuple[Encoder, dict[str, bytes]]:
    """An encoder in memory and the files it would be written as.

    Args:
        name: of the encoder.
        kind: how it makes a vector of token ids.
        graph: of ONNX.
        tokenizer: JSON of the ``tokenizers`` library.
        licence_text: of the weights.
        dimensions: of its vectors.
        **description: further fields of its manifest (:class:`encoder.EncoderManifest`).

    Raises:
        InvalidInput: the tokenizer cannot be carried over.
    """
    parsed = _clean_tokenizer(tokenizer)
    prefix, suffix = _specials(parsed) if kind != "static" else ([], [])
    files = {
        "model.onnx": graph,
        "tokenizer.json": parsed.to_str().encode(),
        "LICENSE": licence_text.encode(),
    }
    manifest = EncoderManifest(
        format_version=FORMAT_VERSION,
        name=name,
        kind=kind,
        dimensions=dimensions,
        prefix_ids=prefix,
        suffix_ids=suffix,
        files={file: sha256_of(data) for file, data in files.items()},
        **description,
    )
    described = json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False) + "\n"
    files["encoder.json"] = described.encode()
    return Encoder(manifest, parsed, session(graph)), files


def selected_encoders(out: Path) -> dict[str, str]:
    """Which encoder of each name is in use: name → sha256; empty where none is yet.

    Args:
        out: the folder of encoders.

    Raises:
        BadArtifact: the file of selections cannot be read.
    """
    path = out / "selected.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError):
        raise BadArtifact(
            f"{path} cannot be read; it maps an encoder name to its sha256: restore or delete it",
            field=str(path),
        ) from None


def _written(made: Sequence[dict[str, bytes]], out: Path) -> list[Path]:
    """Write each encoder whole, then select all of them at once."""
    out.mkdir(parents=True, exist_ok=True)
    selected = selected_encoders(out)
    written = []
    for files in made:
        manifest = EncoderManifest.model_validate_json(files["encoder.json"])
        target = out / manifest.name / manifest.sha256[:12]
        with replace_directory(target) as scratch:
            for file, data in files.items():
                (scratch / file).write_bytes(data)
        written.append(target)
        selected[manifest.name] = manifest.sha256
    replace_text(out / "selected.json", json.dumps(selected, indent=2, sort_keys=True) + "\n")
    return written


def write_encoders(made: Sequence[dict[str, bytes]], out: Path) -> list[Path]:
    """Write encoders, each whole or not at all, and select them.

    Args:
        made: the files of each, as :func:`assemble_encoder` gives them.
        out: the folder of encoders.

    Returns:
        The directory of each.

    Raises:
        BadArtifact: the file of selections cannot be read.
        MitsumoriError: ``out`` cannot be written.
    """
    try:
        return _written(made, out)
    except OSError as error:
        raise MitsumoriError(
            f"{error.filename or out} cannot be written ({error.strerror}); make room or give "
            "another folder with --out",
            reason="NOT_WRITTEN",
            field="out",
        ) from None
