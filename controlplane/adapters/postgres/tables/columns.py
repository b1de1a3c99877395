"""Column shorthands that every table file uses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Numeric, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field


def json_field(default: str | None = "{}") -> Any:
    """A jsonb column; `default` is its server default as JSON text, None makes it nullable."""
    if default is None:
        return Field(default=None, sa_column=Column(JSONB(none_as_null=True), nullable=True))
    factory = list if default == "[]" else dict
    return Field(
        default_factory=factory, sa_column=Column(JSONB, nullable=False, server_default=text(f"'{default}'::jsonb"))
    )


def instant(*, default_now: bool = False) -> Any:
    """A timestamptz: NOT NULL with the database's clock as default, or nullable."""
    if default_now:
        column: Column[datetime] = Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    else:
        column = Column(DateTime(timezone=True), nullable=True)
    return Field(default=None, sa_column=column)


def big(default: int = 0) -> Any:
    """A bigint NOT NULL."""
    return Field(default=default, sa_column=Column(BigInteger, nullable=False, server_default=text(str(default))))


def amount(*, nullable: bool = False) -> Any:
    """A numeric: a number of tenants, or orders per hour."""
    return Field(
        default=None if nullable else 0,
        sa_column=Column(Numeric, nullable=nullable, server_default=None if nullable else text("0")),
    )
