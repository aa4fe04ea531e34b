"""Connections to PostgreSQL with bounded waits, the errors of the driver, the schema and its migrations.

Three timeouts bound every wait: the server's own (statement, lock, idle in a transaction), that of
:class:`TimeoutConnection` for a server that does not answer, and the pool's.
"""

from __future__ import annotations

import hashlib
import math
import select
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from router.core.errors import InvalidInput, MitsumoriError, Unavailable
from router.ledger.time_budget import seconds_left

try:
    import psycopg
    import psycopg.conninfo
    from psycopg import sql
    from psycopg.rows import TupleRow
    from psycopg_pool import ConnectionPool, PoolTimeout
except ImportError as missing:
    raise MitsumoriError(
        "a ledger on PostgreSQL needs psycopg: pip install 'mitsumori[postgres]'",
        reason="EXTRA_MISSING",
    ) from missing

__all__ = [
    "RETRYABLE_ERRORS",
    "SCHEMA",
    "TIMEOUT_S",
    "Connection",
    "Cursor",
    "Database",
    "DriverError",
    "GrantedElsewhere",
    "NoAnswer",
    "TimeoutConnection",
    "TupleRow",
    "check_address",
    "check_database",
    "is_disconnected",
    "kind_of",
    "migrate",
    "store_errors",
]

Connection = psycopg.Connection[TupleRow]
Cursor = psycopg.Cursor[TupleRow]
DriverError = psycopg.Error


class GrantedElsewhere(Exception):
    """Another replica has just granted the request that this one was about to refuse."""


