"""A real PostgreSQL for the test session; a fresh database (a copy of a migrated template) for each test that asks.

`postgres` is the server; `database` a `Database` with a URL per role; the four never share a pool.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from controlplane.adapters.embedded.postgres import EmbeddedPostgres, temporary
from controlplane.adapters.postgres import migrate

_numbers = itertools.count(1)


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


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """An empty, migrated database of the test's own."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name} template seawall strategy file_copy")
    urls = {role: postgres.url(name, f"sw_{role}") for role in ("platform", "tenant", "engine")}
    yield Database(owner=postgres.url(name), **urls)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")
