"""What an endpoint sends, read as what it is: a completion or a stream of events, whatever was asked for.

Of its words, only the answer is kept, and names of errors and of reasons to end that look like names. None of
them carries the key of the API into a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from training.calls.reply import Failure, Reply

__all__ = ["Received", "Words", "events_of"]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_PIECE = 8
"""Characters of the key in a row that give it away; a shorter key, such as ``none``, is no secret."""
_KEY = "[API key]"
_OTHER = "other"
_DONE = b"[DONE]"


@dataclass(frozen=True)
class Words:
    """What may be kept of the words of an endpoint.

    Attributes:
        key: of the API; ``None``: there is none.
    """

    key: str | None = field(repr=False)

    def text(self, text: str) -> str:
        """A text without the key, and without halves of surrogate pairs, which no file can hold.

        Whole pairs are joined.
        """
        sound = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return sound.replace(self.key, _KEY) if self.key and len(self.key) >= _PIECE else sound

    def name(self, value: object) -> str:
        """A code, or the name of a reason; ``""`` where it is no name, or has a piece of the key."""
        found = str(value) if isinstance(value, str | int) else ""
        key = self.key or ""
        pieces = (key[n : n + _PIECE] for n in range(len(key) - _PIECE + 1))
        return found if _NAME.fullmatch(found) and not any(map(found.__contains__, pieces)) else ""

    def code(self, value: object) -> str:
        """The code of an error in brackets; ``""`` where it cannot be kept."""
        name = self.name(value)
        return f" ({name})" if name else ""


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    held: list[bytes] = []
    async for chunk in chunks:
        first, *more = chunk.split(b"\n")
        held.append(first)
        for piece in more:
            yield b"".join(held).rstrip(b"\r")
            held = [piece]
    yield b"".join(held).rstrip(b"\r")


async def events_of(chunks: AsyncIterable[bytes]) -> AsyncIterator[tuple[bool, bytes]]:
    """The JSON of a body: of each event of a stream up to ``[DONE]``, or the body itself.

    What it is decides the body, not its content type: no line of JSON begins with ``data:``.

    Args:
        chunks: of the body.

    Yields:
        Whether it is of an event, and its bytes.
    """
    data: list[bytes] = []
    rest: list[bytes] = []
    streamed = False
    async for line in _lines(chunks):
        if line.startswith(b"data:"):
            streamed = True
            data.append(line[5:].strip())
            if data == [_DONE]:
                return
        elif line:
            rest.append(line)
        elif data:
            yield True, b"\n".join(data)
            data = []
    if data:
        yield True, b"\n".join(data)
    if not streamed:
        yield False, b"\n".join(rest)


@dataclass
class Received:
    """What has arrived of an answer, whatever the endpoint sends.

    Attributes:
        words: what of it may be kept.
        usage: as reported, unchecked.
    """

    words: Words
    usage: object = None
    _parts: list[str] = field(default_factory=list)
    _refusal: list[str] = field(default_factory=list)
    _finish: str = ""
    _choices: bool = False
    _streamed: bool = False
    _error: str | None = None

    def take(self, content: bytes, *, event: bool) -> None:
        """Take in a completion, or an event of a stream.

        Args:
            content: JSON.
            event: it is an event.

        Raises:
            ValueError: it is no JSON object.
            RecursionError: it is nested too deep.
        """
        self._streamed = event
        found = json.loads(content)
        if not isinstance(found, Mapping):
            raise ValueError("no object")
        if found.get("usage") is not None:
            self.usage = found["usage"]
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices:
            if found.get("error"):  # with status 200: within a stream, or by some gateways
                self._error = self.words.code(_dict(found["error"]).get("code"))
            return
        self._choices = True
        first = _dict(choices[0])
        finish = first.get("finish_reason")
        if isinstance(finish, str) and finish:
            self._finish = self.words.name(finish) or _OTHER
        said = _dict(first.get("delta" if event else "message"))
        self._parts.append(_text(said.get("content")))
        self._refusal.append(_text(said.get("refusal")))

    @property
    def text(self) -> str:
        """The visible answer so far."""
        return self.words.text("".join(self._parts) or "".join(self._refusal))

    def failure(self, kind: str, detail: str, *, again: bool = True) -> Failure:
        """A failure after which the provider may bill what it has done.

        Args:
            kind: name of the failure.
            detail: for people.
            again: whether the same request may succeed later.
        """
        return Failure(kind, detail, again=again, billed=True, text=self.text, usage=self.usage)

    def result(self, latency_s: float) -> Reply | Failure:
        """What became of the request, once all has arrived.

        Args:
            latency_s: seconds since it was sent.
        """
        if self._error is not None:
            where = "within the answer" if self._choices else "instead of an answer"
            return self.failure("server_error", f"an error {where}{self._error}")
        if self._streamed and self._choices and not self._finish:
            return self.failure("broken_stream", "the stream ended before the answer was whole")
        if self.text.strip():
            return Reply(self.text, self._finish, self.usage, latency_s)
        if self._finish == "content_filter":
            return self.failure("filtered", "the provider's filter took the answer", again=False)
        if self._finish == "length":
            detail = "all output went into hidden reasoning; raise --max-output-tokens"
            return self.failure("empty", detail, again=False)
        return self.failure("empty", "the answer is empty" if self._choices else "no choices")


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
