"""The schema: what the migrations build is what the models say, and it can be taken down again."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlmodel import SQLModel

import migrations
from controlplane.adapters.postgres import migrate
from tests.plugins.database import Database


def test_the_migrations_build_exactly_what_the_models_say(database: Database) -> None:
    engine = create_engine(migrate.sqlalchemy_url(database.owner))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)
    engine.dispose()
    assert differences == []


def test_the_schema_comes_down_and_up_again(database: Database) -> None:
    migrate.downgrade(database.owner, "base")
    with psycopg.connect(database.owner) as connection:
        left = connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
    migrate.upgrade(database.owner)
    assert left == (1,)


def test_every_migration_file_says_whether_it_runs_before_or_after_the_deployment() -> None:
    files = [path.name for path in (Path(migrations.__file__).parent / "versions").glob("*.py")]
    assert files
    assert [name for name in files if not re.fullmatch(r"\d{8}_(pre|post)_[a-z0-9_]+\.py", name)] == []


@pytest.mark.parametrize("role", ["platform", "tenant", "engine"])
def test_the_three_roles_own_nothing(database: Database, role: str) -> None:
    with psycopg.connect(database.owner) as connection:
        owned = connection.execute(
            "select count(*) from pg_class where relowner = %s::regrole", (f"sw_{role}",)
        ).fetchone()
    assert owned == (0,)
