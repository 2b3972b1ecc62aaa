"""Sitrep migrates its database itself; the migrations and the tables say the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from pipeline.errors import StoreError
from pipeline.settings import Settings
from pipeline.store import migrations
from pipeline.store.engine import open_store, read, write
from pipeline.store.schema import metadata


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def test_head_is_the_newest_script() -> None:
    assert ScriptDirectory.from_config(migrations.config()).get_current_head() == migrations.HEAD


def test_migrations_make_exactly_the_tables_of_the_schema(store: Engine) -> None:
    assert tables(store) == set(metadata.tables)
    with write(store) as connection:
        configuration = migrations.config()
        configuration.attributes["connection"] = connection
        command.check(configuration)


def test_down_to_nothing_and_up_again(store: Engine, store_settings: Settings) -> None:
    migrations.downgrade(store, "base")
    assert tables(store) == set()
    open_store(store_settings).dispose()
    assert tables(store) == set(metadata.tables)


def test_opening_twice_changes_nothing(store: Engine, store_settings: Settings) -> None:
    open_store(store_settings).dispose()
    with read(store) as connection:
        assert migrations.current(connection) == migrations.HEAD


def test_many_processes_may_open_an_empty_database_at_once(store_settings: Settings) -> None:
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: open_store(store_settings), range(4)))
    assert tables(engines[0]) == set(metadata.tables)
    for engine in engines:
        engine.dispose()


def test_a_newer_database_is_refused_with_a_hint(store: Engine, store_settings: Settings) -> None:
    with write(store) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="9999") as caught:
        open_store(store_settings)
    assert "newer" in caught.value.hint
