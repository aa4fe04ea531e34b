"""What the decision log keeps of a prompt; by opt-in, for a prompt is private."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from router.classifier.encoder import classifier_text
from router.core.types import Prompt

__all__ = ["PromptLog", "PromptLogKind"]

PromptLogKind = Literal["off", "hash", "embedding", "redacted", "text"]
"""From nothing to everything:

- ``off``: nothing.
- ``hash``: a keyed hash; tells repeated prompts, and tells nothing to those without the key.
- ``embedding``: the encoder's vector, which is what the classifier is trained on. **Not anonymous**: what
  a text is about, and many of its words, can be guessed back from its vector.
- ``redacted``: the text without personal data and secrets that have a form of their own
  (:mod:`decision_log.redaction`). Names of people stay.
- ``text``: the text.
"""


@dataclass(frozen=True)
class PromptLog:
    """Makes the part of a record that is about the prompt. Thread-safe.

    The record says its kind as ``prompt_log``, so that a log of mixed kinds can be read.

    Attributes:
        kind: what is kept.
        key: keys the hash, which ``embedding`` and ``redacted`` keep too where there is a key: by it
            training finds repeated prompts.

    Raises:
        MitsumoriError: ``EXTRA_MISSING`` where ``redacted`` is asked for without the extra; from
            the constructor, so that a server does not start rather than fail at a call.
    """

    kind: PromptLogKind = "off"
    key: bytes = b""

    def __post_init__(self) -> None:
        if self.kind == "redacted":
            _ = self._redact

    @cached_property
    def _redact(self) -> Callable[[str], str]:
        # Imported only where it is asked for: the plain installation has not what it needs.
        from router.decision_log.redaction import redact

        return redact

    def kept(
        self, prompt: Prompt, embedding: npt.NDArray[np.float32], encoder: tuple[str, str]
    ) -> dict[str, Any]:
        """What the record keeps, JSON-ready; empty when off.

        Where the text is kept, and the classifier read another one (without the system messages), that
        one is kept too, as ``prompt_judged``: training must read what serving reads.

        Args:
            prompt: as the caller sent it.
            embedding: the encoder's vector of it, float32 ``(dimensions,)``.
            encoder: name and SHA-256 of the encoder that made the vector.
        """
        if self.kind == "off":
            return {}
        text = "\n\n".join(message.text for message in prompt.messages)
        record: dict[str, Any] = {"prompt_log": self.kind}
        judged = classifier_text(prompt)
        if self.kind == "text":
            return {**record, "prompt": text} | (
                {"prompt_judged": judged} if judged != text else {}
            )
        if self.key:
            record["prompt_hash"] = hmac.new(
                self.key, text.encode("utf-8", "surrogatepass"), hashlib.sha256
            ).hexdigest()
        if self.kind == "redacted":
            record["prompt"] = self._redact(text)
            if judged != text:
                record["prompt_judged"] = self._redact(judged)
        elif self.kind == "embedding":
            name, sha256 = encoder
            half = embedding.astype("<f2")
            record["prompt_embedding"] = {
                "encoder": name,
                "encoder_sha256": sha256,
                "dimensions": len(half),
                "float16": base64.b64encode(half.tobytes()).decode("ascii"),
            }
        return record