RETRYABLE_ERRORS = (
    GrantedElsewhere,
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
"""Errors of conflicts with another replica: nothing was written, and another attempt can succeed."""
_Value = TypeVar("_Value")

SCHEMA = "mitsumori"
"""The schema that contains the tables, unless tests name another."""
TIMEOUT_S = 5.0
"""Seconds that a statement may take."""
_MIGRATION_S = 60.0
"""Seconds that a starting replica waits while another one migrates the schema."""

_MIGRATIONS = (
    # Names sort by code point ("C"), as in Python, so that every replica locks rows in the same order.
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

    -- Free space on every page keeps an update on its page and out of the index (heap-only tuples).
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
    -- None of these contains the id: for a small table the planner would use any index that has it.
    CREATE INDEX decisions_created ON decisions (created);
    CREATE INDEX decisions_tenant ON decisions (tenant, created);
    CREATE INDEX decisions_due ON decisions (expires) WHERE state = 'held';
    """,
    # The quoted price as a column, so that totals need not read the records.
    """
    ALTER TABLE decisions ADD COLUMN quoted bigint NOT NULL DEFAULT 0;
    UPDATE decisions
    SET quoted = coalesce((record -> 'candidates' -> 0 -> 'price_nanos' ->> 1)::bigint, 0);
    """,
    # What replicas share beside money.
    """
    CREATE TABLE shared_state (
        kind text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        value text COLLATE "C" NOT NULL,
        changed bigint NOT NULL,
        keep_s double precision NOT NULL,
        expires timestamptz NOT NULL,
        number bigint NOT NULL,
        PRIMARY KEY (kind, key)
    );
    CREATE INDEX shared_state_written ON shared_state (kind, number);
    CREATE INDEX shared_state_expires ON shared_state (expires);
    CREATE SEQUENCE shared_state_numbers;
    """,
    # A turn has the id of its task, a task its own. `drawn`: what its turns have drawn of its cap, or what
    # the settlement of a turn drew beyond its hold.
    """
    ALTER TABLE decisions ADD COLUMN task text COLLATE "C", ADD COLUMN drawn bigint NOT NULL DEFAULT 0;
    CREATE INDEX decisions_task ON decisions (task, created) WHERE task IS NOT NULL;
    """,
)


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time."""


class TimeoutConnection(psycopg.Connection[TupleRow]):
    """A connection that closes itself when the server does not answer within ``response_timeout_s``.

    Where the caller has less time (:func:`time_budget.seconds_left`), that bounds the wait. The server's own
    timeouts do not help when the server is paused or the network loses packets.
    """

    response_timeout_s: float = 10.0

    def wait(self, gen: Generator[Any, Any, _Value], *args: Any, **words: Any) -> _Value:
        """Wait on the socket as the base class does, but for a bounded time."""
        deadline = time.monotonic() + seconds_left(self.response_timeout_s)
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
                    # A session in the middle of a statement cannot be used again.
                    self.close()
                    raise NoAnswer
                wanted = gen.send(ready)
        except StopIteration as done:
            value: _Value = done.value
            return value


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn every error of the driver into an error of this project.

    Messages name the kind of error and nothing that the server or libpq says: the server's DETAIL quotes
    rows, and libpq quotes the address, with parts of a password that it took for a host or a port.

    Raises:
        InvalidInput: PostgreSQL cannot store a value (NUL, lone surrogates, more than 64 bits).
        Unavailable: every other error.
    """
    try:
        yield
    except (psycopg.DataError, UnicodeEncodeError, OverflowError) as error:
        raise InvalidInput(
            f"a value cannot be stored ({type(error).__name__}): remove NUL and lone surrogates, "
            "keep amounts below 2^63"
        ) from error
    except PoolTimeout:
        raise Unavailable("PostgreSQL: no connection became free in time") from None
    except psycopg.Error as error:
        raise Unavailable(f"PostgreSQL: {kind_of(error)}") from None


_SAYINGS = {
    "password authentication failed": "the user or the password is wrong",
    "no password supplied": "a password is needed",
    "does not exist": "there is no such database, user or schema",
    "resolve host": "the host of the address is not known",
    "translate host name": "the host of the address is not known",
    "could not parse": "the address cannot be read",
    "Connection refused": "the connection is refused; is the server running?",
    "timeout expired": "the server does not answer",
    "No such file": "the server's socket is not there; is the server running?",
    "SSL": "no agreement on TLS",
    "too many": "the server takes no more connections",
    "starting up": "the server is starting",
    "shutting down": "the server is shutting down",
    "closed the connection": "the server closed the connection",
    "connection is closed": "the connection was lost",
}
"""What libpq may say → what is said instead."""


def kind_of(error: psycopg.Error) -> str:
    """What kind of error it is, without a value, a row or a part of the address."""
    if isinstance(error, NoAnswer):
        return "the server does not answer in time"
    if error.sqlstate:
        return f"{type(error).__name__} (SQLSTATE {error.sqlstate})"
    text = str(error)
    said = next((ours for theirs, ours in _SAYINGS.items() if theirs in text), None)
    return said or f"the connection failed ({type(error).__name__})"


def check_address(address: str) -> None:
    """Refuse an address that libpq cannot read.

    Raises:
        InvalidInput: without the address, which may hold a password.
    """
    try:
        psycopg.conninfo.conninfo_to_dict(address)
    except psycopg.Error:
        raise InvalidInput(
            "ledger: this is not an address that PostgreSQL understands; write"
            " postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in a password %40 for @, %3A for :,"
            " %2F for / and %25 for %",
            field="ledger",
        ) from None


@dataclass(frozen=True, slots=True)
class Database:
    """The address of the database, and how long to wait for it.

    Attributes:
        address: ``postgresql://…`` or a libpq connection string.
        schema: the schema that contains the tables; created if missing.
        timeout_s: seconds that a statement may take; it may wait half of that for a lock.
    """

    address: str = field(repr=False)
    schema: str
    timeout_s: float

    def lock_key(self, purpose: str) -> int:
        """The key of an advisory lock, the same in every replica."""
        digest = hashlib.sha256(f"mitsumori/{self.schema}/{purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def connect(self, response_timeout_s: float | None = None) -> Connection:
        """Open a connection in autocommit.

        Raises:
            psycopg.OperationalError: the connection cannot be opened in time.
        """
        connection = TimeoutConnection.connect(self.address, **self._options())
        try:
            self._configure(connection, response_timeout_s or self.timeout_s)
        except BaseException:
            connection.close()
            raise
        return connection

    def connect_writer(self) -> Connection:
        """Open a connection in autocommit for the few statements of the writer.

        Raises:
            psycopg.OperationalError: the connection cannot be opened in time.
        """
        connection = self.connect()
        # Planning these statements takes longer than running them, so plans are cached; a plan made while a
        # table was small must not go on reading the whole table when it has grown.
        settings = {
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
        }
        try:
            for setting in settings.items():
                connection.execute("SELECT set_config(%s, %s, false)", setting)
        except BaseException:
            connection.close()
            raise
        return connection

    def pool(self, size: int) -> ConnectionPool[TimeoutConnection]:
        """Open a pool of at most ``size`` connections."""
        pool = ConnectionPool(
            self.address,
            connection_class=TimeoutConnection,
            kwargs=self._options(),
            configure=lambda connection: self._configure(connection, self.timeout_s),
            min_size=1,
            max_size=size,
            timeout=self.timeout_s,
            # Short: the next caller reconnects at once, while the pool's own retries back off by minutes.
            reconnect_timeout=2.0,
            num_workers=1,
            name="mitsumori-ledger",
            open=False,
        )
        pool.open()
        return pool

    def _options(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "connect_timeout": max(2, math.ceil(self.timeout_s)),
            "application_name": "mitsumori",
        }

    def _configure(self, connection: TimeoutConnection, timeout_s: float) -> None:
        settings = {
            "search_path": str(sql.Identifier(self.schema).as_string(connection)),
            "default_transaction_isolation": "read committed",
            "statement_timeout": f"{timeout_s * 1000:.0f}ms",
            "lock_timeout": f"{timeout_s * 500:.0f}ms",
            # A replica that stops within a transaction must not block the rows for the others.
            "idle_in_transaction_session_timeout": f"{timeout_s * 1000:.0f}ms",
            "timezone": "UTC",
        }
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        # Acknowledged rows must be on disk, whatever the default of the database is.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.response_timeout_s = timeout_s + 1.0


def is_disconnected(connection: Connection) -> bool:
    """Whether the server has closed an idle connection."""
    if connection.closed:
        return True
    # An idle connection has data to read only if the server has closed it or is about to.
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def check_database(address: str, schema: str = SCHEMA) -> None:
    """Refuse a database that a server of this version could not use; nothing is written.

    Args:
        address: ``postgresql://…`` or a libpq connection string.
        schema: that contains the tables, if there are any yet.

    Raises:
        InvalidInput: libpq cannot read the address.
        MitsumoriError: the schema is newer than this program.
        Unavailable: the database cannot be reached or read.
    """
    check_address(address)
    with store_errors(), Database(address, schema, TIMEOUT_S).connect() as connection:
        found = connection.execute("SELECT to_regclass('schema_versions') IS NOT NULL").fetchone()
        if found and found[0]:
            _schema_version(connection, schema)


def _schema_version(connection: Connection, schema: str) -> int:
    """The version of the schema, 0 where it is empty.

    Raises:
        MitsumoriError: it is newer than this program.
    """
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchone()
    version = int(row[0]) if row else 0
    if version > len(_MIGRATIONS):
        raise MitsumoriError(
            f"the ledger was written by a newer version of mitsumori (its schema {schema!r} has version "
            f"{version}, this one knows {len(_MIGRATIONS)}); upgrade mitsumori",
            reason="SCHEMA_TOO_NEW",
        )
    return version


def migrate(database: Database) -> None:
    """Migrate the schema to this version; of replicas that start together, one migrates.

    Raises:
        MitsumoriError: the schema is newer than this program.
        Unavailable: the database cannot be reached or changed.
    """
    schema = sql.Identifier(database.schema)
    with store_errors(), database.connect(_MIGRATION_S) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (database.lock_key("migrate"),))
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions"
            " (version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())"
        )
        applied = _schema_version(connection, database.schema)
        for version in range(applied + 1, len(_MIGRATIONS) + 1):
            connection.execute(_MIGRATIONS[version - 1])
            connection.execute("INSERT INTO schema_versions (version) VALUES (%s)", (version,))
