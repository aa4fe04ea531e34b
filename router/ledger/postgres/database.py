"""Connections to PostgreSQL that never wait without bound, what their errors mean, and the schema.

Three clocks bound every wait: the server's own timeouts (statement, lock, idle in a transaction), the
patience of :class:`PatientConnection` with a server that went silent, and the pool's.
"""

from __future__ import annotations

import hashlib
import math
import select
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from router.core.errors import InvalidInput, MitsumoriError, Unavailable

try:
    import psycopg
    from psycopg import sql
    from psycopg.rows import TupleRow
    from psycopg_pool import ConnectionPool, PoolTimeout
except ImportError as missing:
    raise MitsumoriError(
        "a ledger on PostgreSQL needs psycopg: pip install 'mitsumori[postgres]'",
        reason="EXTRA_MISSING",
    ) from missing

__all__ = [
    "ANOTHER_WAS_FIRST",
    "Connection",
    "Cursor",
    "Database",
    "DriverError",
    "Overtaken",
    "PatientConnection",
    "TupleRow",
    "hung_up",
    "migrate",
    "reported",
]

Connection = psycopg.Connection[TupleRow]
Cursor = psycopg.Cursor[TupleRow]
DriverError = psycopg.Error


class Overtaken(Exception):
    """Another replica granted, while we waited for it, a request that we were about to refuse."""


