"""From text to a vector, through ONNX files that training and serving share.

An encoder is an immutable directory ``models/encoders/<name>/<sha12>/`` with ``encoder.json``,
``model.onnx`` (token ids in, pooled and normalised vector out), ``tokenizer.json`` and the licence
of its weights. Its identity is the SHA-256 over everything that affects the vector.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tokenizers import Tokenizer

from router.classifier.features.lexical import foreign_share
from router.core.errors import BadArtifact, InvalidInput
from router.files import MAX_TEXT_BYTES, read_bounded, read_checked, sha256_of

__all__ = [
    "Encoder",
    "EncoderManifest",
    "find_encoder",
    "load_encoder",
    "session",
]

FORMAT_VERSION = 1
CHARACTER_WINDOW = 2048
"""Characters kept from each end before tokenizing: enough for 64 tokens, and few enough to bound the time."""

_FOREIGN_SHARE = 0.3
"""Above this share of letters outside the Latin script, an English encoder says little about a prompt."""
_REMEDY = "export it again with `make encoder`, or restore it from the release"


class EncoderManifest(BaseModel):
    """``encoder.json``: the encoder and how its inputs are built."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    kind: Literal["transformer", "convolution", "static"]
    dimensions: int = Field(gt=0, description="length of a vector")
    max_tokens: int = Field(gt=2, description="tokens kept, special tokens included: head and tail")
    text_prefix: str = Field(default="", description="put before every text, as some models need")
    prefix_ids: list[int] = Field(description="special tokens before the text")
    suffix_ids: list[int] = Field(description="special tokens after the text")
    unknown_id: int | None = Field(
        default=None, description="unknown token, which is dropped; None keeps it"
    )
    languages: list[str] = Field(description="ISO 639-1 codes")
    source: str = Field(description="where its weights are from")
    licence: str = Field(description="of its weights")
    files: dict[str, str] = Field(description="file name to SHA-256")

    @property
    def sha256(self) -> str:
        """The identity: a hash over exactly what affects the vector."""
        parts = self.model_dump(
            include={"kind", "max_tokens", "text_prefix", "prefix_ids", "suffix_ids", "unknown_id"}
        )
        parts["files"] = {name: self.files[name] for name in ("model.onnx", "tokenizer.json")}
        return sha256_of(json.dumps(parts, sort_keys=True).encode())


