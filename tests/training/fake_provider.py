"""A provider of models for the tests: OpenAI's chat completions over real HTTP, on a free port.

It does what its script says, remembers every request, and knows what it would bill.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.readiness import PATIENCE_S

HONEST = object()
"""Usage as it really is."""


@dataclass(frozen=True)
class Says:
    """Answers. ``usage``: what is reported; ``reasoning``: hidden tokens, billed and reported."""

    text: str = "A fine answer."
    usage: Any = HONEST
    finish: str | None = "stop"
    reasoning: int = 0
    choices: bool = True


@dataclass(frozen=True)
class Refuses:
    """A status with an error, whose message repeats the prompt, as some providers do; or with ``body``."""

    status: int
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    words: str = ""
    body: str = ""


@dataclass(frozen=True)
class Breaks:
    """Says a part, then cuts the connection; ``cleanly`` ends the reply as if it were whole."""

    text: str = "Half an ans"
    cleanly: bool = False


@dataclass(frozen=True)
class Hangs:
    """Says nothing until the provider is closed."""


@dataclass(frozen=True)
class Sends:
    """A body of any kind with status 200; ``kind``: its content type."""

    body: str
    kind: str = "application/json"


@dataclass(frozen=True)
class Streams:
    """Events of any kind, whatever was asked for."""

    events: tuple[str, ...]


Act = Says | Refuses | Breaks | Hangs | Sends | Streams
Script = Callable[["Request"], Act]


@dataclass(frozen=True)
class Request:
    """What was asked: its body, its headers (lower case), and how often this was asked before (0: never)."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    before: int

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][-1]["content"])

    @property
    def text(self) -> str:
        """All that was sent."""
        return "\n".join(str(one["content"]) for one in self.body["messages"])

    @property
    def limit(self) -> int:
        return int(self.body.get("max_tokens") or self.body["max_completion_tokens"])


def tokens(text: str) -> int:
    """What the provider counts: a token is three characters, begun ones included."""
    return -(-len(text) // 3)


class FakeProvider:
    """A listening provider.

    Attributes:
        url: base URL of its API.
        requests: all, in the order of their arrival.
        answered: (model, prompt) → whole answers sent.
        under_way: requests that have arrived and are not answered.
        most: the most requests that were under way at the same time.
        input_tokens, output_tokens: by model, what is billed.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.answered: Counter[tuple[str, str]] = Counter()
        self.input_tokens: Counter[str] = Counter()
        self.output_tokens: Counter[str] = Counter()
        self.under_way = self.most = 0
        self.closing = threading.Event()
        self.lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                with suppress(BrokenPipeError, ConnectionResetError):
                    provider.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    @property
    def keys(self) -> set[str]:
        """The API keys that were sent."""
        return {one.headers["authorization"].removeprefix("Bearer ") for one in self.requests}

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self.lock:
            same = sum(
                (one.body["model"], one.body["messages"]) == (body["model"], body["messages"])
                for one in self.requests
            )
            request = Request(body, headers, same)
            self.requests.append(request)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            act = self.script(request)
            match act:
                case Hangs():
                    self.closing.wait(PATIENCE_S)
                    handler.close_connection = True
                case Refuses():
                    message = act.words or f"we will not answer: {request.text}"
                    error = {"message": message, "code": act.code, "type": "error"}
                    content = act.body or json.dumps({"error": error})
                    _reply(handler, act.status, content, act.headers)
                case Sends():
                    _reply(handler, 200, act.body, kind=act.kind)
                case Streams():
                    _stream(handler, iter(act.events))
                case Breaks():
                    self._bill(request, act.text, 0)
                    _break(handler, act, stream=bool(body.get("stream")))
                case Says():
                    self._bill(request, act.text, act.reasoning)
                    if body.get("stream"):
                        _stream(handler, map(json.dumps, self._chunks(request, act)))
                    else:
                        _reply(handler, 200, json.dumps(self._completion(request, act)))
                    with self.lock:
                        self.answered[request.model, request.prompt] += 1
        finally:
            with self.lock:
                self.under_way -= 1

    def _bill(self, request: Request, text: str, reasoning: int) -> None:
        with self.lock:
            self.input_tokens[request.model] += tokens(request.text)
            self.output_tokens[request.model] += tokens(text) + reasoning

    def _usage(self, request: Request, act: Says) -> Any:
        if act.usage is not HONEST:
            return act.usage
        given, made = tokens(request.text), tokens(act.text) + act.reasoning
        return {
            "prompt_tokens": given,
            "completion_tokens": made,
            "total_tokens": given + made,
            "completion_tokens_details": {"reasoning_tokens": act.reasoning},
        }

    def _completion(self, request: Request, act: Says) -> dict[str, Any]:
        message = {"role": "assistant", "content": act.text}
        choice = {"index": 0, "message": message, "finish_reason": act.finish}
        usage = self._usage(request, act)
        return {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": request.model,
            "choices": [choice] if act.choices else [],
            **({} if usage is None else {"usage": usage}),
        }

    def _chunks(self, request: Request, act: Says) -> Iterator[dict[str, Any]]:
        base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": request.model}
        pieces = [act.text[n : n + 5] for n in range(0, len(act.text), 5)] if act.choices else []
        for piece in pieces:
            yield {**base, "choices": [{"index": 0, "delta": {"content": piece}}]}
        if act.choices:
            yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": act.finish}]}
        usage = self._usage(request, act)
        if usage is not None and (request.body.get("stream_options") or {}).get("include_usage"):
            yield {**base, "choices": [], "usage": usage}


def _reply(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: str,
    headers: Mapping[str, str] | None = None,
    kind: str = "application/json",
) -> None:
    content = body.encode()
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content)))
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def _begin_stream(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()


def _event(handler: BaseHTTPRequestHandler, data: str) -> None:
    content = f"data: {data}\n\n".encode()
    handler.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")


def _stream(handler: BaseHTTPRequestHandler, events: Iterator[str]) -> None:
    _begin_stream(handler)
    for data in events:
        _event(handler, data)
    _event(handler, "[DONE]")
    handler.wfile.write(b"0\r\n\r\n")


def _break(handler: BaseHTTPRequestHandler, act: Breaks, *, stream: bool) -> None:
    if stream:
        _begin_stream(handler)
        _event(handler, json.dumps({"choices": [{"index": 0, "delta": {"content": act.text}}]}))
        if act.cleanly:
            handler.wfile.write(b"0\r\n\r\n")
    else:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [{"message": {"content": "')
    handler.close_connection = True


@contextmanager
def provider(script: Script | Act | None = None) -> Iterator[FakeProvider]:
    """A provider that is closed in the end.

    Args:
        script: what it does on a request, or what it always does; ``None``: it answers.
    """
    if script is None:
        script = Says()
    made = FakeProvider(script if callable(script) else lambda _, act=script: act)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.closing.set()
        made.server.shutdown()
        thread.join()
        made.server.server_close()
