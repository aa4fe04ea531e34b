"""The process that has the store, where several processes serve: its only writer.

It ends only when the supervisor says so, after the others: a signal to the whole group must not take the
store away from calls in flight. Where the supervisor is gone, it ends once the others are.
"""

from __future__ import annotations

import queue
import signal
import socket
import sys
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from router.allocator import bound_allocator
from router.core.errors import MitsumoriError
from router.ledger.address import open_ledger
from router.ledger.local_socket.observations import KeptObservations
from router.ledger.local_socket.server import LedgerServer
from router.logs import Form, close, configure, logger
from router.processes.control_line import ControlLine, Failed, Ready

__all__ = ["run"]


def run(
    name: str,
    address: str,
    listener: socket.socket,
    log: tuple[str, Form],
    patience_s: float,
    pipe: Connection,
) -> None:
    """Own a store until the end; exits with code 2 where it cannot be opened.

    Args:
        name: of this process.
        address: of the store.
        listener: where the others call.
        log: lowest level, and form.
        patience_s: seconds that the others may take to end, if the supervisor is gone.
        pipe: to the supervisor.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    configure(*log, process=name)
    bound_allocator()
    ends = queue.SimpleQueue[bool]()
    line = ControlLine(pipe, on_end=ends.put)
    observations = KeptObservations()
    try:
        with (
            closing(open_ledger(address, observations)) as ledger,
            LedgerServer(ledger, listener, observations) as server,
        ):
            line.tell(Ready())
            if not ends.get():
                logger().error("supervisor_gone")
                server.wait_until_unused(patience_s)
                _remove(Path(listener.getsockname()))
    except MitsumoriError as error:
        line.tell(Failed.of(error))
        sys.exit(2)
    finally:
        close()


def _remove(path: Path) -> None:
    """Remove the socket and its folder, which the supervisor otherwise does."""
    with suppress(OSError):
        path.unlink()
        path.parent.rmdir()
