"""The store's ground: transactions, time, JSON, secrets, and the helpers every table uses."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import StatementError

from pipeline.errors import ConfigError, StoreError
from pipeline.settings import Settings
from pipeline.store.engine import describe, insert_ignore, open_store, read, upsert, write
from pipeline.store.schema import leases, runs


def lease(
    name: str, holder: str = "me", until: datetime = datetime(2026, 1, 1, tzinfo=UTC)
) -> dict[str, object]:
    return {"name": name, "holder": holder, "until": until}


def test_insert_ignore_counts_new_rows(store: Engine) -> None:
    with write(store) as connection:
        assert insert_ignore(connection, leases, [lease("a")]) == 1
        assert insert_ignore(connection, leases, [lease("a")]) == 0
        assert insert_ignore(connection, leases, [lease("a"), lease("b"), lease("c")]) == 2


def test_upsert_keeps_what_it_is_told_to(store: Engine) -> None:
    later = datetime(2027, 1, 1, tzinfo=UTC)
    with write(store) as connection:
        upsert(connection, leases, lease("a"), key="name")
        assert upsert(connection, leases, lease("a", "you", later), key="name", keep=("until",)) == "a"
        row = connection.execute(select(leases)).one()
    assert (row.holder, row.until) == ("you", datetime(2026, 1, 1, tzinfo=UTC))


def test_times_are_aware_utc_whatever_goes_in(store: Engine) -> None:
    seoul = timezone(timedelta(hours=9))
    with write(store) as connection:
        connection.execute(insert(leases).values(lease("a", until=datetime(2026, 3, 1, 9, tzinfo=seoul))))
        stored = connection.execute(select(leases.c.until)).scalar_one()
        earlier = select(leases.c.name).where(leases.c.until <= datetime(2026, 3, 1, 9, 30, tzinfo=seoul))
        assert connection.execute(earlier).scalar_one() == "a"
    assert stored == datetime(2026, 3, 1, 0, tzinfo=UTC)
    assert stored.tzinfo is UTC


def test_a_naive_time_is_refused(store: Engine) -> None:
    with pytest.raises(StatementError, match="naive time"), write(store) as connection:
        connection.execute(insert(leases).values(lease("a", until=datetime(2026, 1, 1))))


def test_a_failed_block_leaves_nothing(store: Engine) -> None:
    with pytest.raises(RuntimeError), write(store) as connection:
        insert_ignore(connection, leases, [lease("a")])
        raise RuntimeError
    with read(store) as connection:
        assert connection.execute(select(leases)).all() == []


def test_json_round_trip(store: Engine) -> None:
    params = {"t": 0.25, "none": None, "list": [1, "두"], "nested": {"yes": True}}
    with write(store) as connection:
        connection.execute(insert(runs).values(run_id="r", kind="scan", params=params, sources=["한.mp4"]))
    with read(store) as connection:
        row = connection.execute(select(runs)).one()
    assert row.params == params
    assert row.sources == ["한.mp4"]
    assert row.counts == {}


def test_refused_statements_are_store_errors(store: Engine) -> None:
    with pytest.raises(StoreError, match="nonsense"), write(store) as connection:
        connection.execute(text("SELECT * FROM nonsense"))


def test_description_names_kind_and_hides_the_password(store: Engine, store_settings: Settings) -> None:
    said = describe(store)
    if store_settings.database_url is None:
        assert said.startswith("SQLite 3.")
        assert "(wal)" in said
    else:
        assert said.startswith("postgresql ")
        assert "test-secret" not in said


def test_writers_queue_up(sqlite_store: Engine) -> None:
    """Given many writers that read before they write, then none meets 'database is locked'."""
    with write(sqlite_store) as connection:
        connection.execute(insert(runs).values(run_id="r", kind="scan", params={"n": 0}))
    errors: list[BaseException] = []

    def count() -> None:
        try:
            for _ in range(20):
                with write(sqlite_store) as connection:
                    found = connection.execute(select(runs.c.params)).scalar_one()["n"]
                    connection.execute(runs.update().values(params={"n": found + 1}))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with read(sqlite_store) as connection:
        assert connection.execute(select(runs.c.params)).scalar_one() == {"n": 120}
    assert not errors


def test_readers_are_not_held_up_by_a_writer(sqlite_store: Engine) -> None:
    with write(sqlite_store) as writing:
        insert_ignore(writing, leases, [lease("a")])
        with read(sqlite_store) as connection:
            assert connection.execute(select(leases)).all() == []


def test_foreign_keys_hold_on_sqlite(sqlite_store: Engine) -> None:
    with read(sqlite_store) as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


@pytest.mark.parametrize("address", ["nonsense", "mysql+nonsense://x/y", "://"])
def test_an_unknown_address_is_one_clear_line(settings: Settings, address: str) -> None:
    wrong = settings.model_copy(update={"database_url": SecretStr(address)})
    with pytest.raises(ConfigError, match="database_url"):
        open_store(wrong)


def test_an_unreachable_server_is_a_store_error_without_the_password(settings: Settings) -> None:
    away = SecretStr("postgresql://me:geheim@127.0.0.1:1/x")
    with pytest.raises(StoreError) as caught:
        open_store(settings.model_copy(update={"database_url": away}))
    assert "geheim" not in caught.value.one_line()
    assert caught.value.retryable


def test_a_file_that_is_no_database(settings: Settings) -> None:
    settings.data_dir.mkdir(parents=True)
    (settings.data_dir / "sitrep.db").write_bytes(b"this is no database, and long enough to tell" * 40)
    with pytest.raises(StoreError, match="not a database"):
        open_store(settings)


def test_a_data_directory_that_cannot_be_made(settings: Settings) -> None:
    settings.data_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.data_dir.write_text("a file is in the way")
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(settings)


def test_wal_is_on(sqlite_store: Engine, settings: Settings) -> None:
    connection = sqlite3.connect(settings.data_dir / "sitrep.db")
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()


def test_a_new_database_that_another_process_is_writing_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "sitrep.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE begun (x)")
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, other.rollback)
    release.start()
    engine = open_store(Settings(data_dir=tmp_path, database_url=None))
    release.join()
    other.close()
    with read(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    engine.dispose()
