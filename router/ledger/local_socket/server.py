"""Offers the ledger of this process to others of this machine."""

from __future__ import annotations

import socket
import threading
import time
from multiprocessing.connection import wait
from typing import Any

import msgspec

from router.core.errors import MitsumoriError, Unavailable
from router.ledger.base import Ledger
from router.ledger.local_socket.frames import FrameSocket
from router.ledger.local_socket.messages import (
    OBSERVATIONS,
    Request,
    decoded_arguments,
    decoded_request,
    encoded_error,
    encoded_result,
)
from router.ledger.local_socket.observations import KeptObservations
from router.ledger.time_budget import time_limit
from router.logs import log_failure

__all__ = ["LedgerServer"]


class LedgerServer:
    """Answers calls of a ledger, from enter to exit: a thread for each connection, one call after the other.

    What waits at once on all connections, a store may commit at once. On exit, calls that have begun are
    finished and answered; the ledger stays open.

    Args:
        ledger: whose methods are called.
        listener: a Unix domain socket that listens; closed on exit.
        observations: what the ledger tells; handed to who asks for them.
    """

    def __init__(
        self, ledger: Ledger, listener: socket.socket, observations: KeptObservations
    ) -> None:
        self._ledger, self._listener, self._observations = ledger, listener, observations
        self._changed = threading.Condition()
        self._connections: dict[FrameSocket, threading.Thread] = {}
        self._closing = False
        self._woken, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="ledger-socket", daemon=True)

    def __enter__(self) -> LedgerServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._wake.close()
        self._thread.join()
        self._woken.close()
        self._listener.close()
        with self._changed:
            open_ = list(self._connections.items())
        for connection, _thread in open_:
            connection.end_requests()
        for _connection, thread in open_:
            thread.join()

    def wait_until_unused(self, most_s: float) -> None:
        """Return once nobody is connected, after ``most_s`` seconds at the latest."""
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, timeout=most_s)

    def _accept(self) -> None:
        # Several processes of one service have had this listener, one after the other.
        self._listener.setblocking(False)
        while wait([self._listener, self._woken]) == [self._listener]:
            try:
                connected, _ = self._listener.accept()
            except BlockingIOError:  # whoever called has hung up
                continue
            except OSError:
                time.sleep(0.1)  # out of descriptors: those that end make room
                continue
            connected.setblocking(True)
            connection = FrameSocket(connected)
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="ledger-connection", daemon=True
            )
            with self._changed:
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: FrameSocket) -> None:
        try:
            while not self._closing:
                connection.send(self._answer(decoded_request(connection.receive())))
        except (EOFError, OSError, ValueError, msgspec.DecodeError):
            pass  # the caller is gone, or none of ours
        finally:
            connection.close()
            with self._changed:
                self._connections.pop(connection, None)
                self._changed.notify_all()

    def _answer(self, request: Request) -> bytes:
        try:
            return encoded_result(self._result(request))
        except MitsumoriError as error:
            return encoded_error(error)
        except Exception as error:  # noqa: BLE001 — the caller gets an answer, the log the place
            log_failure(request.method, error)
            message = "internal error of the ledger; the server's log says where"
            return encoded_error(MitsumoriError(message, reason="INTERNAL"))

    def _result(self, request: Request) -> Any:
        left = request.ends_at - time.monotonic()
        if left <= 0:  # it waited for this process to start, and its caller no longer waits
            raise Unavailable("the store did not answer in time")
        try:
            arguments = decoded_arguments(request)
        except (KeyError, msgspec.DecodeError):
            raise MitsumoriError("not a call of the ledger", reason="INTERNAL") from None
        if request.method == OBSERVATIONS:
            return self._observations.taken()
        with time_limit(left):
            return getattr(self._ledger, request.method)(**arguments)
