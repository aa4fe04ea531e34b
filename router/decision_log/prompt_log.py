"""What the decision log keeps of a prompt. Opt-in, because prompts are private."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from router.classifier.encoder import classifier_text
from router.core.types import Prompt
from router.decision_log.record import KeptPrompt, PromptEmbedding, PromptLogKind

__all__ = ["PromptLog"]


@dataclass(frozen=True)
class PromptLog:
    """Makes the part of a record that is about the prompt. Thread-safe.

    Each record names its kind in ``prompt_log``, so that a log may contain several kinds.

    Attributes:
        kind: what is kept.
        key: of the hash. With a key, ``embedding`` and ``redacted`` keep the hash too, so that training can
            recognise repeated prompts.

    Raises:
        MitsumoriError: ``EXTRA_MISSING`` if ``redacted`` is chosen and the extra is not installed. The
            constructor raises it, so that the error stops the start of a server and not a call.
    """

    kind: PromptLogKind = "off"
    key: bytes = b""

    def __post_init__(self) -> None:
        if self.kind == "redacted":
            _ = self._redact

    @cached_property
    def _redact(self) -> Callable[[str], str]:
        # Imported only if it is chosen: the plain installation lacks its dependencies.
        from router.decision_log.redaction import redact

        return redact

    def kept(
        self, prompt: Prompt, embedding: npt.NDArray[np.float32], encoder: tuple[str, str]
    ) -> KeptPrompt:
        """What the record keeps.

        The classifier may read a text other than the whole prompt: it skips system messages. If a text is
        kept, the one that the classifier read is kept too, as ``prompt_judged``, because training must read
        the same text.

        Args:
            prompt: as the caller sent it.
            embedding: the encoder's vector of the prompt, float32 ``(dimensions,)``.
            encoder: name and SHA-256 of the encoder that made the vector.
        """
        if self.kind == "off":
            return KeptPrompt()
        text, judged = "\n\n".join(one.text for one in prompt.messages), classifier_text(prompt)
        if self.kind == "text":
            return self._texts(text, judged, str)
        hashed = self._hash(text) if self.key else None
        if self.kind == "redacted":
            return self._texts(text, judged, self._redact, hashed)
        kept = PromptEmbedding.of(embedding, *encoder) if self.kind == "embedding" else None
        return KeptPrompt(prompt_log=self.kind, prompt_hash=hashed, prompt_embedding=kept)

    def _texts(
        self, text: str, judged: str, shown: Callable[[str], str], hashed: str | None = None
    ) -> KeptPrompt:
        return KeptPrompt(
            prompt_log=self.kind,
            prompt=_encodable(shown(text)),
            prompt_judged=None if judged == text else _encodable(shown(judged)),
            prompt_hash=hashed,
        )

    def _hash(self, text: str) -> str:
        content = text.encode("utf-8", "surrogatepass")
        return hmac.new(self.key, content, hashlib.sha256).hexdigest()


def _encodable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which has no UTF-8."""
    return text.encode("utf-8", "replace").decode()
