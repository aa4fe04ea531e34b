"""A fake provider: a real HTTP server that answers at once and says how long it took in simulated time."""

from __future__ import annotations

import heapq
import json
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from benchmarks.simulation.agenda import Agenda
from benchmarks.simulation.conditions import Condition, Victims
from benchmarks.simulation.traffic import Asked
from benchmarks.simulation.truth import Truth

__all__ = ["FIRST_TOKEN", "TOOK", "Provider", "Reply", "World"]

TOOK, FIRST_TOKEN = "x-simulated-seconds", "x-simulated-first-token"
"""Headers: until the whole answer, and until its first token, in simulated seconds."""
_FULL_SPEED_SHARE = 0.04
"""Calls in flight from which on a provider is twice as slow, as a share of the hour's requests that cannot
wait: so a thinned hour is as crowded as the whole one."""
_HANG_S = 300.0


@dataclass(frozen=True)
class World:
    """What all providers share.

    Attributes:
        agenda: tells the simulated time.
        traffic: the requests, by number.
        truth: of models and requests.
        condition: what befalls them.
        victims: whom.
    """

    agenda: Agenda
    traffic: Sequence[Asked]
    truth: Truth
    condition: Condition
    victims: Victims

    @cached_property
    def full_speed(self) -> float:
        """Calls in flight from which on a provider is twice as slow, > 0."""
        return max(_FULL_SPEED_SHARE * sum(not each.batch for each in self.traffic), 1.0)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a caller got over HTTP.

    Attributes:
        status: of HTTP.
        took_s: simulated seconds until it was there.
        first_token_s: until the first token; ``None`` where there is none.
        retry_after_s: how long the provider asked to wait; ``None``: it did not.
        usage: as the provider reports it; empty where the call failed.
        headers: name → value.
    """

    status: int
    took_s: float
    first_token_s: float | None
    retry_after_s: float | None
    usage: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass
class Provider:
    """A provider that listens on a port of loopback while it is in use.

    Attributes:
        name: as in the catalog.
        world: it lives in.
    """

    name: str
    world: World
    _recent: deque[float] = field(default_factory=deque)
    _ends: list[float] = field(default_factory=list)

    def __enter__(self) -> Self:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, headers, answer = provider.answer(json.loads(body))
                content = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        serve = partial(self._server.serve_forever, poll_interval=0.01)  # else it ends late
        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        port = int(self._server.server_address[1])
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # --- The caller's side -----------------------------------------------------------------------

    def call(self, model: str, asked: Asked) -> Reply:
        """Send a request over HTTP and wait for the reply.

        Args:
            model: catalog id.
            asked: the request.
        """
        messages = [{"role": role, "content": text} for role, text in asked.messages[-1:]]
        body = {"model": model, "messages": messages, "metadata": {"request": asked.number}}
        headers = {"content-type": "application/json"}
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = self._connection.getresponse()
        answer, told = json.loads(response.read()), response.headers
        first, after = told.get(FIRST_TOKEN), told.get("retry-after")
        return Reply(
            response.status,
            float(told[TOOK]),
            None if first is None else float(first),
            None if after is None else float(after),
            answer.get("usage", {}),
            dict(told),
        )

    # --- The provider's side ---------------------------------------------------------------------

    def answer(self, body: Mapping[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and body of the reply to a request.

        Args:
            body: of the request, as in OpenAI's protocol; ``metadata.request`` is its number.
        """
        world, now, model = self.world, self.world.agenda.now_s, body["model"]
        asked = world.traffic[body["metadata"]["request"]]
        chance = world.truth.draw("failure", asked.number, model, now)
        if world.condition.fails(self.name, now, world.victims):
            # Most calls are refused soon, some hang.
            took = _HANG_S if chance.random() < 0.2 else chance.uniform(0.2, 3.0)
            return 503, {TOOK: repr(took)}, {"error": {"message": "overloaded"}}
        headers = self._rate_limit(now)
        if "retry-after" in headers:
            took = chance.uniform(0.05, 0.2)
            return 429, headers | {TOOK: repr(took)}, {"error": {"message": "too many requests"}}
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        tokens, reasoning = world.truth.output_tokens(asked, model)
        load = len(self._ends) / world.full_speed
        first, whole = world.truth.seconds(asked, model, tokens, load)
        times = world.condition.slower(model, now, world.victims)
        first, whole = first * times, whole * times
        heapq.heappush(self._ends, now + whole)
        usage = {
            "prompt_tokens": asked.arrival.input_tokens,
            "completion_tokens": tokens,
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }
        choice = {"message": {"role": "assistant", "content": "An answer."}}
        times_told = {TOOK: repr(whole), FIRST_TOKEN: repr(first)}
        return 200, headers | times_told, {"model": model, "usage": usage, "choices": [choice]}

    def _rate_limit(self, now: float) -> dict[str, str]:
        """Headers that tell how many calls are left in the minute; with ``retry-after`` where none is."""
        allowed = self.world.condition.calls_per_minute(self.name, self.world.victims)
        if allowed is None:
            return {}
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        left = allowed - len(self._recent)
        reset = 60 - (now - self._recent[0]) if self._recent else 0.0
        headers = {
            "x-ratelimit-limit-requests": str(allowed),
            "x-ratelimit-remaining-requests": str(max(left - 1, 0)),
            "x-ratelimit-reset-requests": f"{reset:.3f}s",
        }
        if left <= 0:
            return headers | {"retry-after": f"{max(reset, 1):.3f}"}
        self._recent.append(now)
        return headers
