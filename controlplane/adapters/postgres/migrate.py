"""Bring a database to this version's schema: one migrator at a time, bounded locks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from controlplane.domain.errors import DependencyError

if TYPE_CHECKING:
    # Alembic takes longer to import than all else here, and every process reads `sqlalchemy_url` from this module.
    from alembic.config import Config

_LOCK = 0x5EA3A11
_LOCK_WAIT = "60s"


def sqlalchemy_url(url: str) -> str:
    """The SQLAlchemy form of a libpq URL, for psycopg 3."""
    return "postgresql+psycopg://" + url.split("://", 1)[1]


def config(url: str) -> Config:
    """Alembic's configuration: no ini file, the scripts lie in the package `migrations`."""
    from alembic.config import Config

    import migrations

    settings = Config()
    settings.set_main_option("script_location", str(Path(migrations.__file__).parent))
    settings.set_main_option("file_template", "%%(rev)s")
    settings.attributes["url"] = sqlalchemy_url(url)
    return settings


def upgrade(url: str, revision: str = "head") -> None:
    """Apply what is missing up to `revision`, as the schema's owner.

    Holds an advisory lock meanwhile; a second migrator waits a minute for it, then fails with `migration-running`. Raises
    DependencyError `database-unavailable` if PostgreSQL can't be reached.
    """
    from alembic import command

    try:
        opened = psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        detail = f"PostgreSQL can't be reached: {str(error).strip()}. Correct the address, or start the server."
        raise DependencyError(detail, code="database-unavailable") from error
    with opened as connection:
        connection.execute(f"set lock_timeout = '{_LOCK_WAIT}'")
        try:
            connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        except psycopg.errors.LockNotAvailable as error:
            detail = f"Another migration has been running for over {_LOCK_WAIT}. Look at it, then run `seawall migrate` again."
            raise DependencyError(detail, code="migration-running") from error
        command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Undo migrations down to `revision` (`base` for all). Raises where a migration says why it can't be undone."""
    from alembic import command

    command.downgrade(config(url), revision)


def set_role_passwords(url: str, password: str | None) -> None:
    """Let the three roles log in (embedded and test databases; in production the operator does, with secrets of his own)."""
    from psycopg import sql

    with psycopg.connect(url, autocommit=True) as connection:
        for role in ("sw_tenant", "sw_platform", "sw_engine"):
            clause = sql.SQL("") if password is None else sql.SQL(" password {}").format(sql.Literal(password))
            connection.execute(sql.SQL("alter role {} login{}").format(sql.Identifier(role), clause))
