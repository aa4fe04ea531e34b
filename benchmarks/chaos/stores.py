"""The stores of a run, and the ways to disturb them."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil

from benchmarks.chaos import journal
from benchmarks.chaos.plan import Plan
from benchmarks.chaos.proof import prove_copy
from benchmarks.ledger_postgres import server
from router.core.errors import MitsumoriError
from router.ledger.postgres.ledger import PostgresLedger
from router.ledger.sqlite.file import back_up
from router.ledger.sqlite.ledger import SqliteLedger

__all__ = ["Store", "opened"]

_AS_USER = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[2:], user=sys.argv[1]))"
"""Runs a command as another user, because PostgreSQL refuses to run as root. A separate process changes the
user: ours would have to fork, and with threads of gRPC the child may crash before it runs the command."""
_PAUSE_S = 3.0
"""Seconds that a paused database stands still: longer than any call waits for it in good times."""


class Store(Protocol):
    """A store with the servers that use it."""

    @property
    def address(self) -> str:
        """For ``--ledger``."""
        ...

    @property
    def replicas(self) -> int:
        """How many servers share it."""
        ...

    @property
    def events(self) -> str:
        """What :meth:`disturb` does, for the report."""
        ...

    def disturb(self) -> list[str]:
        """Disturb the store while servers use it; return the violations that were found."""
        ...

    def open(self) -> SqliteLedger | PostgresLedger:
        """The store itself, once no server uses it any more."""
        ...


class SqliteStore:
    """One file, one server. It is copied while it is used, and each copy must be whole.

    Args:
        folder: for the file and its copies.
        journals: the acknowledgements that callers have received so far.
    """

    replicas = 1
    events = "copies taken and proved while running"

    def __init__(self, folder: Path, journals: Path) -> None:
        self._folder = folder
        self._journals = journals
        self._file = folder / "ledger.sqlite"
        self.address = f"sqlite:{self._file}"

    def disturb(self) -> list[str]:
        """Take a copy: it has everything that was acknowledged before it was begun."""
        acknowledgements = list(journal.read(self._journals))
        copy = self._folder / "copy.sqlite"
        back_up(self._file, copy)
        ledger = SqliteLedger(copy)
        try:
            return [f"copy: {each}" for each in prove_copy(ledger, acknowledgements)]
        finally:
            ledger.close()
            for path in self._folder.glob("copy.sqlite*"):
                path.unlink()

    def open(self) -> SqliteLedger:
        """See :class:`Store`."""
        return SqliteLedger(self._file)


class PostgresStore:
    """A real PostgreSQL under two servers. It is killed, too.

    Args:
        running: the database, just started.
        choices: how it is killed.
        patience_s: how long it may take to come back, seconds.
    """

    replicas = 2
    events = "kills and pauses of the database"

    def __init__(self, running: Any, choices: random.Random, patience_s: float) -> None:
        self._running = running
        self._choices = choices
        self._patience_s = patience_s
        self._socket = running.get_postmaster_info().socket_dir
        self.address: str = running.get_uri()

    def disturb(self) -> list[str]:
        """Pause the database, or kill it, by SIGKILL or by an immediate stop, and start it again."""
        dice = self._choices.random()
        if dice < 0.3:
            self._pause()
            return []
        if dice < 0.65:
            self._kill_all()
        else:
            self._control("stop", "-m", "immediate")
        until = time.monotonic() + self._patience_s
        # Where processes of the killed one are still leaving, the new one does not start.
        while not self._control(
            "start", "-o", f'-h "" -k {self._socket}', "-l", str(self._running.log)
        ):
            if time.monotonic() > until:
                raise MitsumoriError(
                    f"PostgreSQL does not come back; its log is {self._running.log}"
                )
            time.sleep(0.2)
        return []

    def open(self) -> PostgresLedger:
        """See :class:`Store`."""
        return PostgresLedger(self.address)

    def stop(self) -> None:
        """Stop the database; the one who started it first knows nothing of its later lives."""
        self._control("stop", "-m", "fast")

    def _kill_all(self) -> None:
        """SIGKILL all its processes, as the end of a container does.

        With the first one alone, another could be left behind that waits for ever for one that is gone,
        and keeps the database from starting.
        """
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _pause(self) -> None:
        """SIGSTOP all its processes, as a machine that hangs, and let them go on."""
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        time.sleep(_PAUSE_S)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _processes(self) -> list[psutil.Process]:
        text = (self._running.pgdata / "postmaster.pid").read_text(encoding="utf-8")
        first = psutil.Process(int(text.split()[0]))
        return [first, *first.children(recursive=True)]

    def _control(self, action: str, *words: str) -> bool:
        """Run ``pg_ctl`` and wait; whether it succeeded."""
        program = str(self._running.bin_path / "pg_ctl")
        command = [program, "-w", "-t", "30", "-D", str(self._running.pgdata), *words, action]
        if self._running.system_user is not None:
            command = [sys.executable, "-c", _AS_USER, self._running.system_user, *command]
        quiet = subprocess.DEVNULL
        return subprocess.run(command, stdout=quiet, stderr=quiet, check=False).returncode == 0


@contextmanager
def opened(plan: Plan, folder: Path, journals: Path) -> Iterator[Store]:
    """The store of a run, for as long as it is used.

    Args:
        plan: of the run; says which store.
        folder: for the file of SQLite and its copies.
        journals: folder of the callers' journals.
    """
    if plan.store == "sqlite":
        yield SqliteStore(folder, journals)
        return
    with server() as running:
        store = PostgresStore(running, plan.randomness("database"), plan.patience_s)
        try:
            yield store
        finally:
            store.stop()
