"""A real ``mlflow server`` for the tests: SQLite, artifacts behind its proxy, on a free port."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.readiness import PATIENCE_S, wait_until


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Its address. Artifacts lie in ``folder / "artifacts"``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--serve-artifacts", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (folder / "mlflow.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            wait_until(lambda: _answers(address, process, folder), what="for mlflow server")
            yield address
        finally:
            # The server starts workers of its own; they are in its group, and nobody else is.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)


def _answers(address: str, process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether it is healthy by its own word; an error where its process has ended."""
    if process.poll() is not None:
        raise RuntimeError(f"mlflow server ended: {(folder / 'mlflow.log').read_text()[-2000:]}")
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=PATIENCE_S):
            return True
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def forwarded(address: str) -> Iterator[str]:
    """Another address of a server, which is gone when the block ends; the server is not."""
    host, _, port = address.removeprefix("http://").partition(":")

    open_ones: list[socket.socket] = []

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port))) as there:
                open_ones.append(self.request)
                back = threading.Thread(target=_pump, args=(there, self.request))
                back.start()
                _pump(self.request, there)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            for connection in open_ones:  # those that a client keeps for later calls, too
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
