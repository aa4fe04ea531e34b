"""``/metrics`` over HTTP: for Prometheus, on a port of its own.

A few threads of its own answer; a scrape that hangs is cut off, and what is too much is turned away. So
whoever can reach the port delays no call and fills no memory.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from router.core.addresses import host_port
from router.telemetry.exposition import OPEN_METRICS, PLAIN

__all__ = ["MetricsEndpoint"]

_PATIENCE_S = 5.0
"""How long a connection may be silent, or take no part of the answer."""
_WHOLE_S = 10.0
"""How long it may last: who sends a byte at a time is never silent."""
_MAX_CONNECTIONS = 8
_POLL_S = 0.1
"""How often the server looks whether it shall stop."""


class MetricsEndpoint:
    """Answers scrapes from enter to exit.

    Args:
        host: to listen on.
        port: to listen on; 0: any free port.
        text: makes the metrics, in OpenMetrics where its argument is true.
        failed: is told why that failed.

    Attributes:
        address: ``host:port`` to which it is bound, also where port 0 was asked for.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        host: str,
        port: int,
        text: Callable[[bool], str],
        failed: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._server = _Server(host, port, text, failed)
        self.address = host_port(host, self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )

    def __enter__(self) -> MetricsEndpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening. Waits for no scrape."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = _MAX_CONNECTIONS

    def __init__(
        self,
        host: str,
        port: int,
        text: Callable[[bool], str],
        failed: Callable[[Exception], None],
    ) -> None:
        self.text, self.failed = text, failed
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(_WHOLE_S, _cut_off, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scrape that broke off is nobody's business; the standard library would print a traceback."""


def _cut_off(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended meanwhile
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE_S  # of every wait for the socket
    server: _Server
    server_version = "mitsumori"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, PLAIN, "metrics are at /metrics\n")
            return
        wants_open = "application/openmetrics-text" in self.headers.get("Accept", "")
        try:
            text = self.server.text(wants_open)
        except Exception as error:  # noqa: BLE001 — nobody would notice that there is nothing to scrape
            self.server.failed(error)
            self._answer(500, PLAIN, "metrics cannot be made; the server's log says where\n")
            return
        self._answer(200, OPEN_METRICS if wants_open else PLAIN, text)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 — the name is the standard library's
        """Scrapes are not logged."""

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
