"""Prompts encoded on Ray: on a local cluster of this machine's cores, or on a cluster of many machines.

Each shard is a Ray task. Tasks are simpler than actors here: nothing has to be sized, placed or restarted,
Ray runs as many tasks as the cluster has cores, also after it grows or loses a node, and a worker process
keeps its encoder between tasks. Ray Data is not used because its executor owns the whole run; here the
driver commits every shard to the cache as it arrives, so that a killed run resumes where it stopped.

The encoder is sent with the work as bytes, so that workers need only the installed package.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from router.classifier.encoder import Encoder, load_encoder
from router.core.errors import InvalidInput, MitsumoriError
from training.encoders.embedding import Encoding, Shard, Vectors, encode_shard

__all__ = ["on_ray"]

AHEAD = 2
"""Shards under way per core: one is encoded, one waits, so that no core waits for the driver."""
RETRIES = 3
"""How often Ray encodes a shard again after its worker died."""
OBJECT_STORE = 256 * 2**20
"""Bytes of shared memory of a local cluster: shards and vectors under way need a few MiB."""
_START_S = 120
"""How long a local cluster may take to start."""
_REACHED_S = 5.0


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports
    try:
        import ray
    except ImportError:
        raise MitsumoriError(
            "encoding on Ray needs ray: `pip install 'mitsumori[ray]'`",
            reason="EXTRA_MISSING",
            field="ray",
        ) from None
    return ray


def _unreachable(address: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"--ray-address {address}: {why}; give HOST:PORT of a running cluster, or auto on one of its "
        "machines, or start a local one with --ray",
        reason="CLUSTER_UNREACHABLE",
        field="ray_address",
    )


def _check_reached(address: str) -> None:
    """Refuse an address that nothing listens on; Ray itself would try for minutes."""
    if address == "auto":
        return
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise _unreachable(address, "is not an address")
    try:
        socket.create_connection((host, port), _REACHED_S).close()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _unreachable(address, f"nobody answers there ({reason})") from None


def _first_sentence(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0].rstrip(".")


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    failures = (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError)
    if address is None:
        own = {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
        # Ray waits half a minute for its own server, which is too short on a busy machine.
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", str(_START_S))
        try:
            ray.init("local", num_cpus=workers, **own, **quiet)
        except failures as error:
            raise MitsumoriError(
                f"a local Ray cluster cannot be started ({_first_sentence(error)}); encode without --ray",
                reason="CLUSTER_FAILED",
                field="ray",
            ) from None
        return
    if workers is not None:
        raise InvalidInput(
            "--workers is for a local cluster (--ray); with --ray-address the cluster's cores decide",
            field="workers",
        )
    _check_reached(address)
    try:
        with warnings.catch_warnings(action="ignore"):  # the error repeats what they say
            ray.init(address, **quiet)
    except failures as error:
        raise _unreachable(
            address,
            f"{_first_sentence(error)} (a cluster that asks for a token needs RAY_AUTH_MODE=token, "
            "RAY_AUTH_TOKEN)",
        ) from None


# --- In a worker -------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _loaded(files: Any) -> Encoder:
    """The encoder of this worker process; ``files`` refers to its files by name."""
    with TemporaryDirectory() as directory:
        for name, content in _ray().get(files).items():
            Path(directory, name).write_bytes(content)
        return load_encoder(Path(directory))


def _encode(files: list[Any], shard: Shard) -> Vectors:
    # In a list, a reference arrives as it is: the files are fetched once per process, not per shard.
    return encode_shard(_loaded(files[0]), shard)


# --- In the driver -----------------------------------------------------------------------------


def _result(ray: Any, reference: Any) -> Vectors:
    try:
        vectors: Vectors = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, MitsumoriError):
            raise error.cause from None
        raise MitsumoriError(
            f"a Ray worker could not encode ({type(error.cause).__name__}); every machine of the cluster "
            "needs this release of mitsumori[ray]",
            reason="WORKER_FAILED",
            field="ray",
        ) from None
    except ray.exceptions.RayError as error:
        raise MitsumoriError(
            f"the Ray cluster failed ({type(error).__name__}); encoded prompts are in the cache; "
            "start again to resume",
            reason="CLUSTER_FAILED",
            field="ray",
        ) from None
    return vectors


@contextmanager
def on_ray(
    directory: Path, *, address: str | None = None, workers: int | None = None
) -> Iterator[Encoding]:
    """A cluster that encodes shards.

    Args:
        directory: of the encoder, as :func:`encoder.find_encoder` gives it.
        address: of a running cluster, ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``; ``None`` starts one on
            this machine, for as long as the context lasts.
        workers: cores of the one on this machine; ``None``: all.

    Raises:
        MitsumoriError: Ray is not installed or, while encoding, the cluster fails.
        InvalidInput: there is no cluster at the address.
    """
    ray = _ray()
    _connect(ray, address, workers)
    try:
        files = ray.put(
            {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
        )
        task = ray.remote(max_retries=RETRIES)(_encode)

        def encode(shards: Iterable[Shard]) -> Iterator[tuple[Shard, Vectors]]:
            coming = iter(shards)
            under_way: dict[Any, Shard] = {}
            while True:
                most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 0)))
                while len(under_way) < most and (shard := next(coming, None)) is not None:
                    under_way[task.remote([files], shard)] = shard
                if not under_way:
                    return
                (ready,), _ = ray.wait([*under_way], num_returns=1)
                yield under_way.pop(ready), _result(ray, ready)

        yield encode
    finally:
        ray.shutdown()
