"""The SQLite file of the ledger: schema and migrations, readers that leave no trace, backups, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import apsw

from router.core.errors import BadArtifact, MitsumoriError, NotFound, Unavailable
from router.files import create_private
from router.logs import logger
from router.paths import default_ledger_hint

__all__ = [
    "back_up",
    "check_file",
    "empty_log",
    "open_reader",
    "open_writer",
    "read",
    "store_errors",
]

_BACKUP_PAGES = 1_000

_APPLICATION_ID = 0x4D695473  # "MiTs"; a database of another program is never migrated.

_MIGRATIONS: tuple[str, ...] = (
    # 1. Decisions share label sets: rows stay small, and a filter looks at few sets. Times are
    # microseconds since 1970. `created` is unique: it is the key of a decision and orders the log, and new
    # rows are appended at the end of the table.
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;
    INSERT INTO meta VALUES ('time', 0);
    CREATE TABLE limits (id TEXT PRIMARY KEY, definition TEXT NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE label_sets (number INTEGER PRIMARY KEY, labels TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE label_values (
        name TEXT NOT NULL, value TEXT NOT NULL, label_set INTEGER NOT NULL,
        PRIMARY KEY (name, value, label_set)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE decisions (
        created INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
        expires INTEGER NOT NULL,
        label_set INTEGER NOT NULL,
        held_money INTEGER, held_tokens INTEGER, held_requests INTEGER, held_concurrent INTEGER,
        actual_money INTEGER, actual_tokens INTEGER, actual_requests INTEGER, actual_concurrent INTEGER,
        late INTEGER NOT NULL,
        overage INTEGER NOT NULL,
        report TEXT,
        reply BLOB NOT NULL,
        record TEXT NOT NULL,
        usage TEXT NOT NULL
    ) STRICT;
    CREATE INDEX decisions_held ON decisions (expires) WHERE state = 1;
    CREATE INDEX decisions_labels ON decisions (label_set); -- and created, as every index
    CREATE TABLE balances (
        number INTEGER PRIMARY KEY,
        limit_id TEXT NOT NULL,
        series TEXT NOT NULL,
        key TEXT NOT NULL,
        period INTEGER NOT NULL,
        unit TEXT NOT NULL,
        spent INTEGER NOT NULL CHECK (spent >= 0),
        held INTEGER NOT NULL CHECK (held >= 0),
        over INTEGER NOT NULL,
        ceiling INTEGER NOT NULL,
        erased INTEGER NOT NULL,
        erased_over INTEGER NOT NULL,
        UNIQUE (limit_id, series, key, period)
    ) STRICT;
    CREATE TABLE entries (
        decision INTEGER NOT NULL, balance INTEGER NOT NULL,
        held INTEGER NOT NULL, spent INTEGER NOT NULL, over INTEGER NOT NULL,
        PRIMARY KEY (decision, balance)
    ) WITHOUT ROWID, STRICT;
    """,
    # 2. Long texts have a table of their own, so that totals read, and settlements write, short rows.
    """
    ALTER TABLE decisions ADD COLUMN quoted INTEGER NOT NULL DEFAULT 0;
    UPDATE decisions SET quoted = coalesce(json_extract(record, '$.candidates[0].price_nanos[1]'), 0);
    CREATE TABLE papers (created INTEGER PRIMARY KEY, reply BLOB NOT NULL, record TEXT NOT NULL) STRICT;
    INSERT INTO papers SELECT created, reply, record FROM decisions;
    ALTER TABLE decisions DROP COLUMN reply;
    ALTER TABLE decisions DROP COLUMN record;
    """,
    # 3. A plain name for the table of long texts.
    "ALTER TABLE papers RENAME TO payloads;",
    # 4. Payloads may be packed (packed_payload): the packed form stands in the place of the reply, and the
    # record is empty. A decision without a dictionary is kept as it is.
    """
    CREATE TABLE dictionaries (number INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE) STRICT;
    ALTER TABLE payloads ADD COLUMN dictionary INTEGER;
    """,
    # 5. What processes share beside money (shared_state). `number` counts the writes.
    """
    CREATE TABLE shared_state (
        kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, changed INTEGER NOT NULL,
        keep_s REAL NOT NULL, expires INTEGER NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX shared_state_written ON shared_state (kind, number);
    CREATE INDEX shared_state_expires ON shared_state (expires);
    INSERT OR IGNORE INTO meta VALUES ('shared', 0);
    """,
    # 6. A task is a row of decisions that is named here, with what its turns have drawn of its cap. A turn
    # names its task, and what its settlement drew beyond its hold. Other decisions cost nothing.
    """
    CREATE TABLE tasks (created INTEGER PRIMARY KEY, drawn INTEGER NOT NULL CHECK (drawn >= 0)) STRICT;
    CREATE TABLE turns (
        created INTEGER PRIMARY KEY, task TEXT NOT NULL, drawn INTEGER NOT NULL CHECK (drawn >= 0)
    ) STRICT;
    CREATE INDEX turns_task ON turns (task);
    """,
)
_FIRST_WITH_PAYLOADS = 3
_FIRST_WITH_DICTIONARIES = 4
_FIRST_WITH_TASKS = 6
_AS_OF_NOW = """
    CREATE TEMP VIEW payloads AS SELECT created, reply, record, NULL AS dictionary FROM {table};
    CREATE TEMP VIEW dictionaries AS SELECT 0 AS number, x'' AS content;
"""
"""What an older schema lacks, for a reader."""
_WITHOUT_TASKS = """
    CREATE TEMP VIEW tasks AS SELECT 0 AS created, 0 AS drawn WHERE false;
    CREATE TEMP VIEW turns AS SELECT 0 AS created, '' AS task, 0 AS drawn WHERE false;
"""

