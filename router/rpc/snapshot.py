"""What one call runs on: one version of settings, catalog and bundle, however they change meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from router.routing.reservations import Reservations
from router.settings import Settings

__all__ = ["Snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one call runs on from its beginning to its end.

    Attributes:
        settings: of the server.
        reservations: made from them, and from one catalog and one bundle.
    """

    settings: Settings
    reservations: Reservations
