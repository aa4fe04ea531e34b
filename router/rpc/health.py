"""Health, composed: the process is warm, its store can be written, and it does not drain."""

from __future__ import annotations

import threading

from grpc_health.v1 import health, health_pb2

from mitsumori.v1 import admin_pb2, router_pb2
from router.core.errors import MitsumoriError
from router.ledger.base import Ledger
from router.logs import logger

__all__ = ["ADMIN", "HEALTH", "LEDGER", "PROCESS", "ROUTER", "ServiceHealth"]

ROUTER = router_pb2.DESCRIPTOR.services_by_name["RouterService"].full_name
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
HEALTH = health.SERVICE_NAME
LEDGER = "mitsumori.ledger"
"""The store alone."""
PROCESS = "mitsumori.process"
"""The process alone: a store that is down is no reason to restart it."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class ServiceHealth:
    """What the health service of gRPC answers, per service. Thread-safe.

    The empty name and both services are SERVING while the process is warm and its store can be written.

    Attributes:
        servicer: to be added to a server.
    """

    def __init__(self) -> None:
        self.servicer = health.HealthServicer()
        self._lock = threading.Lock()
        self._is_warm = False
        self._store_works = True
        self._tell()

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

    def drain(self) -> None:
        """Everything is NOT_SERVING from now on."""
        self.servicer.enter_graceful_shutdown()

    def _tell(self) -> None:
        serves = self._is_warm and self._store_works
        for names, holds in (
            (("", ROUTER, ADMIN), serves),
            ((LEDGER,), self._store_works),
            ((PROCESS,), self._is_warm),
        ):
            for name in names:
                self.servicer.set(name, _SERVING if holds else _NOT_SERVING)
