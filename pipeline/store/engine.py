"""Opens the database: SQLite with WAL or PostgreSQL, the same code above it.

``read`` and ``write`` are the only ways in. A write on SQLite begins IMMEDIATE, so that two writers
queue up at the start of their transactions, where the busy time-out helps, and not in the middle,
where SQLite answers "locked" at once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from pipeline.errors import ConfigError, StoreError
from pipeline.settings import Settings

BUSY_TIMEOUT_S = 20.0
"""How long a writer waits for another; a backup tool may well hold the file for ten seconds."""
_WRITES = "sitrep_writes"


def open_store(settings: Settings, *, migrate: bool = True) -> Engine:
    """An engine on the database of the settings, brought to the newest schema.

    Args:
        settings: Says where it is.
        migrate: Whether to create and upgrade the tables.

    Raises:
        ConfigError: The address cannot be read.
        StoreError: The database cannot be reached, or was written by a newer Sitrep.
    """
    from pipeline.store import migrations

    url = settings.sqlalchemy_url()
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = _sqlite(url, settings)
        else:
            engine = create_engine(parsed, pool_pre_ping=True, pool_size=5, max_overflow=10)
    except (ArgumentError, ImportError) as error:
        raise ConfigError("setting 'database_url' is not an address SQLAlchemy knows") from error
    if migrate:
        try:
            migrations.upgrade(engine)
        except SQLAlchemyError as error:
            engine.dispose()
            raise _store_error(error, engine) from error
        except StoreError:
            engine.dispose()
            raise
    return engine


def _sqlite(url: str, settings: Settings) -> Engine:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"data directory {settings.data_dir} cannot be made: {error.strerror}",
            hint="set SITREP_DATA_DIR to a folder that can be written",
        ) from error
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        # Transactions are begun by the listener below, not by the driver's guesses.
        connection.isolation_level = None
        cursor = connection.cursor()
        _into_wal(cursor)
        # With WAL a crash of Sitrep loses nothing; a power cut may lose the last commits, never the file.
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _into_wal(cursor: sqlite3.Cursor) -> None:
    """Put the database into WAL, which only one connection has to do, once in its life.

    SQLite answers "locked" to this one change at once, without the busy timeout, while any other connection
    is in a transaction: several processes opening a new database meet there.
    """
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """A connection for looking; sees one consistent state. Raises StoreError."""
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise _store_error(error, engine) from error


@contextmanager
def write(store: Engine | Connection) -> Iterator[Connection]:
    """A transaction, committed at the end of the block, rolled back by any exception.

    Args:
        store: The engine, or a connection of :func:`writer` that one thread keeps for itself, which saves
            taking one from the pool.

    Raises:
        StoreError: The database refused or is away.
    """
    try:
        if isinstance(store, Connection):
            with store.begin():
                yield store
        else:
            with writer(store) as connection, connection.begin():
                yield connection
    except DBAPIError as error:
        raise _store_error(error, store.engine) from error


def writer(engine: Engine) -> Connection:
    """A connection for writing, to be kept by one thread and closed by it. Raises StoreError."""
    try:
        return engine.connect().execution_options(**{_WRITES: True})
    except DBAPIError as error:
        raise _store_error(error, engine) from error


def _store_error(error: SQLAlchemyError, engine: Engine) -> StoreError:
    cause = getattr(error, "orig", None) or error
    said = " ".join(str(cause).split()) or type(cause).__name__
    hint = None if isinstance(error, OperationalError) else "this is a fault of Sitrep: please report it"
    return StoreError(f"database {address(engine)}: {said}", hint=hint)


def address(engine: Engine) -> str:
    """Where the database is, password hidden."""
    return engine.url.render_as_string(hide_password=True)


def describe(engine: Engine) -> str:
    """Kind, version and address in one line, for the doctor. Raises StoreError."""
    with read(engine) as connection:
        if engine.dialect.name == "sqlite":
            version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
            return f"SQLite {version} ({mode}), {engine.url.database}"
        version = connection.execute(text("SHOW server_version")).scalar_one()
    return f"{engine.dialect.name} {version}, {address(engine)}"


def insert_ignore(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert, leaving rows alone whose key is there already; how many were new."""
    statement = _insert_ignore(connection.dialect.name, table)
    # Counted by what is returned: the row count of an INSERT is not defined by every driver.
    return len(connection.execute(statement, rows).all())


def upsert(
    connection: Connection, table: Table, values: dict[str, Any], *, key: str, keep: tuple[str, ...] = ()
) -> Any:
    """Insert, or update the row with the same ``key`` in all columns but ``keep``; its primary key."""
    statement = _upsert(connection.dialect.name, table, tuple(values), key, keep)
    return connection.execute(statement, values).scalar_one()


# Building a statement costs more than running it, so those that never change are built once.
@cache
def _insert_ignore(dialect: str, table: Table) -> Any:
    return insert(dialect, table).on_conflict_do_nothing().returning(next(iter(table.primary_key.columns)))


@cache
def _upsert(dialect: str, table: Table, names: tuple[str, ...], key: str, keep: tuple[str, ...]) -> Any:
    statement = insert(dialect, table)
    changes = {name: statement.excluded[name] for name in names if name != key and name not in keep}
    primary = next(iter(table.primary_key.columns))
    return statement.on_conflict_do_update(index_elements=[key], set_=changes).returning(primary)


def insert(dialect: str, table: Table) -> Any:
    """The dialect's own INSERT, which knows ON CONFLICT; both spell it the same."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def lock(connection: Connection, name: str) -> None:
    """Hold ``name`` alone until the transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})
