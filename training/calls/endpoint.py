"""An OpenAI-compatible endpoint, by the official client: one request, and what became of it.

The client's own retries are off: every request is held against the budget and journaled. What an endpoint
says in an error may repeat the prompt or the key, so only its status and a harmless code are kept.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import openai

from router.core.types import Message
from training.calls.reply import Failure, Reach, Reply

__all__ = ["Endpoint"]


_AGAIN = frozenset({408, 409, 425, 429})
_SERVER = 500
_FINISH = 40
"""Characters kept of the reason why an answer ended."""
_NOT_SENT = (httpx2.ConnectError, httpx2.LocalProtocolError, httpx2.UnsupportedProtocol)
_HARMLESS = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


@dataclass
class _Dialect:
    """What a model's endpoint understands, learnt from its refusals, which cost nothing."""

    limit: str = "max_tokens"
    usage_in_stream: bool = True

    def learn(self, words: str) -> bool:
        """Adapt to a refused request; whether anything changed."""
        if self.limit == "max_tokens" and "max_completion_tokens" in words:
            self.limit = "max_completion_tokens"
            return True
        if self.usage_in_stream and ("stream_options" in words or "include_usage" in words):
            self.usage_in_stream = False
            return True
        return False


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Endpoint:
    """Sends requests. One event loop uses it; :meth:`close` ends its connections.

    Attributes:
        url: of the API, as :func:`checked_url` returns it.
        key: of the API; ``None`` for an endpoint without one.
        timeout_s: until the whole answer must have arrived, > 0.
        stream: whether answers are streamed.
        clock: seconds of a clock that never goes back.
        now: the time of day, for dates of ``Retry-After``.
    """

    url: str
    key: str | None = field(repr=False)
    timeout_s: float
    stream: bool = False
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _now
    _dialects: dict[str, _Dialect] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self.key or "no-key",
            max_retries=0,
            timeout=httpx2.Timeout(self.timeout_s, connect=min(self.timeout_s, 10.0)),
        )

    async def close(self) -> None:
        """End the connections."""
        await self._client.close()

    async def complete(
        self, model: str, messages: Sequence[Message], max_output_tokens: int, *, name: str
    ) -> Reply | Failure:
        """Ask a model once.

        Args:
            model: as the endpoint names it.
            messages: the chat.
            max_output_tokens: the limit of the answer with its hidden reasoning, ≥ 1.
            name: of the request; a provider that knows idempotency keys bills a repeated one once.
        """
        dialect = self._dialects.setdefault(model, _Dialect())
        while True:
            body: dict[str, Any] = {
                "model": model,
                "messages": [{"role": one.role, "content": one.text} for one in messages],
                dialect.limit: max_output_tokens,
            }
            try:
                return await self._sent(body, name, dialect)
            except openai.BadRequestError as error:
                if not dialect.learn(_words(error)):
                    return _refused(error)

    async def _sent(self, body: dict[str, Any], name: str, dialect: _Dialect) -> Reply | Failure:
        started = self.clock()
        seen = _Seen()
        try:
            async with asyncio.timeout(self.timeout_s):
                if self.stream:
                    options = {"include_usage": True} if dialect.usage_in_stream else None
                    await self._streamed(body, name, options, seen)
                else:
                    await self._whole(body, name, seen)
        except openai.BadRequestError:
            raise
        except openai.APIStatusError as error:
            return self._status(error)
        except (TimeoutError, openai.APITimeoutError) as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout):
                return Failure(
                    "no_connection", "the endpoint does not accept connections", again=True
                )
            return seen.failure("timeout", f"no whole answer within {self.timeout_s:g} s")
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, _NOT_SENT):
                return Failure("no_connection", "the endpoint cannot be reached", again=True)
            kind = "broken_stream" if self.stream else "broken_reply"
            return seen.failure(kind, "the connection broke before the answer was whole")
        except openai.APIError as error:
            code = _code(error)
            return seen.failure("server_error", f"an error within the answer{code}")
        except ValueError:  # a body or an event that is not JSON
            return seen.failure("malformed", "the reply is not a chat completion")
        return seen.result(self.clock() - started, self.stream)

    async def _whole(self, body: dict[str, Any], name: str, seen: _Seen) -> None:
        raw = await self._client.chat.completions.with_raw_response.create(
            **body, extra_headers={"Idempotency-Key": name}
        )
        seen.take_reply(json.loads(raw.text))

    async def _streamed(
        self, body: dict[str, Any], name: str, options: Mapping[str, bool] | None, seen: _Seen
    ) -> None:
        more = {"stream_options": options} if options else {}
        completions: Any = self._client.chat.completions  # its overloads want every field by itself
        chunks = await completions.create(
            **body, **more, stream=True, extra_headers={"Idempotency-Key": name}
        )
        async with chunks:
            async for chunk in chunks:
                seen.take_chunk(chunk.to_dict(warnings=False))

    def _status(self, error: openai.APIStatusError) -> Failure:
        status, code = error.status_code, _code(error)
        if status == 402 or (error.code or "") in _NO_CREDIT:
            return Failure(
                "no_credit",
                f"the provider says that the account has no credit{code}",
                reach=Reach.RUN,
            )
        if status == 401:
            return Failure("key_refused", f"status {status}{code}", reach=Reach.RUN)
        if status == 404:
            return Failure("model_unknown", f"status 404{code}", reach=Reach.MODEL)
        if status in _AGAIN or status >= _SERVER:
            kind = "rate_limited" if status == 429 else "server_error"
            wait = _retry_after(error.response.headers, self.now())
            return Failure(kind, f"status {status}{code}", again=True, wait_s=wait)
        return Failure("refused", f"status {status}{code}")


