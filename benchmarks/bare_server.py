"""Servers that do a part of the work of the real one, as baselines: same kind of server, one process.

``python -m benchmarks.bare_server BUNDLE [THREADS]`` starts it. Requests and replies are plain bytes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc

from router.classifier.bundle import load_bundle
from router.paths import ENCODERS

EMPTY = "/bare.Server/Empty"
"""Answers nothing to nothing."""
ENCODE = "/bare.Server/Encode"
"""Tokenises a prompt and runs the encoder; answers how long that took, in milliseconds."""
CLASSIFY = "/bare.Server/Classify"
"""Features, encoder and classifier of a prompt; answers nothing."""


def main(bundle_dir: str, threads: int = 1) -> None:
    """Serve until killed; prints the port.

    Args:
        bundle_dir: directory of the bundle.
        threads: that answer calls, ≥ 1.
    """
    bundle = load_bundle(Path(bundle_dir), ENCODERS)
    encoder = bundle.encoder

    def encode(text: bytes, _: grpc.ServicerContext) -> bytes:
        started = time.perf_counter()
        encoder.embed(text.decode())
        return str((time.perf_counter() - started) * 1000).encode()

    def classify(text: bytes, _: grpc.ServicerContext) -> bytes:
        bundle.score(text.decode())
        return b""

    def empty(_request: bytes, _: grpc.ServicerContext) -> bytes:
        return b""

    behaviours: dict[str, Callable[[bytes, grpc.ServicerContext], bytes]] = {
        EMPTY: empty,
        ENCODE: encode,
        CLASSIFY: classify,
    }
    handlers = {
        method.rpartition("/")[2]: grpc.unary_unary_rpc_method_handler(behave)
        for method, behave in behaviours.items()
    }
    server = grpc.server(futures.ThreadPoolExecutor(threads))
    service = EMPTY.split("/")[1]
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
