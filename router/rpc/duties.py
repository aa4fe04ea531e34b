"""What one process does of the service, where several serve it together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from router.ledger.address import open_ledger
from router.ledger.base import Ledger
from router.rpc.health import ServiceHealth

__all__ = ["ALONE", "Duties"]


def _nobody(_: ServiceHealth) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Duties:
    """What a process does of the service.

    Attributes:
        leads: it offers AdminService, expires holds and erases old decisions.
        shares_ports: other processes listen on its ports too.
        open_ledger: opens the store of an address.
        attended: given what its health service says, whoever looks after the process does so in this context.
    """

    leads: bool = True
    shares_ports: bool = False
    open_ledger: Callable[[str], Ledger] = open_ledger
    attended: Callable[[ServiceHealth], AbstractContextManager[object]] = _nobody


ALONE = Duties()
"""The whole service."""