def session(model: bytes) -> ort.InferenceSession:
    """A single-threaded CPU session: one request uses one core, and sessions are thread-safe."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # A plan of the memory is made and kept for every shape of the inputs, and prompts have many lengths.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    opened = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # It keeps the content of the file to start again with another provider, and there is no other.
    opened._model_bytes = None
    return opened


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder. Thread-safe.

    Attributes:
        manifest: describes it.
        tokenizer: text → token ids, without truncation or padding.
        session: token ids → vector.
    """

    manifest: EncoderManifest
    tokenizer: Tokenizer
    session: ort.InferenceSession

    def word_ids(self, text: str) -> list[int]:
        """The token ids of a text, without special tokens and not yet cut to the encoder's window.

        Only the first and the last :data:`CHARACTER_WINDOW` characters of a long text are read.
        """
        manifest = self.manifest
        if len(text) > 2 * CHARACTER_WINDOW:
            text = text[:CHARACTER_WINDOW] + " " + text[-CHARACTER_WINDOW:]
        # The tokenizer refuses half of a surrogate pair: "?" replaces it.
        text = text.encode("utf-8", "replace").decode("utf-8")
        # Of a batch, the fast way leaves out where in the text each token stands, which takes a third of the
        # time; there is no such way for one text.
        batch = [manifest.text_prefix + text]
        ids: list[int] = self.tokenizer.encode_batch_fast(batch, add_special_tokens=False)[0].ids
        if manifest.unknown_id is not None:
            ids = [token for token in ids if token != manifest.unknown_id]
        return ids

    def token_ids(self, text: str) -> list[int]:
        """The token ids that the encoder reads of a text, special tokens included, at most ``max_tokens``.

        Half of the tokens of a longer text come from its beginning and half from its end, where long
        prompts often put the question.
        """
        return self.window(self.word_ids(text))

    def window(self, ids: list[int]) -> list[int]:
        """The ids of a text cut to head and tail, with the special tokens around them."""
        manifest = self.manifest
        room = manifest.max_tokens - len(manifest.prefix_ids) - len(manifest.suffix_ids)
        if len(ids) > room:
            tail = room // 2
            ids = ids[: room - tail] + ids[-tail:]
        return [*manifest.prefix_ids, *ids, *manifest.suffix_ids]

    def reads_script(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Whether it is made for the script of prompts, bool ``(…)`` from features ``(…, len(FEATURES))``."""
        # Only encoders for English are limited to one script.
        if not self._is_english:
            return np.ones(features.shape[:-1], dtype=np.bool_)
        return np.asarray(foreign_share(features) <= _FOREIGN_SHARE)

    @cached_property
    def _is_english(self) -> bool:
        return set(self.manifest.languages) <= {"en"}

    def embed_ids(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """The unit vector of one sequence of token ids, float32 ``(dimensions,)``; zeros for no ids."""
        if not ids:
            return np.zeros(self.manifest.dimensions, dtype=np.float32)
        tokens = np.asarray([ids], dtype=np.int64)
        (vectors,) = self.session.run(
            ["embedding"], {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
        )
        return np.asarray(vectors[0], dtype=np.float32)

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vector of one text, float32 ``(dimensions,)``.

        Takes one text at a time on purpose: int8 ONNX is not batch-invariant, and serving sees one.
        """
        return self.embed_ids(self.token_ids(text))


def _read_manifest(directory: Path) -> EncoderManifest:
    path = directory / "encoder.json"
    try:
        raw = json.loads(read_bounded(path, MAX_TEXT_BYTES))
        version = raw["format_version"]
        if version != FORMAT_VERSION:
            raise BadArtifact(
                f"{path} has format {version}, this release reads format {FORMAT_VERSION}; "
                "upgrade mitsumori or export the encoder again",
                reason="FORMAT_UNKNOWN",
                field=str(path),
            )
        return EncoderManifest.model_validate(raw)
    except FileNotFoundError:
        raise BadArtifact(
            f"{path} is missing; {_REMEDY}", reason="FILE_MISSING", field=str(path)
        ) from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError, RecursionError):
        raise BadArtifact(
            f"{path} cannot be read as an encoder description; {_REMEDY}", field=str(path)
        ) from None


def load_encoder(directory: Path) -> Encoder:
    """Load an encoder from its directory. Every hash is checked before the file is parsed.

    Raises:
        BadArtifact: a file is missing, altered, or of another format.
    """
    manifest = _read_manifest(directory)
    contents = read_checked(directory, manifest.files, remedy=_REMEDY)
    tokenizer = Tokenizer.from_str(contents["tokenizer.json"].decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # A batch of one text needs no pool of threads.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return Encoder(manifest, tokenizer, session(contents["model.onnx"]))


def _selected(encoders: Path) -> Mapping[str, str]:
    """Encoder name → SHA-256 of the version that new bundles are trained with."""
    path = encoders / "selected.json"
    try:
        raw = json.loads(read_bounded(path, MAX_TEXT_BYTES))
        return {str(name): str(sha) for name, sha in raw.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError):
        raise BadArtifact(
            f"{path} cannot be read; it maps an encoder name to its sha256", field=str(path)
        ) from None


def find_encoder(encoders: Path, name: str, sha256: str | None = None) -> Path:
    """The directory of an encoder, by name and optionally by hash.

    Args:
        encoders: the folder that holds ``<name>/<sha12>/`` and ``selected.json``.
        name: such as ``static`` or ``minilm``.
        sha256: the identity that a bundle pins; ``None`` takes the selected version.

    Raises:
        InvalidInput: there is no encoder of that name.
        BadArtifact: the pinned version is missing.
    """
    selected = _selected(encoders)
    if sha256 is None:
        if name not in selected:
            known = ", ".join(sorted(selected)) or "none"
            raise InvalidInput(
                f"no encoder named {name!r} in {encoders} (there: {known}); "
                "export one with `python -m training encoder`",
                reason="ENCODER_UNKNOWN",
                field="encoder",
            )
        sha256 = selected[name]
    directory = encoders / name / sha256[:12]
    if not directory.is_dir() or _read_manifest(directory).sha256 != sha256:
        raise BadArtifact(
            f"the encoder {name} {sha256[:12]}… is not in {encoders}; put that version there or "
            "point --encoders at the folder that has it",
            reason="ENCODER_MISSING",
            field=str(directory),
        )
    return directory
