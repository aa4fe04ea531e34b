"""A process that answers calls beside others on the same port."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from router.core.errors import MitsumoriError
from router.ledger.address import open_ledger
from router.ledger.base import Ledger
from router.ledger.local_socket.client import SocketLedger
from router.logs import close, configure, logger
from router.processes.control_line import ControlLine, Failed, Ready
from router.rpc.duties import Duties
from router.rpc.health import ServiceHealth
from router.rpc.server import serve
from router.rpc.settings_change import SettingsFile
from router.settings import Settings
from router.telemetry.observer import Observer

__all__ = ["Seat", "run"]

_ATTRIBUTES, _INSTANCE = "OTEL_RESOURCE_ATTRIBUTES", "service.instance.id"


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of a process among those that serve.

    Attributes:
        number: see :class:`Duties`.
        ledger: the socket of the ledger's owner; ``None``: each process opens the store itself.
    """

    number: int
    ledger: Path | None

    @property
    def name(self) -> str:
        """Of the process."""
        return f"serving-{self.number}"


def run(seat: Seat, values: Mapping[str, Any], file: SettingsFile | None, pipe: Connection) -> None:
    """Serve until SIGTERM, or until the supervisor is gone; exits with code 2 where that cannot begin.

    Args:
        seat: of this process.
        values: of the settings, checked.
        file: where they came from; ``None``: there is none.
        pipe: to the supervisor.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a bundle to look for
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    settings = Settings.model_construct(**values)
    configure(settings.log_level, settings.log_format, process=seat.name)
    _name_instance(seat.name)
    line = ControlLine(pipe, report=lambda: False, on_end=_end)

    @contextmanager
    def attended(health: ServiceHealth) -> Iterator[None]:
        line.report = lambda: health.serves
        line.on_statuses = health.tell_of_processes
        yield

    def opened(address: str, observer: Observer) -> Ledger:
        if seat.ledger is None:
            return open_ledger(address, observer)
        return SocketLedger(seat.ledger, observer=observer)

    duties = Duties(seat.number, shares_ports=True, open_ledger=opened, attended=attended)
    try:
        serve(settings, file, on_ready=lambda _: line.tell(Ready()), duties=duties)
    except MitsumoriError as error:
        line.tell(Failed.of(error))
        sys.exit(2)
    finally:
        close()


def _name_instance(process: str) -> None:
    """Give this process a name in telemetry, in which the others of this service would be the same one."""
    attributes = os.environ.get(_ATTRIBUTES, "")
    if _INSTANCE not in attributes:
        own = f"{_INSTANCE}={socket.gethostname()}/{process}"
        os.environ[_ATTRIBUTES] = f"{attributes},{own}" if attributes else own


def _end(_: bool) -> None:
    logger().error("supervisor_gone")
    os.kill(os.getpid(), signal.SIGTERM)
