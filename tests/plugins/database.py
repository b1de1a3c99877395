"""A real PostgreSQL for the test session, and an empty, migrated database for each test that asks.

`postgres` is the server; `database` a `Database` with a URL per role; the four never share a pool. The database is one for the
session: emptied before each test, which costs a fiftieth of a copy of the template, and made anew when a test has changed its schema.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from controlplane.adapters.embedded.postgres import EmbeddedPostgres, temporary
from controlplane.adapters.postgres import migrate

_NAME: Final = "tests"
_LARGE: Final = 512 * 1024
"""Bytes from which a table is truncated, which costs milliseconds for new files; deleting leaves dead rows behind."""
_CATALOGS: Final = (
    "pg_class",
    "pg_attribute",
    "pg_constraint",
    "pg_index",
    "pg_policy",
    "pg_proc",
    "pg_trigger",
    "pg_type",
)


@dataclass(frozen=True)
class Database:
    """URLs of one database: as its owner, and as each of the three roles."""

    owner: str
    platform: str
    tenant: str
    engine: str


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the session, without fsync: kills of processes still lose nothing."""
    server = temporary(durable=False)
    try:
        with server:
            migrate.upgrade(server.url())
            migrate.set_role_passwords(server.url(), None)
            yield server
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


class Shared:
    """The database that tests take turns with."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        roles = {role: server.url(_NAME, f"sw_{role}") for role in ("platform", "tenant", "engine")}
        self.urls = Database(owner=server.url(_NAME), **roles)
        self._schema: object = None

    def empty(self) -> None:
        """Leave the schema and nothing else: no row, no connection of the test before, every number from 1 again."""
        if self._schema is None:
            self._make()
        with psycopg.connect(self.urls.owner) as db:
            _end_others(db)
            if _schema(db) != self._schema:
                db.close()
                self._make()
                return
            _delete_all(db)

    def _make(self) -> None:
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as server:
            server.execute(f"drop database if exists {_NAME} with (force)")
            server.execute(f"create database {_NAME} template seawall strategy file_copy")
        with psycopg.connect(self.urls.owner) as db:
            self._schema = _schema(db)


def _end_others(db: psycopg.Connection[Any]) -> None:
    """Disconnect whoever the test before left, and wait until it is gone: it might still commit."""
    others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    deadline = time.monotonic() + 30
    while db.execute(f"select pg_terminate_backend(pid) {others} and backend_type = 'client backend'").fetchall():
        assert time.monotonic() < deadline, db.execute(f"select application_name, query {others}").fetchall()
        time.sleep(0.002)  # between two looks at the condition
        db.rollback()


def _schema(db: psycopg.Connection[Any]) -> object:
    """What changes with any change of the schema: the newest transaction that wrote each catalog, and its rows."""
    looks = [f"select max(xmin::text::bigint), count(*) from {catalog}" for catalog in _CATALOGS]
    return db.execute(" union all ".join(looks)).fetchall()


def _delete_all(db: psycopg.Connection[Any]) -> None:
    """Without triggers and foreign keys, in one transaction."""
    tables = db.execute(
        "select relname, pg_relation_size(oid) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
        " and relname <> 'alembic_version'"
    ).fetchall()
    large = [name for name, size in tables if size >= _LARGE]
    db.execute("set local session_replication_role = replica")
    if large:
        db.execute(sql.SQL("truncate {} cascade").format(sql.SQL(", ").join(map(sql.Identifier, large))))
    for name, size in tables:
        if 0 < size < _LARGE:
            db.execute(sql.SQL("delete from {}").format(sql.Identifier(name)))
    db.execute(
        "select setval(oid::regclass, 1, false) from pg_class where relkind = 'S' and relnamespace = 'public'::regnamespace"
    )


@pytest.fixture(scope="session")
def shared_database(postgres: EmbeddedPostgres) -> Shared:
    """The session's database."""
    return Shared(postgres)


@pytest.fixture
def database(shared_database: Shared) -> Database:
    """An empty, migrated database."""
    shared_database.empty()
    return shared_database.urls
