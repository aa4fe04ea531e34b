"""A server that only tokenises a prompt and runs the encoder, as a baseline.

``python -m benchmarks.bare_server BUNDLE`` starts it. Each reply is the time taken, in milliseconds.
"""

from __future__ import annotations

import sys
import time
from concurrent import futures
from pathlib import Path

import grpc

from router.classifier.bundle import load_bundle
from router.paths import ENCODERS

METHOD = "/bare.Encoder/Encode"


def main(bundle_dir: str) -> None:
    encoder = load_bundle(Path(bundle_dir), ENCODERS).encoder

    def encode(text: bytes, _: grpc.ServicerContext) -> bytes:
        started = time.perf_counter()
        encoder.embed(text.decode())
        return str((time.perf_counter() - started) * 1000).encode()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    service, method = METHOD.strip("/").split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(encode)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1])
