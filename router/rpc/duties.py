"""What one process does of the service, where several serve it together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from router.ledger.address import open_ledger
from router.ledger.base import Ledger
from router.rpc.health import ServiceHealth
from router.telemetry.observer import Observer

__all__ = ["ALONE", "Duties"]


def _nobody(_: ServiceHealth) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Duties:
    """What a process does of the service.

    Attributes:
        number: from 1, among the processes that serve. The first one leads.
        shares_ports: other processes listen on its ports too.
        open_ledger: opens the store of an address, which tells an observer of its commits.
        attended: given what its health service says, whoever looks after the process does so in this context.
    """

    number: int = 1
    shares_ports: bool = False
    open_ledger: Callable[[str, Observer], Ledger] = open_ledger
    attended: Callable[[ServiceHealth], AbstractContextManager[object]] = _nobody

    @property
    def leads(self) -> bool:
        """Whether it offers AdminService, expires holds and erases old decisions."""
        return self.number == 1


ALONE = Duties()
"""The whole service."""