_CACHE_KIB = 8_192
"""Of pages: the recent ones, which most operations need. The operating system has the others in its cache."""
_T = TypeVar("_T")

_LOG_PAGES = 8_000
_LOG_LIMIT = 64 * 2**20


def open_writer(path: Path, *, busy_timeout_s: float) -> apsw.Connection:
    """Open the connection that writes, and migrate the schema.

    Raises:
        Unavailable: the file cannot be opened or written now.
        BadArtifact: the file is not a ledger, is damaged or was written by a newer version.
    """
    with store_errors(path):
        try:
            # Its owner's alone: SQLite gives the files beside it the same rights.
            with suppress(OSError):  # SQLite says better what is wrong
                create_private(path)
            connection = apsw.Connection(str(path))
            connection.set_busy_timeout(int(busy_timeout_s * 1000))
            if connection.readonly("main"):
                raise Unavailable(f"the store {path} is read-only; allow this user to write it")
            _migrate(connection, path)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
            connection.pragma("cache_size", -_CACHE_KIB)
            # Overwrite what is erased: it may contain prompts, and backups include free pages.
            connection.pragma("secure_delete", 1)
            # A page that many groups change is copied back once; the log stays near 32 MiB.
            connection.pragma("wal_autocheckpoint", _LOG_PAGES)
            connection.pragma("journal_size_limit", _LOG_LIMIT)
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise BadArtifact(
                f"{path} is not a ledger, or is damaged ({error}); restore a backup",
                field=str(path),
            ) from None
    return connection


def empty_log(writer: apsw.Connection) -> None:
    """Copy what the log holds to the store: a log without a name would be gone with its process.

    Where that is not possible, nothing happens.
    """
    with suppress(apsw.Error):
        writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def open_reader(
    path: Path, *, busy_timeout_s: float = 5.0, for_caller: bool = False
) -> apsw.Connection:
    """Open a connection that only reads; the file may be in use, or be of an older schema.

    Args:
        path: of the store.
        busy_timeout_s: seconds to wait while another program has locked the file.
        for_caller: as for :func:`store_errors`.

    Raises:
        Unavailable: the file cannot be opened now.
    """
    with store_errors(path, for_caller=for_caller):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(int(busy_timeout_s * 1000))
        return _as_of_now(connection)


def read(path: Path, run: Callable[[apsw.Connection], _T]) -> _T:
    """Read a store that may be in use, or lie where nothing may be written; nothing beside it is made.

    Where no log lies beside the file, the file alone is the whole store: it is read without a lock, and once
    more with SQLite's locks if it has changed meanwhile. A store with a log is read with locks: its server
    has made the files for them, or has left them when it was killed.

    Args:
        path: of the store.
        run: reads; may be called twice.

    Raises:
        Unavailable: the file cannot be opened or read now.
        MitsumoriError: what ``run`` raises.
    """
    file = path.resolve()  # where SQLite looks for the log, too
    before = _state(file)
    if before is not None and not _has_log(file):
        try:
            with store_errors(path), closing(_open_unlocked(file)) as reader:
                found = run(reader)
        except MitsumoriError:
            if _state(file) == before:
                raise
        else:
            if _state(file) == before:
                return found
    with closing(open_reader(path)) as reader, store_errors(path):
        return run(reader)


