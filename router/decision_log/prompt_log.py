"""What the decision log keeps of a prompt. Opt-in, because prompts are private."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from router.classifier.task_in_hand import task_in_hand
from router.core.types import Prompt
from router.decision_log.record import KeptPrompt, PromptEmbedding, PromptLogKind

__all__ = ["PromptLog"]


@dataclass(frozen=True)
class PromptLog:
    """Makes the prompt's part of a decision record. Thread-safe.

    Each record states its kind in the field ``prompt_log``, so a log may contain several kinds.

    Attributes:
        kind: what is kept.
        key: of the HMAC of the prompt. With a key, ``embedding`` and ``redacted`` keep the hash too, by
            which training recognises repeated prompts; empty: no hash is kept.

    Raises:
        MitsumoriError: ``EXTRA_MISSING`` if ``kind`` is ``redacted`` and the extra is not installed. The
            constructor raises it, so a server with this error does not start.
    """

    kind: PromptLogKind = "off"
    key: bytes = b""

    def __post_init__(self) -> None:
        if self.kind == "redacted":
            _ = self._redact

    @cached_property
    def _redact(self) -> Callable[[str], str]:
        # Imported only when needed: its dependencies are those of an extra.
        from router.decision_log.redaction import redact

        return redact

    def kept(
        self,
        prompt: Prompt,
        embedding: npt.NDArray[np.float32],
        encoder: tuple[str, str],
        reading: int = 0,
    ) -> KeptPrompt:
        """What the record keeps of a prompt.

        The classifier reads the task in hand, so the text that it reads may differ from the whole prompt.
        A record that keeps text keeps both where they differ, the second as ``prompt_judged``: training
        must read the text that the classifier read.

        Args:
            prompt: as the caller sent it.
            embedding: the encoder's vector of the prompt, float32 ``(dimensions,)``.
            encoder: name and SHA-256 of the encoder that made the vector.
            reading: which of the readings of the task in hand was scored.
        """
        if self.kind == "off":
            return KeptPrompt()
        text = "\n\n".join(one.text for one in prompt.messages)
        if self.kind == "text":
            return self._texts(text, task_in_hand(prompt).readings[reading], str)
        hashed = self._hash(text) if self.key else None
        if self.kind == "redacted":
            judged = task_in_hand(prompt).readings[reading]
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