ANOTHER_WAS_FIRST = (
    Overtaken,
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
"""Nothing was written, and a second try sees what the other one did (or broke a deadlock)."""
_Value = TypeVar("_Value")

_MIGRATION_S = 60.0
"""How long a starting replica waits for another one that is migrating."""

_MIGRATIONS = (
    # Names sort by code point ("C"), as in Python: everybody locks rows in the same order.
    """
    CREATE TABLE state (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        limits_version bigint NOT NULL
    );
    INSERT INTO state (limits_version) VALUES (0);

    CREATE TABLE limits (
        id text COLLATE "C" PRIMARY KEY,
        body json NOT NULL
    );

    -- Room on every page keeps updates of a hot row on its page and out of the index (HOT).
    CREATE TABLE balances (
        limit_id text COLLATE "C" NOT NULL,
        series text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        period bigint NOT NULL,
        unit text NOT NULL,
        spent bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
        held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
        over bigint NOT NULL DEFAULT 0,
        ceiling bigint NOT NULL DEFAULT 0,
        erased bigint NOT NULL DEFAULT 0,
        erased_over bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (limit_id, series, key, period)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

    CREATE TABLE decisions (
        id text COLLATE "C" PRIMARY KEY,
        tenant text COLLATE "C" NOT NULL,
        fingerprint text NOT NULL,
        state text NOT NULL,
        created timestamptz NOT NULL,
        expires timestamptz NOT NULL,
        held_money bigint,
        held_tokens bigint,
        held_requests bigint,
        held_concurrent bigint,
        actual_money bigint,
        actual_tokens bigint,
        actual_requests bigint,
        actual_concurrent bigint,
        late boolean NOT NULL DEFAULT false,
        overage bigint NOT NULL DEFAULT 0,
        report text,
        reply bytea NOT NULL,
        entries json NOT NULL,
        labels jsonb NOT NULL,
        record json NOT NULL,
        usage json NOT NULL DEFAULT '{}'
    );
    -- None of these holds the id: of a young table the planner would take any index that has it.
    CREATE INDEX decisions_created ON decisions (created);
    CREATE INDEX decisions_tenant ON decisions (tenant, created);
    CREATE INDEX decisions_due ON decisions (expires) WHERE state = 'held';
    """,
    # What was quoted, as a column: adding up a month must not read the records.
    """
    ALTER TABLE decisions ADD COLUMN quoted bigint NOT NULL DEFAULT 0;
    UPDATE decisions
    SET quoted = coalesce((record -> 'candidates' -> 0 -> 'price_nanos' ->> 1)::bigint, 0);
    """,
)


class PatientConnection(psycopg.Connection[TupleRow]):
    """A connection that closes itself once the server has not answered for ``patience_s`` seconds.

    The server's own timeouts cannot help where the server is paused or the network swallows packets.
    """

    patience_s: float = 10.0

    def wait(self, gen: Generator[Any, Any, _Value], *args: Any, **words: Any) -> _Value:
        """Run a generator of psycopg on the socket, as the base class does, for a bounded time."""
        deadline = time.monotonic() + self.patience_s
        value: _Value = super().wait(self._until(deadline, gen), *args, **words)
        return value

    def _until(
        self, deadline: float, gen: Generator[Any, Any, _Value]
    ) -> Generator[Any, Any, _Value]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    # Closing is all that is left: the session is in the middle of something.
                    self.close()
                    raise psycopg.OperationalError("the server does not answer")
                wanted = gen.send(ready)
        except StopIteration as done:
            value: _Value = done.value
            return value


@contextmanager
def reported() -> Iterator[None]:
    """Turn every error of the driver into ours: what cannot be stored is input, the rest is the store.

    Messages name the kind of error, never values: a DETAIL of the server quotes rows.

    Raises:
        InvalidInput: a value that PostgreSQL cannot hold (NUL, lone surrogates, beyond 64 bits).
        Unavailable: everything else.
    """
    try:
        yield
    except (psycopg.DataError, UnicodeEncodeError, OverflowError) as error:
        raise InvalidInput(
            f"a value cannot be stored ({type(error).__name__}): remove NUL and lone surrogates, "
            "keep amounts below 2^63"
        ) from error
    except PoolTimeout as error:
        raise Unavailable("PostgreSQL: no connection became free in time") from error
    except psycopg.Error as error:
        raise Unavailable(f"PostgreSQL: {_kind(error)}") from error


def _kind(error: psycopg.Error) -> str:
    if error.sqlstate:
        return f"{type(error).__name__} (SQLSTATE {error.sqlstate})"
    # No SQLSTATE means libpq or psycopg itself: a sentence about the connection, without rows.
    return next(iter(str(error).splitlines()), type(error).__name__)


@dataclass(frozen=True, slots=True)
class Database:
    """Where the database is and how long to wait for it.

    Attributes:
        address: ``postgresql://…`` or a libpq connection string.
        schema: the tables live in this schema of the database; made where it is missing.
        timeout_s: seconds that a statement may take; locks get half of it.
    """

    address: str
    schema: str
    timeout_s: float

    def lock_key(self, purpose: str) -> int:
        """A key for an advisory lock, the same in every replica."""
        digest = hashlib.sha256(f"mitsumori/{self.schema}/{purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def connect(self, patience_s: float | None = None) -> Connection:
        """A connection in autocommit.

        Raises:
            psycopg.OperationalError: there is none to be had in time.
        """
        connection = PatientConnection.connect(self.address, **self._words())
        try:
            self._configure(connection, patience_s or self.timeout_s)
        except BaseException:
            connection.close()
            raise
        return connection

    def pool(self, size: int) -> ConnectionPool[PatientConnection]:
        """An open pool of at most ``size`` connections."""
        made = ConnectionPool(
            self.address,
            connection_class=PatientConnection,
            kwargs=self._words(),
            configure=lambda connection: self._configure(connection, self.timeout_s),
            min_size=1,
            max_size=size,
            timeout=self.timeout_s,
            # Given up soon, for the next caller starts anew at once; long retries back off by minutes.
            reconnect_timeout=2.0,
            num_workers=1,
            name="mitsumori-ledger",
            open=False,
        )
        made.open()
        return made

    def _words(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "connect_timeout": max(2, math.ceil(self.timeout_s)),
            "application_name": "mitsumori",
        }

    def _configure(self, connection: PatientConnection, timeout_s: float) -> None:
        settings = {
            "search_path": str(sql.Identifier(self.schema).as_string(connection)),
            "default_transaction_isolation": "read committed",
            "statement_timeout": f"{timeout_s * 1000:.0f}ms",
            "lock_timeout": f"{timeout_s * 500:.0f}ms",
            # A replica that stops in the middle must not keep a hot row from the others.
            "idle_in_transaction_session_timeout": f"{timeout_s * 1000:.0f}ms",
            "timezone": "UTC",
        }
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        # An acknowledgement means that it is on disk, whatever the database's default is.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.patience_s = timeout_s + 1.0


def hung_up(connection: Connection) -> bool:
    """Whether an idle connection was closed by the other side: it has something to say, unasked."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def migrate(link: Database) -> None:
    """Bring the schema to this version; replicas that start at once do it once.

    Raises:
        MitsumoriError: the schema is newer than this program.
        Unavailable: the database cannot be reached or changed.
    """
    schema = sql.Identifier(link.schema)
    with reported(), link.connect(_MIGRATION_S) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (link.lock_key("migrate"),))
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions"
            " (version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())"
        )
        row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchone()
        applied = row[0] if row else 0
        if applied > len(_MIGRATIONS):
            raise MitsumoriError(
                f"the ledger's schema {link.schema!r} has version {applied}, this program knows "
                f"{len(_MIGRATIONS)}: use a newer one",
                reason="SCHEMA_TOO_NEW",
            )
        for version in range(applied + 1, len(_MIGRATIONS) + 1):
            connection.execute(_MIGRATIONS[version - 1])
            connection.execute("INSERT INTO schema_versions (version) VALUES (%s)", (version,))