def _refused(error: openai.APIStatusError) -> Failure:
    return Failure("refused", f"status {error.status_code}{_code(error)}")


def _code(error: openai.APIError) -> str:
    """The code of an error in brackets, where it is harmless."""
    code = error.code or ""
    return f" ({code})" if _HARMLESS.fullmatch(code) else ""


def _words(error: openai.APIError) -> str:
    """All that an error says; to be searched, never to be shown."""
    return json.dumps(error.body, default=str)


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the endpoint asks to wait, ≥ 0; ``None`` where it says nothing that can be read."""
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / per_second
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max((until - now).total_seconds(), 0.0)


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _storable(text: str) -> str:
    """A text without halves of surrogate pairs, which no file can hold; whole pairs are joined."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass
class _Seen:
    """What has arrived of an answer, whatever the endpoint sends."""

    parts: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    finish: str = ""
    usage: object = None
    choices: bool = False
    error: str | None = None

    def take_reply(self, reply: object) -> None:
        if not isinstance(reply, Mapping):
            raise ValueError("no object")
        self._take(reply, "message")

    def take_chunk(self, chunk: object) -> None:
        self._take(_dict(chunk), "delta")

    def _take(self, found: Mapping[str, Any], part: str) -> None:
        if found.get("usage") is not None:
            self.usage = found["usage"]
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices:
            if found.get("error"):  # some gateways send errors with status 200
                code = str(_dict(found["error"]).get("code"))
                self.error = f" ({code})" if _HARMLESS.fullmatch(code) else ""
            return
        self.choices = True
        first = _dict(choices[0])
        self.finish = _storable(_text(first.get("finish_reason"))[:_FINISH]) or self.finish
        said = _dict(first.get(part))
        self.parts.append(_text(said.get("content")))
        self.refusal.append(_text(said.get("refusal")))

    @property
    def text(self) -> str:
        return _storable("".join(self.parts) or "".join(self.refusal))

    def failure(self, kind: str, detail: str, *, again: bool = True) -> Failure:
        """A failure after which the provider may bill what it has done."""
        return Failure(kind, detail, again=again, billed=True, text=self.text, usage=self.usage)

    def result(self, latency_s: float, stream: bool) -> Reply | Failure:
        if stream and self.choices and not self.finish:
            return self.failure("broken_stream", "the stream ended before the answer was whole")
        if self.text.strip():
            return Reply(self.text, self.finish, self.usage, latency_s)
        if self.finish == "content_filter":
            return self.failure("filtered", "the provider's filter took the answer", again=False)
        if self.finish == "length":
            detail = "all output went into hidden reasoning; raise --max-output-tokens"
            return self.failure("empty", detail, again=False)
        if self.error is not None and not self.choices:
            return self.failure("server_error", f"an error instead of an answer{self.error}")
        return self.failure("empty", "the answer is empty" if self.choices else "no choices")
