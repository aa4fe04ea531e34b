"""The names of the services, as methods begin with them and health is asked by them."""

from __future__ import annotations

from grpc_health.v1 import health

from mitsumori.v1 import admin_pb2, router_pb2

__all__ = ["ADMIN", "HEALTH", "ROUTER", "is_ours"]

ROUTER = router_pb2.DESCRIPTOR.services_by_name["RouterService"].full_name
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
HEALTH = health.SERVICE_NAME

_OURS = f"/{router_pb2.DESCRIPTOR.package}."


def is_ours(method: str) -> bool:
    """Whether a method, by its full name with a leading slash, is one of our services."""
    return method.startswith(_OURS)