def _state(file: Path) -> tuple[int, ...] | None:
    """What changes when somebody writes to a file or replaces it; ``None``: it cannot be found."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _has_log(file: Path) -> bool:
    """Whether changes lie beside a file that it does not have."""
    for suffix in ("-wal", "-journal"):
        state = _state(file.with_name(file.name + suffix))
        if state is not None and state[2] > 0:
            return True
    return False


def _open_unlocked(file: Path) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return _as_of_now(apsw.Connection(f"{file.as_uri()}?immutable=1", flags=flags))


def _as_of_now(connection: apsw.Connection) -> apsw.Connection:
    """A reader of a store of an older schema can read it like one of this schema."""
    version = int(str(connection.pragma("user_version")))
    if version < _FIRST_WITH_DICTIONARIES:
        # A server may migrate the file under the reader: store_errors names that.
        table = "papers" if version < _FIRST_WITH_PAYLOADS else "main.payloads"
        connection.execute(_AS_OF_NOW.format(table=table))
    if version < _FIRST_WITH_TASKS:
        connection.execute(_WITHOUT_TASKS)
    return connection


def _copy_snapshot(
    reader: apsw.Connection, path: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Copy the snapshot of a reader to another file, while others write.

    Args:
        reader: a connection in a transaction; its snapshot is copied.
        path: the copy; replaced only when the copy is complete.
        progress: called with the number of pages copied and the total.

    Raises:
        Unavailable: the store cannot be read, or the copy cannot be written.
    """
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.unlink(missing_ok=True)
        create_private(scratch)
    except OSError as error:
        raise Unavailable(f"the copy {path} cannot be written: {error.strerror}") from None
    with store_errors(path):
        reader.execute("SELECT 1 FROM meta").fetchall()
        with (
            closing(apsw.Connection(str(scratch))) as copy,
            copy.backup("main", reader, "main") as job,
        ):
            while not job.done:
                job.step(_BACKUP_PAGES)
                if progress is not None:
                    progress(job.page_count - job.remaining, job.page_count)
    scratch.replace(path)


def back_up(source: Path, target: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Copy a store to another file, while a server uses it.

    Args:
        source: file of the store.
        target: the copy; replaced only when the copy is complete.
        progress: called with the number of pages copied and the total.

    Raises:
        NotFound: there is no store at ``source``.
        Unavailable: the store cannot be read, or the copy cannot be written.
    """
    if not source.is_file():
        raise NotFound(
            f"there is no ledger at {source}; name it with --ledger sqlite:PATH{default_ledger_hint()}"
        )

    def copy(reader: apsw.Connection) -> None:
        reader.execute("BEGIN")
        _copy_snapshot(reader, target, progress)

    read(source, copy)


def check_file(path: Path) -> None:
    """Refuse a file that a server of this version could not open; it is only read, and may be in use.

    Raises:
        Unavailable: the file cannot be opened now, or is damaged.
        BadArtifact: the file is not a ledger, or was written by a newer version.
    """
    read(path, lambda reader: _schema_version(reader, path))


def _migrate(connection: apsw.Connection, path: Path) -> None:
    version = _schema_version(connection, path)
    for number, script in enumerate(_MIGRATIONS[version:], version + 1):
        # One transaction: the version and the schema change together or not at all.
        connection.execute(
            f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number};"
            f" PRAGMA application_id = {_APPLICATION_ID}; COMMIT"
        )


def _schema_version(connection: apsw.Connection, path: Path) -> int:
    """The version of the schema, 0 of an empty file.

    Raises:
        BadArtifact: it is a database of another program, or of a newer version.
    """
    version = int(str(connection.pragma("user_version")))
    owner = connection.pragma("application_id")
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    if owner != _APPLICATION_ID and not (empty and version == 0):
        raise BadArtifact(f"{path} is a database of another program", field=str(path))
    if version > len(_MIGRATIONS):
        raise BadArtifact(
            f"{path} was written by a newer version of mitsumori (schema {version}, this one knows "
            f"{len(_MIGRATIONS)}); upgrade mitsumori",
            reason="SCHEMA_TOO_NEW",
            field=str(path),
        )
    return version


@contextmanager
def store_errors(path: Path, *, for_caller: bool = False) -> Iterator[None]:
    """Turn every error of SQLite into one of ours with a plain message.

    Args:
        path: of the store.
        for_caller: the message goes to a caller of the service, so it names no path and quotes nothing of
            SQLite; both are logged.
    """
    try:
        yield
    except UnicodeDecodeError:
        where = "the store" if for_caller else f"the store {path}"
        raise BadArtifact(
            f"{where} is damaged: a row has text that is not UTF-8; restore a backup",
            reason="LOG_DAMAGED",
        ) from None
    except apsw.Error as error:
        cause = next((text for kind, text in _CAUSES.items() if isinstance(error, kind)), None)
        if for_caller:
            logger().error(
                "store_failed", store=str(path), error=f"{type(error).__name__}: {error}"
            )
            cause = cause or f"{type(error).__name__}; the server's log says more"
            raise Unavailable(f"the store cannot be used: {cause}") from None
        if isinstance(error, apsw.SQLError) and str(error).endswith("papers"):
            raise Unavailable(
                f"the ledger {path} was migrated while it was read; read it again"
            ) from None
        if isinstance(error, apsw.NotADBError | apsw.CorruptError):
            raise Unavailable(f"the store {path} is damaged ({error}); restore a backup") from None
        raise Unavailable(f"the store {path} cannot be used: {cause or error}") from None


_CAUSES: dict[type[apsw.Error], str] = {
    apsw.NotADBError: "it is damaged; restore a backup",
    apsw.CorruptError: "it is damaged; restore a backup",
    apsw.FullError: "the disk is full",
    apsw.ReadOnlyError: "it is read-only",
    apsw.BusyError: "another program has locked it",
    apsw.LockedError: "another program has locked it",
    apsw.CantOpenError: "it cannot be opened",
    apsw.IOError: "reading or writing the disk failed",
}
