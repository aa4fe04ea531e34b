"""Health, composed: the process is warm, its store can be written, and it does not drain."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from grpc_health.v1 import health, health_pb2

from router.core.errors import MitsumoriError
from router.ledger.base import Ledger
from router.logs import logger
from router.rpc.service_names import ADMIN, ROUTER

__all__ = ["PROCESS", "ServiceHealth"]

_LEDGER = "mitsumori.ledger"
"""The store alone."""
PROCESS = "mitsumori.process"
"""The process alone: a store that is down is no reason to restart it."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _Servicer(health.HealthServicer):  # type: ignore[misc]  # grpc ships no types
    """Also lists what it knows, which the servicer of the library does not do yet."""

    def __init__(self) -> None:
        super().__init__()
        self._names = {""}

    def set(self, service: str, status: Any) -> None:
        """Set the status of a service; nothing changes once everything is NOT_SERVING for good."""
        super().set(service, status)
        self._names.add(service)

    def List(self, request: Any, context: Any) -> health_pb2.HealthListResponse:  # noqa: ARG002, N802
        """Every service with its status."""
        asked = {name: health_pb2.HealthCheckRequest(service=name) for name in sorted(self._names)}
        return health_pb2.HealthListResponse(
            statuses={name: self.Check(one, context) for name, one in asked.items()}
        )


class ServiceHealth:
    """What the health service of gRPC answers, per service. Thread-safe.

    The empty name and both services are SERVING while the process is warm and its store can be written.
    Where several processes serve together, each also knows of the others, as ``mitsumori.process.NAME``.

    Attributes:
        servicer: to be added to a server.
    """

    def __init__(self) -> None:
        self.servicer = _Servicer()
        self._lock = threading.Lock()
        self._is_warm = False
        self._store_works = True
        self._drains = False
        self._tell()

    @property
    def serves(self) -> bool:
        """Whether the process can answer: it is warm, its store can be written, and it does not drain."""
        with self._lock:
            return self._is_warm and self._store_works and not self._drains

    @property
    def store_works(self) -> bool:
        """Whether the store could be written at the last look."""
        return self._store_works

    def mark_warm(self) -> None:
        """The process can serve."""
        with self._lock:
            self._is_warm = True
            self._tell()

    def check_store(self, ledger: Ledger) -> None:
        """Write to the store, and tell whether that works; a change is logged."""
        reason = ""
        try:
            ledger.check()
        except MitsumoriError as error:
            reason = error.reason
        works = not reason
        with self._lock:
            if works is self._store_works:
                return
            self._store_works = works
            self._tell()
        if works:
            logger().info("store_works_again")
        else:
            logger().error("store_failed", reason=reason)

    def tell_of_processes(self, serves: Mapping[str, bool]) -> None:
        """Tell of each process of the service, by name, whether it can answer."""
        for name, holds in serves.items():
            self.servicer.set(f"{PROCESS}.{name}", _SERVING if holds else _NOT_SERVING)

    def drain(self) -> None:
        """Everything is NOT_SERVING from now on."""
        with self._lock:
            self._drains = True
        self.servicer.enter_graceful_shutdown()

    def _tell(self) -> None:
        serves = self._is_warm and self._store_works
        for names, holds in (
            (("", ROUTER, ADMIN), serves),
            ((_LEDGER,), self._store_works),
            ((PROCESS,), self._is_warm),
        ):
            for name in names:
                self.servicer.set(name, _SERVING if holds else _NOT_SERVING)
