"""Columns that most tables have, as migrations write them. What a migration has used stays as it is: it says what was made then."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql


def text(name: str, default: str | None = None) -> sa.Column[Any]:
    """A text NOT NULL."""
    return sa.Column(name, sa.String(), server_default=_literal(default), nullable=False)


def moment(name: str, *, now: bool = False) -> sa.Column[Any]:
    """A timestamptz: nullable, or NOT NULL with the database's clock as default."""
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()") if now else None, nullable=not now
    )


def json(name: str, default: str = "{}") -> sa.Column[Any]:
    """A jsonb NOT NULL."""
    return sa.Column(name, postgresql.JSONB(), server_default=sa.text(f"'{default}'::jsonb"), nullable=False)


def uid(name: str) -> sa.Column[Any]:
    """A uuid NOT NULL."""
    return sa.Column(name, sa.Uuid(), nullable=False)


def number(name: str) -> sa.Column[Any]:
    """An integer NOT NULL."""
    return sa.Column(name, sa.Integer(), nullable=False)


def big(name: str) -> sa.Column[Any]:
    """A bigint NOT NULL that begins at 0."""
    return sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)


def _literal(default: str | None) -> sa.TextClause | None:
    return None if default is None else sa.text(f"'{default}'")
