"""An OpenAI-compatible endpoint, by the official client: one request, and what became of it.

The client's own retries are off: every request is held against the budget and journaled. No redirect is
followed either, not even within a host: it would be one more request for every call, most kinds turn a POST
into a GET, and the prompts would go where nobody has sent them. What an endpoint says in an error may repeat
the prompt or the key, so only its status and a harmless code are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import openai

from router.core.types import Message
from training.calls.received import Received, Words, events_of
from training.calls.reply import Failure, Reach, Reply

__all__ = ["Endpoint"]


_AGAIN = frozenset({408, 409, 425, 429})
_SERVER = 500
_REDIRECTS = range(300, 400)
_DRAIN_S = 0.1
"""Seconds in which a stream may end after its last event, so that its connection serves the next call."""
_NOT_SENT = (httpx2.ConnectError, httpx2.LocalProtocolError, httpx2.UnsupportedProtocol)
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
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )
        self._words = Words(self.key)

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
                # All that the error says is searched, and never shown.
                if not dialect.learn(error.response.text):
                    return self._status(error)

    async def _sent(self, body: dict[str, Any], name: str, dialect: _Dialect) -> Reply | Failure:
        started = self.clock()
        received = Received(self._words)
        if self.stream:
            body = {**body, "stream": True}
            if dialect.usage_in_stream:
                body["stream_options"] = {"include_usage": True}
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._receive(body, name, received)
        except openai.BadRequestError:
            raise
        except openai.APIStatusError as error:
            return self._status(error)
        except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException) as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout):
                return Failure(
                    "no_connection", "the endpoint does not accept connections", again=True
                )
            return received.failure("timeout", f"no whole answer within {self.timeout_s:g} s")
        except (openai.APIConnectionError, httpx2.RequestError) as error:
            if isinstance(error.__cause__, _NOT_SENT):
                return Failure("no_connection", "the endpoint cannot be reached", again=True)
            kind = "broken_stream" if self.stream else "broken_reply"
            return received.failure(kind, "the connection broke before the answer was whole")
        except (ValueError, RecursionError):  # a body or an event that is no JSON object
            return received.failure("malformed", "the reply is not a chat completion")
        return received.result(self.clock() - started)

    async def _receive(self, body: dict[str, Any], name: str, received: Received) -> None:
        # The client's models are left out: they fail on what is no completion.
        completions: Any = self._client.chat.completions  # its overloads want every field by itself
        async with completions.with_streaming_response.create(
            **body, extra_headers={"Idempotency-Key": name}
        ) as response:
            chunks = response.iter_bytes()
            async for event, content in events_of(chunks):
                received.take(content, event=event)
            with suppress(TimeoutError, httpx2.RequestError):
                async with asyncio.timeout(_DRAIN_S):
                    async for _ in chunks:
                        pass

    def _status(self, error: openai.APIStatusError) -> Failure:
        status, code = error.status_code, self._words.code(error.code)
        if status == 402 or (error.code or "") in _NO_CREDIT:
            return Failure(
                "no_credit",
                f"the provider says that the account has no credit{code}",
                reach=Reach.RUN,
            )
        if status == 401:
            return Failure("key_refused", f"status {status}{code}", reach=Reach.RUN)
        if status in _REDIRECTS:
            detail = f"status {status}; name the address that it leads to with --endpoint"
            return Failure("redirected", detail, reach=Reach.RUN)
        if status == 404:
            return Failure("model_unknown", f"status 404{code}", reach=Reach.MODEL)
        if status in _AGAIN or status >= _SERVER:
            kind = "rate_limited" if status == 429 else "server_error"
            wait = _retry_after(error.response.headers, self.now())
            return Failure(kind, f"status {status}{code}", again=True, wait_s=wait)
        return Failure("refused", f"status {status}{code}")


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
