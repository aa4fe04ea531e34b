"""Real ``mitsumori serve`` processes, each on its port: started, killed without warning, started again."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from benchmarks.chaos.plan import Plan
from router.core.errors import MitsumoriError

__all__ = ["Replica"]

_PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: one of them could take the port of a server
that is down, or connect to itself there."""
_DEAF = 0.25
"""Share of lives whose log nobody reads."""
_PAGE = 4096

_ONE_OF_THEM = 0.7
"""How often one process is killed where a server has several."""


class Replica:
    """One server; its process comes and goes, its port stays.

    Args:
        plan: of the run.
        ledger: address of the store.
        log: file for everything that it says.
        choices: which port to try, and which lives have a log that nobody reads.
        flags: further ones of ``serve``.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: str,
        log: Path,
        choices: random.Random,
        flags: Sequence[str] = (),
    ) -> None:
        self._plan = plan
        self._choices = choices
        self._port = _free_port(choices)
        self._log = log
        self._said = log.with_suffix(".out")
        self._process: subprocess.Popen[bytes] | None = None
        self.deaf = 0
        self.address = self.admin_address = f"127.0.0.1:{self._port}"
        self._words = ["--port", str(self._port), "--ledger", ledger, "--no-reflection", *flags]
        if plan.processes > 1:
            admin_port = _free_port(choices)
            self._words += ["--processes", str(plan.processes), "--admin-port", str(admin_port)]
            self.admin_address = f"127.0.0.1:{admin_port}"

    def start(self) -> None:
        """Start the process; :meth:`wait` says when it serves."""
        words = [*self._words, "--log-level", "warning"]
        environment = os.environ | {"MITSUMORI_HOLD_TTL_S": str(self._plan.hold_ttl_s)}
        with self._said.open("wb") as said, self._listened() as log:
            self._process = subprocess.Popen(
                [*self._plan.serve, *words], stdout=said, stderr=log, env=environment
            )

    def _listened(self) -> IO[bytes]:
        """Where the log goes: the file, or now and then a pipe that is closed at its other end."""
        if self._choices.random() >= _DEAF:
            return self._log.open("ab")
        self.deaf += 1
        reader, writer = os.pipe()
        os.close(reader)
        return os.fdopen(writer, "wb")

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """While this is open, no file of the server grows: what it writes beyond the first page fails."""
        assert self._process is not None
        numbers = [self._process.pid, *(one.pid for one in self._processes())]
        _bound_files(numbers, _PAGE)
        try:
            yield
        finally:
            _bound_files(numbers, resource.RLIM_INFINITY)

    def is_serving(self) -> bool:
        """Whether it serves; starts it again if it could not start, as while its store was down."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        return b"serving on " in self._said.read_bytes()

    def wait(self) -> None:
        """Return once it serves.

        Raises:
            MitsumoriError: it does not, however long we wait.
        """
        until = time.monotonic() + self._plan.patience_s
        while not self.is_serving():
            if time.monotonic() > until:
                raise MitsumoriError(f"the server does not start; its log is {self._log}")
            time.sleep(0.1)

    def disturb(self) -> None:
        """kill -9 of the server, which we start again, or of one process, which it starts again."""
        processes = self._processes()
        if processes and self._choices.random() < _ONE_OF_THEM:
            with suppress(psutil.Error):
                self._choices.choice(processes).kill()
            return
        self.kill()
        self.start()

    def _processes(self) -> list[psutil.Process]:
        if self._plan.processes == 1 or self._process is None or self._process.poll() is not None:
            return []
        with suppress(psutil.Error):  # one has ended meanwhile
            children = psutil.Process(self._process.pid).children()
            return [one for one in children if "--multiprocessing-fork" in one.cmdline()]
        return []

    def kill(self) -> None:
        """kill -9, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> bool:
        """Send SIGTERM; return whether it stopped cleanly. Kill it if it does not stop."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout=self._plan.patience_s) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def failures(self) -> list[str]:
        """Unexpected errors in its log, and threads that died."""
        if not self._log.exists():
            return []
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if _is_failure(line)]


def _bound_files(numbers: Sequence[int], most_bytes: int) -> None:
    for number in numbers:
        with suppress(ProcessLookupError):
            resource.prlimit(number, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


def _is_failure(line: str) -> bool:
    try:
        values = json.loads(line)
    except ValueError:
        return line.startswith(("Traceback", "Fatal", "Exception"))
    return isinstance(values, dict) and values.get("event") == "failed"


def _free_port(choices: random.Random) -> int:
    while True:
        port = choices.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
