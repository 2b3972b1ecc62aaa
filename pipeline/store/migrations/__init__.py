"""Brings a database to the newest schema, by itself, when the store is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text

from pipeline.errors import StoreError

HEAD = "0002"
"""The newest revision. Known here so that an up-to-date database is recognised without loading alembic."""
_FOLDER = Path(__file__).parent


def current(connection: Connection) -> str | None:
    """The revision a database is at, or ``None`` for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(engine: Engine) -> None:
    """Create or upgrade the tables; cheap when there is nothing to do; safe from many processes at once.

    Raises:
        StoreError: The database was written by a newer Sitrep.
    """
    with engine.connect() as connection:
        found = current(connection)
    if found == HEAD:
        return
    _run(engine, "upgrade", "head")


def downgrade(engine: Engine, revision: str) -> None:
    """Go back to ``revision`` (``base``: no tables at all)."""
    _run(engine, "downgrade", revision)


def config() -> Any:
    """The alembic configuration, without an ini file."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(_FOLDER))
    made.set_main_option("path_separator", "os")
    return made


def _run(engine: Engine, direction: str, revision: str) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    from pipeline.store.engine import lock, write

    made = config()
    known = {script.revision for script in ScriptDirectory.from_config(made).walk_revisions()}
    with write(engine) as connection:
        # The transaction is the lock: SQLite's begins IMMEDIATE, PostgreSQL takes an advisory lock. Whoever
        # comes second finds the work done.
        lock(connection, "sitrep migrations")
        found = current(connection)
        if found is not None and found not in known:
            raise StoreError(
                f"the database is at revision {found}, which this Sitrep does not know",
                hint="it was written by a newer Sitrep: install that one",
            )
        made.attributes["connection"] = connection
        getattr(command, direction)(made, revision)
